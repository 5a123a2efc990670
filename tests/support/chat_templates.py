"""Chat templates in the shapes that models come with, in our own words, and small real tokenizers for them."""

from typing import Any

from support.small_tokenizers import byte_level, sentence_piece

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' %}[[{{ m['content'] }}<|im_end|>]]{{ '\n' }}"
    "{% else %}{{ m['content'] }}<|im_end|>\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PHI = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' }}"
    "{% if m['role'] == 'assistant' %}[[{{ m['content'] + '<|end|>' }}]]{{ '\n' }}"
    "{% else %}{{ m['content'] + '<|end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
LLAMA = (
    "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' }}"
    "{% if m['role'] == 'assistant' %}[[{{ m['content'] | trim }}{{ '<|eot_id|>' }}]]"
    "{% else %}{{ m['content'] | trim + '<|eot_id|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else 'user') + '\n' }}"
    "{% if m['role'] == 'assistant' %}[[{{ m['content'] | trim }}{{ '<end_of_turn>' }}]]{{ '\n' }}"
    "{% else %}{{ m['content'] | trim + '<end_of_turn>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
ZEPHYR = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' }}"
    "{% if m['role'] == 'assistant' %}[[{{ m['content'] + eos_token }}]]{{ '\n' }}"
    "{% else %}{{ m['content'] + eos_token + '\n' }}{% endif %}"
    "{% if loop.last and add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}{% endfor %}"
)
BRACKETS = (
    "{% if messages[0]['role'] == 'system' %}{% set first = messages[0]['content'] + '\n\n' %}"
    "{% set turns = messages[1:] %}{% else %}{% set first = '' %}{% set turns = messages %}{% endif %}"
    "{{ bos_token }}{% for m in turns %}{% if m['role'] == 'user' %}"
    "{{ '[INST] ' + (first if loop.first else '') + m['content'] + ' [/INST]' }}"
    "{% else %}[[{{ ' ' + m['content'] + eos_token }}]]{% endif %}{% endfor %}"
)
"""Of Mistral: no control token before a turn, and an answer begins with the space that the prompt does not end with."""

FORMATS = {
    "ChatML": (CHATML, ["<|im_start|>", "<|im_end|>"]),
    "Phi-3": (PHI, ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]),
    "Llama-3": (LLAMA, ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]),
    "Gemma": (GEMMA, ["<start_of_turn>", "<end_of_turn>"]),
    "Zephyr": (ZEPHYR, []),
    "brackets": (BRACKETS, []),
}
"""Template, with [[ and ]] around what is generated, and its control tokens beside BOS and EOS."""


def chat_tokenizer(name: str, says_what_is_generated: bool, kind: str = "byte level") -> Any:
    """A tokenizer with the chat template of that name.

    Args:
        name: Of `FORMATS`.
        says_what_is_generated: The template holds generation tags.
        kind: `byte level` or `sentence piece`.
    """
    from tokenizers import AddedToken

    template, control = FORMATS[name]
    opened, closed = ("{% generation %}", "{% endgeneration %}") if says_what_is_generated else ("", "")
    tokenizer = byte_level() if kind == "byte level" else sentence_piece()
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in ["<s>", *control]])
    tokenizer.bos_token = "<s>"
    tokenizer.chat_template = template.replace("[[", opened).replace("]]", closed)
    return tokenizer
