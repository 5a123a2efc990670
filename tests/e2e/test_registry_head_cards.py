"""The code in the model card of a head, run as it stands: it says what our own encoding and read-out say."""

import ast
import json

import pytest
from support.head_output import write_head_run

from components.core.registry import publish_head
from components.core.tasks.heads.encoding import InputEncoder
from components.core.tasks.heads.head import read_head
from components.core.tasks.heads.seam import gather_outputs

pytestmark = pytest.mark.e2e
TEXT, PAIR = "The room was clean and the staff were kind.", "We would come back."
WORDS = ["Ada", "Morrow", "kept", "the", "lighthouse", "on", "Tern", "Island", "."]
CASES = [(task, adapter, False) for task in ("single_label", "multi_label", "regression", "ner") for adapter in (0, 1)]


@pytest.mark.parametrize(("task", "adapter", "pair"), [*CASES, ("single_label", False, True)])
def test_it_says_what_the_model_says_here(tmp_path, monkeypatch, capsys, task, adapter, pair):
    run = write_head_run(tmp_path, task, adapter=bool(adapter), pair=pair)
    publish_head(*run.inputs(), tmp_path / "out")
    if adapter:  # as the card says, for a base that is not on the Hub
        path = tmp_path / "out" / "adapter_config.json"
        config = json.loads(path.read_text()) | {"base_model_name_or_path": str(tmp_path / "base")}
        path.write_text(json.dumps(config))
    code = (tmp_path / "out" / "README.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]

    monkeypatch.chdir(tmp_path / "out")
    capsys.readouterr()
    exec(compile(code, "README.md", "exec"), {})  # noqa: S102 - the card's own code

    said = capsys.readouterr().out.strip()
    expected = predict(run.model_dir, task, adapter, pair, tmp_path / "base")
    if task == "single_label":
        label, _, score = said.rpartition(" ")
        assert label == expected["label"]
        assert float(score) == pytest.approx(expected["score"], abs=1e-6)
    elif task == "multi_label":
        assert ast.literal_eval(said) == expected["labels"]
    elif task == "regression":
        assert float(said) == pytest.approx(expected["value"], abs=1e-5)
    else:
        found = ast.literal_eval(said)
        assert [word for word, _ in found] == WORDS
        # what the model says of each word; `expected` is repaired to valid IOB2
        assert [tag[-3:] for _, tag in found] == [tag[-3:] for tag in expected["tags"]]


def predict(folder, task, adapter, pair, base):
    """The prediction by the core's own encoder and read-out."""
    import peft
    import torch
    import transformers

    from components.core.tasks import get_head_task

    kind = "TokenClassification" if task == "ner" else "SequenceClassification"
    head = read_head(folder)
    if adapter:
        auto = getattr(transformers, f"AutoModelFor{kind}").from_pretrained(base, num_labels=head.outputs)
        model = peft.PeftModel.from_pretrained(auto, folder).eval()
    else:
        model = getattr(transformers, f"AutoModelFor{kind}").from_pretrained(folder).eval()
    row = {"tokens": WORDS} if task == "ner" else {"text": TEXT} | ({"text_pair": PAIR} if pair else {})
    reader = get_head_task(task)
    encoded = reader.encode([row], InputEncoder(folder, head))
    with torch.no_grad():
        outputs = [model(torch.tensor([piece.input_ids])).logits[0].numpy() for piece in encoded.pieces]
    return reader.read_out(gather_outputs(encoded, outputs, head), [row], head)[0]
