"""`export_onnx`: the model as ONNX, kept only if it computes what PyTorch computes."""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from components.core.errors import StorageError, TrainingError
from components.core.heads.batches import Batch, pad
from components.core.heads.folders import ONNX_FILE, ONNX_INFO_FILE, ONNX_INT8_FILE
from components.core.heads.onnx.equality import Comparison, compare
from components.core.heads.onnx.quantization import Int8Verdict, quantize
from components.core.heads.onnx.session import OUTPUT, describe, open_session
from components.core.settings import Settings
from components.core.tasks import Row, get_head_task
from components.core.tasks.heads import Head, InputEncoder, read_head

logger = logging.getLogger(__name__)

_INSTEAD = "Set apply_ort=false to keep PyTorch."
_TRACED = (3, 7)
"""Inputs and tokens of the batch that the exporter follows; sizes that nothing in a model has by itself."""


@dataclass(frozen=True)
class OnnxReport:
    """How an export was checked, as it stands in onnx.json."""

    format: int
    onnxruntime: str
    providers: list[str]
    inputs: list[str]
    threads: int
    opset: int
    nodes: int
    """Of the exported graph."""
    rows_compared: int
    max_difference: float
    """Largest difference from PyTorch: of probabilities, or of the normalised number."""
    same_predictions: bool
    int8: Int8Verdict | None
    """Whether int8 weights may be used; none where they were not asked for."""


def export_onnx(
    model_dir: Path, rows: Sequence[Row], quantization: Literal["none", "int8"], settings: Settings
) -> OnnxReport:
    """Write model.onnx (and model.int8.onnx where it passes its gate) and, last, onnx.json into a model folder.

    Args:
        model_dir: What the fine-tuning wrote.
        rows: Validation rows, on which the export is compared with PyTorch, and int8 weights with fp32 ones.
        quantization: Whether int8 weights are made, too.
        settings: Unused addresses and folders, as all steps have them.

    Raises:
        TrainingError: If the model cannot be exported, or the export computes something else; no file is left then.
        StorageError: If the folder is not complete or cannot be written.
    """
    for name in (ONNX_FILE, ONNX_INT8_FILE, ONNX_INFO_FILE):
        (model_dir / name).unlink(missing_ok=True)
    if (model_dir / "adapter_config.json").is_file():
        raise TrainingError(
            f"apply_ort=true: {model_dir.name} is an adapter without its base, which cannot be exported. Set "
            f"merge_lora_weights=true. {_INSTEAD}"
        )
    head = read_head(model_dir)
    task = get_head_task(head.task)
    path = model_dir / ONNX_FILE
    try:
        model = _export(model_dir, head, path)
        _fuse(path)
        opset, nodes = _look_at(path)
        session = open_session(path)
        found = compare(model, session, task, rows, InputEncoder(model_dir, head), head)
        _check_equal(found)
        verdict = quantize(model_dir, session, task, rows, head) if quantization == "int8" else None
        report = OnnxReport(
            format=1, opset=opset, nodes=nodes, rows_compared=found.rows, max_difference=found.difference,
            same_predictions=found.same_predictions, int8=verdict, **describe(session),
        )  # fmt: skip
        # written last, so its presence means that the export was checked
        (model_dir / ONNX_INFO_FILE).write_text(json.dumps(asdict(report), indent=2) + "\n", encoding="utf-8")
    except BaseException:
        for name in (ONNX_FILE, ONNX_INT8_FILE, ONNX_INFO_FILE):
            (model_dir / name).unlink(missing_ok=True)
        raise
    logger.info(
        "Exported to ONNX: %d nodes; on %d rows the same predictions as PyTorch, largest difference %.1e",
        nodes, found.rows, found.difference,
    )  # fmt: skip
    return report


def _export(model_dir: Path, head: Head, path: Path) -> Any:
    """Write the graph; gives back the model that it was made from."""
    import torch

    from components.core.heads.training.model import load_model

    model = load_model(model_dir, get_head_task(head.task), head, new_head=False).model.eval()
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if head.token_type_ids else [])]

    class Logits(torch.nn.Module):
        """The model with inputs by position, and nothing but its outputs."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: Any) -> Any:
            return self.model(**dict(zip(names, inputs, strict=True))).logits

    batch = _traced_batch(head)
    sizes = {0: torch.export.Dim("inputs"), 1: torch.export.Dim("tokens")}
    try:
        with _quietly():
            torch.onnx.export(
                Logits().eval(),
                tuple(torch.from_numpy(batch[name]) for name in names),
                str(path),
                input_names=names,
                output_names=[OUTPUT],
                dynamo=True,
                dynamic_shapes=(tuple(dict(sizes) for _ in names),),
                external_data=False,
            )
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}. Free some space.") from error
    except Exception as error:  # tracing, translation, serialisation: each fails in a way of its own
        reason = " ".join(str(error).split())[:300]
        raise TrainingError(f"apply_ort=true: this model cannot be exported to ONNX ({reason}). {_INSTEAD}") from error
    return model


def _fuse(path: Path) -> None:
    """Put operators of ONNX Runtime in place of the groups of plain ones that they stand for.

    Whether the result computes the same is found out afterwards, as for every export.
    """
    from onnxruntime.transformers import optimizer

    fused = path.with_suffix(".fused")
    try:
        with _quietly():
            # the fusions of normalisation and GELU are those of BERT for every model; attention is not looked for
            optimizer.optimize_model(str(path), model_type="bert", opt_level=0).save_model_to_file(str(fused))
        fused.replace(path)
    except Exception as error:  # a graph of another shape fails in ways of its own
        logger.info("The graph stays as it was exported (%s)", " ".join(str(error).split())[:100])
    finally:
        fused.unlink(missing_ok=True)


def _traced_batch(head: Head) -> Batch:
    inputs, tokens = _TRACED
    tokens = min(tokens, head.max_seq_length)
    # the first input is padded, so that what depends on the mask is followed
    ids = [[1] * max(1, tokens - 2 if number == 0 else tokens) for number in range(inputs)]
    return pad(ids, [[0] * len(each) for each in ids], head)


def _look_at(path: Path) -> tuple[int, int]:
    import onnx

    graph = onnx.load(str(path), load_external_data=False)
    return int(graph.opset_import[0].version), len(graph.graph.node)


def _check_equal(found: Comparison) -> None:
    if not found.equal:
        raise TrainingError(
            f"apply_ort=true: the exported model computes something else than PyTorch (largest difference "
            f"{found.difference:.1e} on {found.rows} rows), so it is not used. {_INSTEAD}"
        )


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporter's progress and its warnings of what it does not need."""
    names = ("torch.onnx", "onnxscript", "onnx_ir", "torch.export", "onnxruntime.transformers")
    loggers = [logging.getLogger(name) for name in names]
    levels = [each.level for each in loggers]
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        for each in loggers:
            each.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for each, level in zip(loggers, levels, strict=True):
                each.setLevel(level)
