"""A tiny random Llama with a byte-level tokenizer, saved as a model folder: real files, milliseconds to run."""

from pathlib import Path

from components.core.tasks.prompt import Prompt, write_prompt

PLAIN = Prompt("Context: {context}\nQuestion: {question}\nAnswer:", False, "not in the context")


def write_tiny_llama(folder: Path, seed: int = 0, positions: int = 256, chat_template: str | None = None) -> Path:
    """Write weights, configuration, tokenizer and a plain prompt."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {text: number for number, text in enumerate(["<eos>", "<turn>", *alphabet])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<eos>", additional_special_tokens=["<turn>"], model_max_length=positions
    )
    tokenizer.chat_template = chat_template
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(vocabulary), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=positions,
            bos_token_id=None, eos_token_id=0, pad_token_id=None, initializer_range=0.3,
        )
    )  # fmt: skip
    model.save_pretrained(folder)
    write_prompt(PLAIN, folder)
    return folder
