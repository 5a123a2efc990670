"""Model folders with random Llamas that speak the starter's tokens, and texts for them."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.fixed_answer import ROOT, STARTER
from components.core.registry.manifest import write_manifest
from components.core.tasks.prompt import Prompt, write_prompt

SHAPES = {"m25": (384, 1024, 16, 6), "m110": (576, 1536, 30, 9)}
"""Hidden size, intermediate size, layers and heads, three of which share keys and values: 26 and 108 million
parameters. The larger has the layers of SmolLM-135M, the smaller is like it."""
POSITIONS = 1024
_ROWS = ROOT / "components" / "starter" / "data" / "test.jsonl"
_PROMPT = Prompt("Context: {context}\nQuestion: {question}\nAnswer:", False, "not in the context")
_DELIMITERS = 3
"""Ids 0 to 2 begin, end and pad a text."""


def write_random_llama(folder: Path, shape: str) -> int:
    """Write a Llama in fp32 that never ends an answer, as publishing leaves a model; gives its number of parameters.

    The weights are spread wide enough that attention matters and that answers do not repeat one token.

    Args:
        folder: Made if it is not there.
        shape: One of SHAPES.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    hidden, intermediate, layers, heads = SHAPES[shape]
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=starter_tokenizer().get_vocab_size(), hidden_size=hidden, intermediate_size=intermediate,
            num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=heads // 3,
            max_position_embeddings=POSITIONS, tie_word_embeddings=False, initializer_range=0.05,
            bos_token_id=0, eos_token_id=1, pad_token_id=2,
        )
    )  # fmt: skip
    with torch.no_grad():
        model.lm_head.weight[:_DELIMITERS] = 0  # a score of 0 is never the best of all
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_bytes((STARTER / "tokenizer.json").read_bytes())
    settings = json.loads((STARTER / "tokenizer_config.json").read_text(encoding="utf-8"))
    _write_json(folder / "tokenizer_config.json", settings | {"model_max_length": POSITIONS})
    write_prompt(_PROMPT, folder)
    # a line break must not end an answer here
    _write_json(folder / "model_info.json", {"task": "context_qa", "name": shape, "generation": {"one_line": False}})
    write_manifest(folder, [path.name for path in folder.iterdir()])
    return int(model.num_parameters())


def starter_tokenizer() -> Any:
    """The `tokenizers.Tokenizer` of the starter."""
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(STARTER / "tokenizer.json"))


def starter_rows() -> list[dict[str, Any]]:
    """The rows of the starter's test data."""
    return [json.loads(line) for line in _ROWS.read_text(encoding="utf-8").splitlines()]


def draw_texts(lengths: Sequence[int], seed: int) -> list[str]:
    """Texts of about as many tokens, made of the sentences of the starter's test data in random order."""
    draw, tokenizer = random.Random(seed), starter_tokenizer()
    sentences = sorted({f"{part.strip('. ')}." for row in starter_rows() for part in row["context"].split(". ")})
    texts = []
    for length in lengths:
        # a sentence has at least four tokens
        text = " ".join(draw.choice(sentences) for _ in range(length // 4 + 1))
        end = tokenizer.encode(text, add_special_tokens=False).offsets[length - 1][1]
        texts.append(text[:end])
    return texts


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
