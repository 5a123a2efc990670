"""A random tiny encoder (BERT) with a WordPiece tokenizer, and a preprocess of any of the four tasks with it."""

from pathlib import Path

from support.question_files import write
from support.task_files import task_rows

from components.core.catalogue import PREPROCESS, PreprocessParameters, read_parameters
from components.core.catalogue.task_names import CORE_TASKS
from components.core.heads.preprocess import PreprocessReport, preprocess
from components.core.recipe import DataConfig, ModelConfig
from components.core.settings import Settings

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
KEYS = {
    "single_label": {"sentence1_key": "text", "label_key": "label"},
    "multi_label": {"sentence1_key": "text", "label_column_name": "labels"},
    "regression": {"sentence1_key": "text", "label_key": "score"},
    "ner": {"token_key": "tokens", "tag_key": "ner_tags"},
}
"""Parameters without a default, for the rows of `task_files`."""
CATALOGUE_TASKS = {core: name for name, core in CORE_TASKS.items()}


def write_encoder(folder: Path, positions: int = 64, seed: int = 0) -> Path:
    """A BERT of about 15,000 random weights that reads letters, digits and a few longer pieces.

    Args:
        folder: Gets config, safetensors and tokenizer.
        positions: Tokens that it reads at most.
        seed: Of the weights.
    """
    import torch
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    tokenizer = word_piece()
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=positions, pad_token_id=0,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, mask_token="[MASK]", model_max_length=positions, model_input_names=inputs, **names
    )
    fast.save_pretrained(folder)
    return folder


def word_piece():
    """A lower-casing WordPiece tokenizer, as BERT has it."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789[]</>.,!?'-"]
    longer = ["red", "green", "blue", "black", "new", "york", "and"]
    pieces = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters[:36]), *longer, "##ing", "##s1"]
    tokenizer = Tokenizer(models.WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def parameters_of(task: str, **changes) -> PreprocessParameters:
    """Parameters of a task by the core's name."""
    return read_parameters(PREPROCESS[CATALOGUE_TASKS[task]], KEYS[task] | changes)


def preprocess_rows(task: str, rows, model: Path, folder: Path, data=None, **changes) -> PreprocessReport:
    """Preprocess rows, or a file or folder of them, into `folder`.

    Args:
        task: The core's name.
        rows: Dictionaries, or a path; none makes learnable ones.
        model: Folder of the base model.
        folder: Of the output.
        data: Changes of DataConfig.
        changes: Of the parameters.
    """
    source = rows if isinstance(rows, Path) else write(folder.parent / f"{folder.name}.jsonl", rows or task_rows(task))
    config = DataConfig.model_validate({"dataset_id": str(source)} | (data or {}))
    settings = Settings(whetstone_home=folder.parent / "home")
    return preprocess(task, parameters_of(task, **changes), config, ModelConfig(model_id=str(model)), folder, settings)
