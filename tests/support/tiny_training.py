"""A random tiny base model and token folders, small enough to train in a second."""

import json
import random
from pathlib import Path

WORDS = [f"w{number}" for number in range(60)]
SPECIAL = ["<unk>", "<s>", "</s>"]


def write_base_model(folder: Path, dtype: str = "float32", seed: int = 0) -> Path:
    """A Llama of about 30,000 random weights with a word tokenizer of 63 tokens."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, tie_word_embeddings=False,
    )  # fmt: skip
    LlamaForCausalLM(config).to(getattr(torch, dtype)).save_pretrained(folder)
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", model_max_length=128
    )
    fast.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    fast.save_pretrained(folder)
    return folder


def random_rows(count: int, seed: int, longest: int = 40) -> list[tuple[list[int], list[int]]]:
    """Rows of 5 to `longest` tokens: the answer, the last one to three tokens and the end, repeats the first token."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        prompt = [draw.randrange(3, 63) for _ in range(draw.randint(4, longest - 4))]
        answer = [prompt[0]] * draw.randint(1, 3) + [2]
        rows.append((prompt + answer, [-100] * len(prompt) + answer))
    return rows


def write_rows(path: Path, rows: list[tuple[list[int], list[int]]], rows_per_pack: int = 1) -> None:
    """Write rows as packs of so many rows, in two record batches."""
    import pyarrow as pa

    packs = [rows[first : first + rows_per_pack] for first in range(0, len(rows), rows_per_pack)]
    column = pa.list_(pa.int32())
    schema = pa.schema([("input_ids", column), ("labels", column), ("seq_lengths", column)])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for part in (packs[: len(packs) // 2], packs[len(packs) // 2 :]):
            columns = [
                [[token for ids, _ in pack for token in ids] for pack in part],
                [[label for _, labels in pack for label in labels] for pack in part],
                [[len(ids) for ids, _ in pack] for pack in part],
            ]
            writer.write_batch(pa.record_batch([pa.array(values, column) for values in columns], schema=schema))


def write_tokens(folder: Path, train: int = 48, validation: int = 8, rows_per_pack: int = 3) -> Path:
    """A folder as the tokenization leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "train.arrow", random_rows(train, seed=1), rows_per_pack)
    write_rows(folder / "validation.arrow", random_rows(validation, seed=2), rows_per_pack)
    (folder / "tokens_info.json").write_text(
        json.dumps({"fingerprint": f"tiny-{train}-{validation}", "max_seq_length": 64, "pad_token_id": 0})
    )
    prompt = {"template": "{context} {question}", "chat_template": False, "no_answer_text": "not in the context"}
    (folder / "prompt.json").write_text(json.dumps(prompt))
    return folder
