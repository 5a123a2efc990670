"""Code for the model card of a head, that runs as it stands beside the model's files."""

from components.core.registry.facts import HeadFacts

_OPEN = """\
import json
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
{imports}

source = "."  # the folder that holds this file, or this repository's id on the Hub
folder = Path(source if Path(source).is_dir() else snapshot_download(source))
head = json.loads((folder / "head.json").read_text(encoding="utf-8"))
tokenizer = AutoTokenizer.from_pretrained(folder)
model = {auto}.from_pretrained(folder{outputs}).eval()
"""
_ENCODE = """\
inputs = tokenizer(
    {inputs}, truncation={truncation}, max_length=head["max_seq_length"], split_special_tokens=True,
    return_token_type_ids=head["token_type_ids"], {more}return_tensors="pt",
)"""
_RUN = """\
with torch.no_grad():
    logits = model(**inputs).logits[0].double()"""
_READ_OUT = {
    "single_label": """\
probabilities = logits.softmax(-1)
best = int(probabilities.argmax())
print(head["labels"][best], float(probabilities[best]))""",
    "multi_label": """\
probabilities = logits.sigmoid().tolist()
thresholds = head["thresholds"] or [0.5] * len(probabilities)
print([label for label, p, least in zip(head["labels"], probabilities, thresholds) if p >= least])""",
    "regression": """\
print(float(logits[0]) * head["scale"]["std"] + head["scale"]["mean"])""",
    "ner": """\
tags = ["O"] * len(words)
for place, ((start, end), added) in enumerate(zip(offsets, special)):
    if end > start and not added and text[end - 1] != " ":
        # a word's tag stands at its last token, so later tokens of a word overwrite earlier ones
        tags[text[: end - 1].count(" ")] = head["labels"][int(logits[place].argmax())]
print(list(zip(words, tags)))""",
}


def usage_code(head: HeadFacts, adapter: bool) -> str:
    """Python that loads the model, asks it once, and prints what it says.

    Args:
        head: What the model's outputs mean.
        adapter: The folder holds an adapter; transformers must be told how wide the head is.
    """
    kind = "TokenClassification" if head.task == "ner" else "SequenceClassification"
    auto = f"AutoPeftModelFor{kind}" if adapter else f"AutoModelFor{kind}"
    together = f"from transformers import {auto}, AutoTokenizer"
    imports = f"from peft import {auto}\nfrom transformers import AutoTokenizer" if adapter else together
    outputs = ', num_labels=len(head["labels"]) or 1' if adapter else ""
    parts = [_OPEN.format(imports=imports, auto=auto, outputs=outputs)]
    parts += _words() if head.task == "ner" else _texts(head)
    parts += [_RUN, _READ_OUT[head.task]]
    return "\n".join(parts)


def _texts(head: HeadFacts) -> list[str]:
    first = 'text = "The room was clean and the staff were kind."'
    if not head.pair:
        return [first, _ENCODE.format(inputs="text", truncation="True", more="")]
    first += '\ntext_pair = "We would come back."'
    inputs = "text, text_pair" if head.pair_joiner is None else 'text + head["pair_joiner"] + text_pair'
    truncation = '"longest_first"' if head.pair_joiner is None else "True"
    return [first, _ENCODE.format(inputs=inputs, truncation=truncation, more="")]


def _words() -> list[str]:
    more = "return_offsets_mapping=True, return_special_tokens_mask=True,\n    "
    return [
        'words = ["Ada", "Morrow", "kept", "the", "lighthouse", "on", "Tern", "Island", "."]',
        'text = " ".join(words)',
        _ENCODE.format(inputs="text", truncation="True", more=more),
        'offsets, special = (inputs.pop(name)[0].tolist() for name in ("offset_mapping", "special_tokens_mask"))',
    ]
