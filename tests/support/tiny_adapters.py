"""LoRA adapters on a tiny model, made and saved by peft, and what peft's own generate says with them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

PROJECTIONS = ["q_proj", "v_proj"]


def write_adapter(
    folder: Path, base: Path, seed: int = 1, rank: int = 4, targets: Sequence[str] = PROJECTIONS, **options: Any
) -> Path:
    """Write an adapter whose random weights change what the base says."""
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base)
    config = peft.LoraConfig(
        task_type="CAUSAL_LM", r=rank, lora_alpha=2 * rank, target_modules=list(targets), lora_dropout=0.1, **options
    )
    adapted = peft.get_peft_model(model, config)
    with torch.no_grad():
        for name, weights in adapted.named_parameters():
            if "lora_" in name:
                weights.normal_(std=0.3)
    # as trained on the folder that is served
    adapted.peft_config["default"].base_model_name_or_path = str(base)
    # else peft writes a copy of an adapted head beside the adapter
    adapted.save_pretrained(folder, save_embedding_layers=False)
    return folder


def peft_says(base: Path, adapter: Path | None, ids: Sequence[int], new_tokens: int, penalty: float = 1.0) -> list[int]:
    """The tokens of transformers' own generate, with the adapter as peft loads it: alone, not merged."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base).eval()
    if adapter is not None:
        model = PeftModel.from_pretrained(model, str(adapter)).eval()
    answer = model.generate(
        input_ids=torch.tensor([list(ids)]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        max_new_tokens=new_tokens,
        min_new_tokens=new_tokens,
        do_sample=False,
        repetition_penalty=penalty,
        eos_token_id=-1,
        pad_token_id=0,
    )
    return [int(token) for token in answer[0, len(ids) :]]
