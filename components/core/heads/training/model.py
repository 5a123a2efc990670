"""The model that is trained: a base with a head of the right width, and an adapter on it where one is asked for."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.core.catalogue import FinetuneParameters
from components.core.errors import TrainingError
from components.core.tasks import HeadTask
from components.core.tasks.heads import Head
from components.core.training.hardware import Hardware
from components.core.training.quantization import quantized_options

_TASK_TYPES = {"sequence": "SEQ_CLS", "token": "TOKEN_CLS"}


@dataclass(frozen=True)
class BaseOfAdapter:
    """What an adapter says that it has to be loaded on."""

    name: str
    """Hub id, or a local folder."""
    revision: str | None = None


@dataclass(frozen=True)
class LoadedModel:
    """A model with a head."""

    model: Any
    fresh: list[str]
    """Weights that the folder does not hold, in this shape at least: they start at random."""


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without tables of what was loaded and bars for a terminal: what matters in them is said by our own messages."""
    from transformers.utils import logging as theirs

    before, bars = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    theirs.set_verbosity_error()
    theirs.disable_progress_bar()
    try:
        yield
    finally:
        theirs.set_verbosity(before)
        if bars:
            theirs.enable_progress_bar()


def load_model(
    folder: Path, task: HeadTask, head: Head, new_head: bool = True, quantized: tuple[int, Hardware] | None = None
) -> LoadedModel:
    """Read a model folder in fp32: safetensors only, no code from it, no network.

    Args:
        folder: Of a base model, whose head may be missing, or of a trained one.
        task: Says which kind of head.
        head: Its outputs.
        new_head: Begin a head of another shape afresh; false refuses it.
        quantized: Bits of the weights below an adapter, and where they are computed.

    Raises:
        TrainingError: If transformers cannot load it, or it has another head and `new_head` is false.
    """
    import torch

    options: dict[str, Any] = {"dtype": torch.float32}
    try:
        with quiet_transformers():
            config = _configure(folder, task, head)
            kind = _auto_class(task)
            if quantized is not None:
                options = quantized_options(*quantized)
                options["quantization_config"].llm_int8_skip_modules = [
                    *_outside_base(_outline(kind, config)),
                    "pooler",
                ]
            model, info = kind.from_pretrained(
                folder, config=config, use_safetensors=True, local_files_only=True, trust_remote_code=False,
                ignore_mismatched_sizes=True, output_loading_info=True, **options,
            )  # fmt: skip
    except Exception as error:  # config, weights, a type without such a head: each fails in a way of its own
        reason = " ".join(str(error).split())[:300]
        raise TrainingError(
            f"cannot load a model with a head from {folder}: {reason}. Choose an encoder or causal model of the "
            "transformers library."
        ) from error
    reshaped = {name: tuple(shape) for name, shape, *_ in info["mismatched_keys"]}
    if reshaped and not new_head:
        name, shape = next(iter(sorted(reshaped.items())))
        raise TrainingError(
            f"ignore_mismatched_sizes=false: the base model's head has another shape than {head.outputs} outputs "
            f"({name}: {' x '.join(map(str, shape))}). Choose another base model, or set ignore_mismatched_sizes=true."
        )
    # else the weights are written under the names of older versions, which it can read too
    model._weight_conversions = None
    return LoadedModel(model, sorted({*info["missing_keys"], *reshaped}))


def start_at_shares(loaded: LoadedModel, shares: Any) -> None:
    """Let a fresh output layer with a bias begin with how often each label occurs, instead of a half for each.

    With many labels, of which a text has few, an encoder first learns that most are absent, and forgets its input over
    it: MiniLM on the 62 labels of NLU++ still said the same of every text after 390 steps; from here it told them
    apart after 65. After Lin et al. 2017 (Focal Loss for Dense Object Detection), section 4.1.

    Args:
        loaded: A model whose outputs are read through a sigmoid each.
        shares: Of the training's inputs, by label, strictly between 0 and 1; shape (k,).
    """
    import torch

    for name, layer in loaded.model.named_modules():
        if name and f"{name}.bias" in loaded.fresh and getattr(layer, "out_features", None) == len(shares):
            with _whole(layer.bias), torch.no_grad():
                layer.bias.copy_(torch.logit(torch.as_tensor(shares)))


@contextmanager
def _whole(parameter: Any) -> Iterator[None]:
    """A parameter to write to, also where ZeRO-3 keeps a part of it in each process."""
    if not hasattr(parameter, "ds_id"):
        yield
        return
    import deepspeed  # type: ignore[import-untyped]

    with deepspeed.zero.GatheredParameters(parameter, modifier_rank=0):
        yield


def add_adapter(loaded: LoadedModel, task: HeadTask, parameters: FinetuneParameters, base: BaseOfAdapter) -> Any:
    """Freeze the model and put fresh low-rank adapters on its linear layers; what starts at random is trained whole.

    Raises:
        TrainingError: If the model has no linear layer.
    """
    import peft

    model = loaded.model
    whole = sorted({*_outside_base(model), *(name.rpartition(".")[0] for name in loaded.fresh)})
    targets = [
        name
        for name, layer in model.named_modules()
        if _is_linear(layer) and not any(name == each or name.startswith(f"{each}.") for each in whole)
    ]
    if not targets:
        raise TrainingError("apply_lora=true: the base model has no linear layer below its head. Set apply_lora=false.")
    # a part of a module that is trained whole already needs no mention of its own
    whole = [name for name in whole if not any(name.startswith(f"{other}.") for other in whole)]
    config = peft.LoraConfig(
        task_type=_TASK_TYPES[task.head_kind], r=parameters.lora_r, lora_alpha=parameters.lora_alpha,
        lora_dropout=parameters.lora_dropout, target_modules=targets, modules_to_save=whole,
    )  # fmt: skip
    adapted = peft.get_peft_model(model, config)
    written = adapted.peft_config["default"]
    written.base_model_name_or_path, written.revision = base.name, base.revision
    # peft adds names of heads over and over, and its sets come in another order each time
    written.modules_to_save, written.target_modules = sorted(set(written.modules_to_save)), sorted(targets)
    return adapted


def load_trained(checkpoint: Path, base: Path, task: HeadTask, head: Head, lora: bool, merge: bool) -> Any:
    """The model of a checkpoint, in fp32 on the CPU; an adapter lies on its base, or is merged into it."""
    if not lora:
        return load_model(checkpoint, task, head, new_head=False).model
    import peft

    with quiet_transformers():
        adapted = peft.PeftModel.from_pretrained(load_model(base, task, head).model, checkpoint)
    return adapted.merge_and_unload() if merge else adapted


def _configure(folder: Path, task: HeadTask, head: Head) -> Any:
    from transformers import AutoConfig

    names = {number: label for number, label in enumerate(head.labels)}
    options: dict[str, Any] = {"num_labels": head.outputs, "pad_token_id": head.pad_token_id}
    if names:
        options |= {"id2label": names, "label2id": {label: number for number, label in names.items()}}
    if task.problem_type:
        options["problem_type"] = task.problem_type
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **options)
    # a causal model finds the last token of a text by it
    config.get_text_config().pad_token_id = head.pad_token_id
    if getattr(config, "use_cache", False):
        # kept for the next token, of which there is none
        config.use_cache = False
    return config


def _auto_class(task: HeadTask) -> Any:
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    return {"sequence": AutoModelForSequenceClassification, "token": AutoModelForTokenClassification}[task.head_kind]


def _outline(kind: Any, config: Any) -> Any:
    """The model without its weights."""
    import torch

    with torch.device("meta"):
        return kind.from_config(config)


def _outside_base(model: Any) -> list[str]:
    """The parts of a model that belong to its head."""
    return [
        name
        for name, part in model.named_children()
        if name != model.base_model_prefix and next(part.parameters(), None) is not None
    ]


def _is_linear(layer: Any) -> bool:
    import torch
    from transformers.pytorch_utils import Conv1D

    return isinstance(layer, torch.nn.Linear | Conv1D)
