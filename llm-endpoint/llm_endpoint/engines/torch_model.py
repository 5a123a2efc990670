"""The transformers model behind a folder: for engines that run it, and for the export that is compared with it."""

from pathlib import Path
from typing import Any

from llm_endpoint.errors import ModelError


def load_torch_model(folder: Path, base_folder: Path | None = None) -> Any:
    """Load a causal language model in fp32 on the CPU, in evaluation mode.

    Args:
        folder: Weights as safetensors with config.json, or an adapter.
        base_folder: The adapter's base model; the adapter is merged into it.

    Raises:
        ModelError: If it cannot be loaded.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(
            base_folder or folder,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
        )
        if base_folder is not None:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, folder, local_files_only=True).merge_and_unload()
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"cannot load the model in {folder.name}: {first}. Publish the model folder again.") from error
    return model.eval()
