"""The starter's tokenizer: byte-level BPE in which every syllable of an invented name is one token."""

import random
import re
from collections.abc import Iterator

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from components.starter.exercises import write_list_exercise, write_reading_exercise
from components.starter.names import FIRST_SYLLABLES, LAST_SYLLABLES, MIDDLE_SYLLABLES

VOCABULARY_SIZE = 1792
MAX_LENGTH = 512
BOS, EOS, PAD = "<|begin|>", "<|end|>", "<|pad|>"
PROMPT_WORDS = "Context: it\nQuestion: it\nAnswer: not in the context"

# A space belongs to the word after it; digits go in pairs, so that a year is two tokens.
_WORD_PATTERN = r"'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}{1,2}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_NAME = re.compile(
    f"( ?(?:{'|'.join(FIRST_SYLLABLES)})(?=[a-z]))({'|'.join(MIDDLE_SYLLABLES)})?({'|'.join(LAST_SYLLABLES)})"
)


def training_pieces(documents: int) -> Iterator[str]:
    """Yield text in which the syllables of a name are apart, so that no token spans two of them."""
    rng = random.Random("tokenizer")
    syllables = [" " + syllable for syllable in FIRST_SYLLABLES] + list(MIDDLE_SYLLABLES + LAST_SYLLABLES)
    for _ in range(documents):
        write = write_reading_exercise if rng.random() < 0.9 else write_list_exercise
        yield from (piece for piece in _NAME.split(write(rng).text) if piece)
        yield from syllables
        yield PROMPT_WORDS
        yield from (f" {number:02d}" for number in range(100))
        yield from (f"{number:02d}" for number in range(100))


def build_tokenizer(documents: int = 4000) -> PreTrainedTokenizerFast:
    """Train the tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORD_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(training_pieces(documents), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        model_max_length=MAX_LENGTH,
        clean_up_tokenization_spaces=False,
    )
