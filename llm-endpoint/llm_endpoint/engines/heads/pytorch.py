"""A head in PyTorch: whole models, and adapters on their base, unmerged."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy.typing as npt

from llm_endpoint.engines.heads.seam import Batch
from llm_endpoint.errors import ModelError
from llm_endpoint.heads.head import Head

logger = logging.getLogger(__name__)


class PyTorchRuntime:
    """The transformers model of a folder in fp32 on the CPU.

    Args:
        folder: The model folder.
        base_folder: The base model, if the folder holds an adapter.
        head: Of the model.
        threads: CPU threads.

    Raises:
        ModelError: If it cannot be loaded.
    """

    name, precision = "pytorch", "fp32"

    def __init__(self, folder: Path, base_folder: Path | None, head: Head, threads: int) -> None:
        import torch

        self._torch = torch
        self._threads, self.lanes = threads, min(2, threads)
        self._running, self._changing = 0, threading.Lock()
        self._model = _load(folder, base_folder, head)
        width = int(self._model.config.num_labels)
        if width != head.outputs:
            raise ModelError(f"{folder} has {width} outputs, but its head.json names {head.outputs}. Publish it again.")
        self._types = head.token_type_ids
        logger.info("Runtime: PyTorch %s on the CPU, %d threads", torch.__version__, threads)

    def run(self, batch: Batch) -> npt.NDArray[Any]:
        """Logits of a batch."""
        tensors = {
            name: self._torch.from_numpy(values)
            for name, values in batch.items()
            if name != "token_type_ids" or self._types
        }
        with self._share_of_threads(), self._torch.inference_mode():
            logits: npt.NDArray[Any] = self._model(**tensors).logits.numpy()
        return logits

    @contextmanager
    def _share_of_threads(self) -> Iterator[None]:
        """Batches that run at once share the cores; one alone has them all."""
        with self._changing:
            self._running += 1
            share = -(-self._threads // self._running)  # rounded up
        try:
            self._torch.set_num_threads(share)  # of the calling thread
            yield
        finally:
            with self._changing:
                self._running -= 1


def _load(folder: Path, base_folder: Path | None, head: Head) -> Any:
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()  # an adapter brings the head that its base lacks
    kind = AutoModelForTokenClassification if head.task == "ner" else AutoModelForSequenceClassification
    options = {} if base_folder is None else {"num_labels": head.outputs, "pad_token_id": head.pad_token_id}
    try:
        model = kind.from_pretrained(
            base_folder or folder,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            **options,
        )
        if base_folder is not None:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, folder, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelError(f"cannot load the model in {folder.name}: {first}. Publish the model folder again.") from error
    return model.eval()
