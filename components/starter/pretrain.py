"""Pretrain the starter model from nothing on its own synthetic texts."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed
from torch.multiprocessing.spawn import spawn
from torch.nn import functional
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from components.starter.batches import Batch, iterate_batches
from components.starter.gate import measure_gate
from components.starter.tokenizer import MAX_LENGTH

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PretrainingConfig:
    """How the shipped model was pretrained."""

    total_tokens: int = 22_700_000
    processes: int = 2
    """Each uses one core; gradients are averaged over them at every step."""
    batch_tokens: int = 3000
    """Tokens per process and step, padding included."""
    muon_learning_rate: float = 0.006
    """Peak learning rate of the matrices inside the layers (Muon)."""
    adam_learning_rate: float = 4e-3
    """Peak learning rate of the embeddings and norms (AdamW)."""
    warmup_tokens: int = 400_000
    cooldown_share: float = 0.25
    """Share of all tokens, at the end, over which the learning rate falls to zero."""
    checkpoint_steps: int = 300
    seed: int = 0


def build_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """Make the untrained model."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=5,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        # On a CPU, plain attention trains half as fast again as the fused kernel at these lengths.
        attn_implementation="eager",
    )
    return LlamaForCausalLM(config)


def build_optimizers(model: LlamaForCausalLM, config: PretrainingConfig) -> list[torch.optim.Optimizer]:
    """Make Muon for the matrices of the layers and AdamW for the rest."""
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=config.muon_learning_rate, weight_decay=0.01),
        torch.optim.AdamW(others, lr=config.adam_learning_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def schedule(tokens: int, total_tokens: int, config: PretrainingConfig) -> float:
    """Return the factor on the peak learning rates: warm-up, level, then down to zero."""
    cooldown = config.cooldown_share * total_tokens
    return max(0.0, min(1.0, (tokens + 1) / config.warmup_tokens, (total_tokens - tokens) / cooldown))


def compute_loss(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """Return the weighted mean cross-entropy, computed only where a weight is not zero."""
    weights = batch.weights.roll(-1, dims=1)
    weights[:, -1] = 0.0
    targets, weights = batch.input_ids.roll(-1, dims=1).reshape(-1), weights.reshape(-1)
    chosen = weights.nonzero().squeeze(1)
    # Filled up with position 0, which is used once: few different shapes, so few kernels to compile.
    chosen = functional.pad(chosen, (0, -len(chosen) % 256))
    used = torch.arange(len(chosen)) < int((weights > 0).sum())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = model.model(input_ids=batch.input_ids, use_cache=False).last_hidden_state
        logits = model.lm_head(hidden.reshape(-1, hidden.shape[-1])[chosen])
    losses = functional.cross_entropy(logits.float(), targets[chosen], reduction="none")
    return (losses * weights[chosen] * used).sum() / weights.sum()


def write_model_folder(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write model (bfloat16), generation settings and tokenizer as a Transformers folder."""
    copy = LlamaForCausalLM(model.config)
    copy.load_state_dict(model.state_dict())
    copy.config._attn_implementation = None
    copy.generation_config = GenerationConfig(
        do_sample=False,
        max_new_tokens=32,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    copy.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    # Transformers 5 writes a class name that earlier releases and other servers do not know.
    settings = folder / "tokenizer_config.json"
    settings.write_text(settings.read_text().replace("TokenizersBackend", "PreTrainedTokenizerFast"))
    (folder / "model.safetensors").chmod(0o644)


def share_gradients(model: LlamaForCausalLM, tokens: int, stop: bool) -> tuple[int, bool]:
    """Average the gradients over all processes.

    Args:
        model: Its gradients are replaced by the averages.
        tokens: Tokens of this process in this step.
        stop: Whether this process asks for the cool-down.

    Returns:
        The tokens of all processes in this step, and whether any process asks for the cool-down.
    """
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([*(g.reshape(-1) for g in gradients), torch.tensor([float(tokens), float(stop)])])
    torch.distributed.all_reduce(flat)
    offset = 0
    for gradient in gradients:
        count = gradient.numel()
        gradient.copy_(flat[offset : offset + count].view_as(gradient) / torch.distributed.get_world_size())
        offset += count
    return int(flat[-2]), bool(flat[-1])


class Pretraining:
    """One process of a pretraining run; all processes hold the same model and read different texts."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, work: Path, config: PretrainingConfig) -> None:
        self.tokenizer = tokenizer
        self.config = config
        self.work = work
        self.checkpoint = work / "checkpoint.pt"
        self.model = build_model(tokenizer, config.seed)
        self.optimizers = build_optimizers(self.model, config)
        self.peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]
        self.tokens, self.steps, self.total_tokens = 0, 0, config.total_tokens

    def load(self) -> None:
        """Continue from the checkpoint, if there is one."""
        if not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.tokens, self.steps, self.total_tokens = state["tokens"], state["steps"], state["total_tokens"]

    def save(self) -> None:
        """Replace the checkpoint."""
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "tokens": self.tokens,
            "steps": self.steps,
            "total_tokens": self.total_tokens,
        }
        temporary = self.checkpoint.with_suffix(".tmp")
        torch.save(state, temporary)
        temporary.replace(self.checkpoint)

    def train_step(self, batch: Batch, factor: float) -> float:
        """Train on one batch per process and return this process's loss."""
        for optimizer, rates in zip(self.optimizers, self.peaks, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
        loss = compute_loss(self.model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        tokens, cool_down = share_gradients(self.model, batch.tokens, (self.work / "cooldown").exists())
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)
        self.tokens += tokens
        self.steps += 1
        if cool_down:
            self.total_tokens = min(self.total_tokens, int(self.tokens / (1 - self.config.cooldown_share)))
        return loss.item()

    def run(self, rank: int) -> None:
        """Train to the end; process 0 also logs, measures and saves."""
        started, started_tokens = time.monotonic(), self.tokens
        seed = f"{self.config.seed}:{rank}"
        for batch in iterate_batches(self.tokenizer, self.config.batch_tokens, seed, self.tokens):
            factor = schedule(self.tokens, self.total_tokens, self.config)
            if factor == 0.0:
                break
            loss = self.train_step(batch, factor)
            if rank == 0 and self.steps % 50 == 0:
                rate = (self.tokens - started_tokens) / (time.monotonic() - started)
                logger.info(
                    "Step %d, %.2f M tokens, loss %.4f, %.0f tokens/s", self.steps, self.tokens / 1e6, loss, rate
                )
            if rank == 0 and self.steps % self.config.checkpoint_steps == 0:
                stated, open_ = measure_gate(self.model, self.tokenizer)
                logger.info("Gate at %.2f M tokens: stated %.3f, not stated %.3f", self.tokens / 1e6, stated, open_)
                self.save()


def run_process(
    rank: int, tokenizer: PreTrainedTokenizerFast, folder: Path, work: Path, config: PretrainingConfig
) -> None:
    """Run one process of a pretraining run; process 0 writes the model folder at the end."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.distributed.init_process_group(
        "gloo", init_method=(work / "rendezvous").resolve().as_uri(), rank=rank, world_size=config.processes
    )
    training = Pretraining(tokenizer, work, config)
    training.load()
    training.run(rank)
    if rank == 0:
        training.save()
        stated, open_ = measure_gate(training.model, tokenizer, count=500)
        logger.info("Final gate: stated %.3f, not stated %.3f", stated, open_)
        write_model_folder(training.model, tokenizer, folder)
    torch.distributed.destroy_process_group()


def pretrain(tokenizer: PreTrainedTokenizerFast, folder: Path, work: Path, config: PretrainingConfig) -> None:
    """Pretrain and write the model folder; a run that was stopped continues from its checkpoint.

    Args:
        tokenizer: The starter's tokenizer.
        folder: Where the model goes.
        work: Where the checkpoint is kept. A file `cooldown` put there starts the cool-down early.
        config: How to train.
    """
    work.mkdir(parents=True, exist_ok=True)
    (work / "rendezvous").unlink(missing_ok=True)
    spawn(run_process, (tokenizer, folder, work, config), nprocs=config.processes)  # type: ignore[no-untyped-call]
