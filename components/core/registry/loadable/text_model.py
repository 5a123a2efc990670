"""A fine-tuned text model for `mlflow.pyfunc.load_model`: finds the published folder and answers as it was judged.

This file is copied into MLflow beside MLmodel and read from there ("models from code"), so it needs mlflow, torch and
transformers and nothing of ours. A prompt is encoded as in training: control tokens come from templates only, never
from what users write; the text is encoded by a twin of the tokenizer whose control tokens have unguessable names.
"""

import json
import os
import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import pandas
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel

_NONCE = uuid.uuid4().hex
_ANSWER = f"answer{_NONCE}"
_PLACEHOLDER = re.compile(r"\{(context|question)\}")
_SQLITE = "sqlite:///"
_LONGEST_ANSWER = 512
_DEFAULT_NAMESPACE = "kubeflow-user-example-com"


class TextModel(PythonModel):  # type: ignore[misc]
    """Answers rows of `question` and `context`, or of `messages`, with one text each."""

    def load_context(self, context: Any) -> None:
        """Load weights, tokenizer and prompt of the published folder."""
        folder = find_folder(context.model_config["place"], context.model_config["content_sha256"])
        _check_access(folder)
        self._info = _read(folder / "model_info.json")
        self._prompt = _read(folder / "prompt.json")
        self._model = _load_weights(folder, self._info)
        self._texts = Texts(folder, self._prompt["chat_template"])
        self._stop_ids = self._texts.stop_ids | _end_ids(self._model)

    def predict(self, context: Any, model_input: pandas.DataFrame, params: dict[str, Any] | None = None) -> list[str]:
        """One answer for each row, greedy unless `params` say otherwise."""
        rows = model_input.to_dict("records")
        # a cell that is empty in a table is no value
        filled = [{name: value for name, value in row.items() if value is not None and value == value} for row in rows]
        return [self._answer(row, params or {}) for row in filled]

    def _answer(self, row: Mapping[str, Any], params: Mapping[str, Any]) -> str:
        import torch
        from transformers import GenerationConfig, StoppingCriteriaList

        prompt = self._texts.encode(self._messages(row))
        room = self._texts.context_length(self._model) - len(prompt)
        if room < 1:
            raise _wrong(f"the prompt has {len(prompt)} tokens, and the model reads {room + len(prompt)} in all.")
        generation = self._info.get("generation", {})
        one_line = bool(generation.get("one_line", not self._prompt["chat_template"]))
        penalty = params.get("repetition_penalty") or generation.get("repetition_penalty") or 1.0
        config = GenerationConfig(
            max_new_tokens=min(int(params.get("max_new_tokens") or _LONGEST_ANSWER), room),
            repetition_penalty=float(penalty),
            eos_token_id=sorted(self._stop_ids) or None,
            pad_token_id=0,  # one row at a time: nothing is padded
            **_drawing(params),
        )
        stop = StoppingCriteriaList([self._texts.line_end(len(prompt))] if one_line else [])
        ids = torch.tensor([prompt])
        with torch.inference_mode(), torch.random.fork_rng():
            if params.get("seed") is not None:
                torch.manual_seed(int(params["seed"]))
            made = self._model.generate(
                ids, attention_mask=torch.ones_like(ids), generation_config=config, stopping_criteria=stop
            )
        text = self._texts.decode(made[0, len(prompt) :].tolist()).strip()
        return text.partition("\n")[0].rstrip() if one_line else text

    def _messages(self, row: Mapping[str, Any]) -> list[dict[str, str]]:
        """The conversation that a row asks for; a question and its context go into the prompt of the folder."""
        messages = row.get("messages")
        if messages is not None:
            turns = [{"role": str(turn["role"]), "content": str(turn["content"])} for turn in messages]
            while turns and turns[-1]["role"] == "assistant":
                turns.pop()
            if self._prompt["chat_template"] and turns:
                return turns
            if len(turns) < 2 or turns[-1]["role"] != "user":
                raise _wrong("messages must end with the user's question, and hold its context before it.")
            row = {"question": turns[-1]["content"], "context": "\n".join(turn["content"] for turn in turns[:-1])}
        if self._prompt.get("format") == "messages":
            raise _wrong("a row needs `messages`: this model continues conversations.")
        if not all(isinstance(row.get(name), str) and row[name].strip() for name in ("question", "context")):
            raise _wrong("a row needs `question` and `context`, or `messages`.")
        pieces = _PLACEHOLDER.split(self._prompt["template"])
        fixed = [row[piece] if number % 2 else self._texts.shield(piece) for number, piece in enumerate(pieces)]
        return [{"role": "user", "content": "".join(fixed)}]


class Texts:
    """From messages to token ids and back, for one folder."""

    def __init__(self, folder: Path, in_chat: bool) -> None:
        from tokenizers import Tokenizer
        from transformers import AutoTokenizer

        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._in_chat = in_chat
        spec = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        template = str(self._tokenizer.chat_template or "") if in_chat else ""
        ids = {token["content"]: int(token["id"]) for token in spec["added_tokens"]}
        self._names = {token: f"{_NONCE}{n:06d}" for n, token in enumerate(_control_tokens(spec, template))}
        self._pattern = re.compile("|".join(map(re.escape, self._names)) or r"(?!)")
        _rename(spec, self._names)
        self._twin = Tokenizer.from_str(json.dumps(spec))
        # the twin may number its added tokens anew (a vocabulary with holes)
        twin_ids = {self._twin.token_to_id(self._names.get(token, token)): i for token, i in ids.items()}
        self._translation = {twin: number for twin, number in twin_ids.items() if twin != number}
        eos = self._tokenizer.eos_token_id
        self.stop_ids = self._turn_end() | (set() if eos is None else {int(eos)})

    def shield(self, text: str) -> str:
        """Template text whose control tokens are meant as such."""
        return self._pattern.sub(lambda match: self._names[match.group()], text)

    def encode(self, messages: Sequence[dict[str, str]]) -> list[int]:
        """Token ids of a conversation, or of one message without a chat template."""
        if not self._in_chat:
            return [*self._leading_ids(), *self._ids(messages[0]["content"])]
        marks = [f"text{_NONCE}n{number}x" for number in range(len(messages))]
        stand_ins = [{"role": m["role"], "content": mark} for m, mark in zip(messages, marks, strict=True)]
        text = self.shield(self._render(stand_ins, True))
        probe = f" probe{_NONCE} "
        strips = probe not in self._render([{"role": "user", "content": probe}], True)
        for message, mark in zip(messages, marks, strict=True):
            text = text.replace(mark, message["content"].strip() if strips else message["content"])
        return self._ids(text)

    def decode(self, ids: list[int]) -> str:
        """The text of an answer, without control tokens."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def line_end(self, start: int) -> Any:
        """Stops when the answer, which begins at this token, has said something and breaks the line."""
        import torch

        def ends(input_ids: Any, _scores: Any, **_: Any) -> Any:
            return torch.tensor(["\n" in self.decode(input_ids[0, start:].tolist()).lstrip()])

        return ends

    def context_length(self, model: Any) -> int:
        """Tokens of prompt and answer together."""
        text = model.config.get_text_config()
        limits = (getattr(text, "max_position_embeddings", None), self._tokenizer.model_max_length)
        return min(int(limit) for limit in limits if limit)

    def _render(self, messages: Sequence[dict[str, str]], generation: bool) -> str:
        from jinja2 import TemplateError

        try:
            return str(self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generation))
        except (TemplateError, ValueError, TypeError) as error:
            raise _wrong(f"the model's chat template refuses the messages: {error}.") from error

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._twin.encode(text, add_special_tokens=False).ids
        return [self._translation.get(i, i) for i in ids] if self._translation else ids

    def _leading_ids(self) -> list[int]:
        bare, full = (self._tokenizer("x", add_special_tokens=own)["input_ids"] for own in (False, True))
        starts = (n for n in range(len(full) - len(bare) + 1) if full[n : n + len(bare)] == bare)
        return list(full[: next(starts, 0)])

    def _turn_end(self) -> set[int]:
        """The control token with which the chat template ends an answer."""
        if not self._in_chat:
            return set()
        turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": _ANSWER}]
        tail = self.shield(self._render(turns, False).partition(_ANSWER)[2])
        match = re.search(re.escape(_NONCE) + r"\d{6}", tail)
        return {self._ids(tail[: match.end()])[-1]} if match else set()


def find_folder(place: str, content_sha256: str) -> Path:
    """The published folder: from the Hub, or in the registry of WHETSTONE_HOME or beside the MLflow store.

    Raises:
        MlflowException: If it is not there, or is not what was registered.
    """
    if place.startswith("hf://"):
        from huggingface_hub import snapshot_download

        repo, _, revision = place.removeprefix("hf://").partition("@")
        folder = Path(snapshot_download(repo, revision=revision))
        _check_content(folder, content_sha256)
        return folder
    name = place.removeprefix("whetstone:/")
    homes = [Path(os.environ["WHETSTONE_HOME"])] if os.environ.get("WHETSTONE_HOME") else []
    # a store that is a SQLite file lies in the home itself
    stores = [uri for uri in (mlflow.get_registry_uri(), mlflow.get_tracking_uri()) if uri.startswith(_SQLITE)]
    homes += [*(Path(uri.removeprefix(_SQLITE)).parent for uri in stores), Path(".whetstone")]
    folders = [home / "registry" / name for home in homes if (home / "registry" / name / "manifest.json").is_file()]
    if not folders:
        raise _wrong(f"{place} is not in a registry on this machine. Set WHETSTONE_HOME to what holds registry/{name}.")
    _check_content(folders[0], content_sha256)
    return folders[0]


def _check_content(folder: Path, content_sha256: str) -> None:
    manifest = _read(folder / "manifest.json")
    files: Mapping[str, Any] = manifest["files"]
    broken = [n for n, e in files.items() if not (folder / n).is_file() or (folder / n).stat().st_size != e["size"]]
    if manifest["content_sha256"] != content_sha256 or broken:
        found = f"is broken ({', '.join(broken)})" if broken else "holds another model than was registered"
        raise _wrong(f"{folder} {found}. Copy the folder again from where it was published.")


def _check_access(folder: Path) -> None:
    """A restricted model is loaded in its own namespace only, as the endpoint does."""
    named = folder / "access.json"
    access = _read(named) if named.is_file() else _read(folder / "model_info.json").get("access", {})
    here = os.environ.get("POD_NAMESPACE") or os.environ.get("KFP_NAMESPACE") or _DEFAULT_NAMESPACE
    if access.get("restricted") and access.get("namespace") != here:
        raise _wrong(f"{folder} is restricted to namespace {access.get('namespace')}; it is not loaded in {here}.")


def _load_weights(folder: Path, info: Mapping[str, Any]) -> Any:
    from transformers import AutoModelForCausalLM, GenerationConfig

    options: dict[str, Any] = {"use_safetensors": True}
    if (folder / "adapter_config.json").is_file():
        from peft import PeftModel

        base = info["base_model"]
        if str(base["id"]).count("/") != 1:
            raise _wrong(f"{folder} is an adapter of {base['id']}, not on the Hub. Set lora.merge_lora_weights=true.")
        bare = AutoModelForCausalLM.from_pretrained(base["id"], revision=base["revision"] or None, **options)
        model = PeftModel.from_pretrained(bare, folder).merge_and_unload()
    else:
        model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, **options)
    model.eval()
    # only its end tokens count: sampling that a base model suggests is not how the model was judged
    model.generation_config = GenerationConfig(eos_token_id=model.generation_config.eos_token_id)
    return model


def _end_ids(model: Any) -> set[int]:
    configs = (model.config.get_text_config(), model.generation_config)
    values = [getattr(config, "eos_token_id", None) for config in configs]
    return {each for value in values if value is not None for each in (value if isinstance(value, list) else [value])}


def _drawing(params: Mapping[str, Any]) -> dict[str, Any]:
    if not params.get("do_sample"):
        return {"do_sample": False}
    given = {"temperature": params.get("temperature"), "top_p": params.get("top_p"), "top_k": params.get("top_k") or 0}
    return {"do_sample": True} | {name: value for name, value in given.items() if value is not None}


def _control_tokens(spec: Mapping[str, Any], template: str) -> list[str]:
    control = {
        token["content"]
        for token in spec["added_tokens"]
        if token["special"] or (token["content"] in template and not token["content"].isspace())
    }
    return sorted(control, key=lambda token: (-len(token), token))


def _rename(spec: dict[str, Any], names: Mapping[str, str]) -> None:
    for token in spec["added_tokens"]:
        if token["content"] in names:
            token.update(content=names[token["content"]], normalized=False)
    model = spec["model"]
    vocab = model.get("vocab")
    if isinstance(vocab, dict):
        model["vocab"] = {names.get(piece, piece): number for piece, number in vocab.items()}
    elif isinstance(vocab, list):
        model["vocab"] = [[names.get(piece, piece), score] for piece, score in vocab]
    merges = [merge if isinstance(merge, list) else merge.split(" ") for merge in model.get("merges") or []]
    if merges:
        model["merges"] = [merge for merge in merges if "".join(merge) not in names]
    if model.get("unk_token") in names:
        model["unk_token"] = names[model["unk_token"]]
    spec.update(post_processor=None, truncation=None, padding=None)


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _wrong(message: str) -> MlflowException:
    return MlflowException(message, error_code=INVALID_PARAMETER_VALUE)


mlflow.models.set_model(TextModel())
