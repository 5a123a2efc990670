"""Small real tokenizers, trained on the spot in milliseconds, in the shapes that models come in."""

from typing import Any

CORPUS = (
    "Context: The river Ilmen is 312 km long. It was first crossed in 1281 by the traders of Novgorod.\n"
    "Question: How long is the river?\nAnswer: 312 km not in the context system user assistant You are helpful.",
) * 4

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nYou are helpful.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] }}<|im_end|>{% endgeneration %}\n"
    "{% else %}{{ message['content'] | trim }}<|im_end|>\n{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_level(chat_template: str | None = None, eos_token: str | None = "</s>", **flags: bool) -> Any:
    """A byte-level BPE without BOS and pad, like GPT-2's and Qwen's.

    Args:
        chat_template: Template of the tokenizer.
        eos_token: End of sequence; None leaves the tokenizer without one.
        flags: Of the special tokens, for example `rstrip=True`.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=360, initial_alphabet=alphabet, special_tokens=[], show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    special = ["<|im_start|>", "<|im_end|>", *([eos_token] if eos_token else [])]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False, **flags) for token in special])
    tokenizer.add_tokens(["    "])  # a run of spaces as GPT-NeoX has it: added, but ordinary text
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=eos_token)
    fast.chat_template = chat_template
    return fast


def sentence_piece(prepend_scheme: str = "first", chat_template: str | None = None) -> Any:
    """A BPE with metaspaces that adds BOS itself and has its special tokens in its vocabulary, like Llama 2's."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    # trained on words, used on whole text: no token spans two words, as SentencePiece has it
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend_scheme, split=True)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=prepend_scheme, split=False)
    letters = [chr(code) for code in range(33, 127)]
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=letters, show_progress=False, max_token_length=6
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend_scheme, split=False)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="</s>"
    )
    fast.chat_template = chat_template
    return fast
