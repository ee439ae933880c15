"""Train the reference model from a folder of plain text.

The schedule (`tracegen.reference_model.recipe`) is a share of the time allowed. A checkpoint is
written every few minutes and the same command goes on from it; the finished model is written to a
temporary folder and its weights are moved into place last, so that a partial model never looks like
a finished one.
"""

import json
import os
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from tracegen.base.errors import UserError
from tracegen.base.space import in_words
from tracegen.reference_model.circuits import start_from_circuits
from tracegen.reference_model.corpus import BOS, BOS_ID, read_corpus, train_tokenizer
from tracegen.reference_model.finished import mean_weights
from tracegen.reference_model.mixture import ANSWER_WEIGHT, TEXT_WEIGHT, Mixture
from tracegen.reference_model.recipe import Recipe

TOKENS_A_STEP = 8192
# Small enough that the activations of one pass stay in the cache of a desktop processor.
TOKENS_A_PASS = {"cpu": 2048, "cuda": 32768}
CHECKPOINT_SECONDS = 240.0
# The finished weights are a running mean over about this many steps: single steps on a few
# thousand tokens are noisy, and their mean retrieves better than any one of them.
AVERAGED_STEPS = 64
STEPS_A_REPORT = 20
Tensors = tuple[Tensor, ...] | list[Tensor]


@dataclass(frozen=True)
class Job:
    """One call of the training command, as every worker process gets it."""

    work: Path
    recipe: Recipe
    seconds: float
    device: str
    workers: int
    compiled: bool
    start: tuple[Path, ...] = ()
    """Folders of finished models to start from the mean of; none: start from circuits."""


@dataclass
class Progress:
    """Where a training run stands; stored in its checkpoint."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0


@dataclass
class Trainer:
    """The state of one worker."""

    job: Job
    model: LlamaForCausalLM
    optimizer: torch.optim.Optimizer
    progress: Progress
    average: AveragedModel
    """Running mean of the weights, which the finished model is made of."""

    @property
    def checkpoint(self) -> Path:
        """The file that the run goes on from."""
        return self.job.work / "checkpoint.pt"

    def save(self) -> None:
        """Replace the checkpoint by the present state."""
        part = self.checkpoint.with_suffix(".part")
        state = {
            "recipe": asdict(self.job.recipe),
            "progress": asdict(self.progress),
            "model": self.model.state_dict(),
            "average": self.average.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        torch.save(state, part)
        part.replace(self.checkpoint)

    def resume(self) -> None:
        """Go on from the checkpoint where there is one."""
        if self.checkpoint.exists():
            state = load_checkpoint(self.checkpoint, self.job.recipe)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average.module.load_state_dict(state["average"])
            self.progress = Progress(**state["progress"])
            self.average.n_averaged.fill_(self.progress.step)

    def apply(self, weight: Tensor) -> float:
        """Average the gradients over all workers, clip them to norm 1 and take one step."""
        parameters = list(self.model.parameters())
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients] + [weight.reshape(1)])
        if self.job.workers > 1:
            dist.all_reduce(flat)
        flat = flat[:-1] / flat[-1]
        norm = float(flat.norm())
        flat /= max(1.0, norm)
        ends = np.cumsum([g.numel() for g in gradients])
        for gradient, part in zip(gradients, flat.tensor_split(ends[:-1].tolist()), strict=True):
            gradient.copy_(part.view_as(gradient))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=False)
        self.average.update_parameters(self.model)
        return norm


@torch.no_grad()
def running_mean(means: Tensors, weights: Tensors, steps: Tensor | int) -> None:
    """Move the means to the weights: the mean of the first steps, an exponential one later."""
    share = 1 / min(int(steps) + 1, AVERAGED_STEPS)
    for mean, weight in zip(means, weights, strict=True):
        mean.lerp_(weight, share)


def load_checkpoint(path: Path, recipe: Recipe) -> dict[str, Any]:
    """Return a checkpoint of `recipe`.

    Raises:
        UserError: the file cannot be read, or another recipe made it.
    """
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
        made_with, _ = state["recipe"], state["average"]
    except Exception:
        raise UserError(
            f"{path}: not a readable checkpoint; delete it to start from the beginning"
        ) from None
    changed = [name for name, value in asdict(recipe).items() if made_with.get(name) != value]
    if changed:
        raise UserError(
            f"{path}: made with another {', '.join(changed)}; "
            "use the same settings or another --out folder"
        )
    return state


def weighted_loss(
    model: LlamaForCausalLM, hidden: Tensor, ids: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the weighted loss sum, the sum of weights, and (text, answer) loss sums and counts."""
    logits = model.lm_head(hidden[:, :-1]).flatten(0, 1).float()
    losses = F.cross_entropy(logits, ids[:, 1:].flatten(), reduction="none")
    wanted = weights[:, 1:].flatten()
    seen = torch.stack([wanted == TEXT_WEIGHT, wanted >= ANSWER_WEIGHT]).float()
    figures = torch.cat([seen @ losses.detach(), seen.sum(1)])
    return (losses * wanted).sum(), wanted.sum(), figures


def _trainer(job: Job) -> Trainer:
    torch.manual_seed(job.recipe.seed)
    model = LlamaForCausalLM(job.recipe.config())
    if job.start:
        model.load_state_dict(mean_weights(job.start, model))
    elif job.recipe.holds_circuits:
        start_from_circuits(model, BOS_ID, job.recipe.seed)
    model.to(job.device)
    named = list(model.named_parameters())
    matrices = [p for name, p in named if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in named if p.ndim != 2 or "embed" in name]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.02}, {"params": others, "weight_decay": 0.0}],
        betas=(0.9, 0.98),
        fused=True,
    )
    average = AveragedModel(model, multi_avg_fn=running_mean)
    trainer = Trainer(job, model, optimizer, Progress(), average)
    trainer.resume()
    return trainer


def _worker(rank: int, job: Job) -> None:
    if job.workers > 1:
        rendezvous = f"file://{job.work / 'rendezvous'}"
        dist.init_process_group("gloo", rendezvous, rank=rank, world_size=job.workers)
    if job.device == "cpu":
        torch.set_num_threads(1)
    trainer = _trainer(job)
    mixture = Mixture(
        corpus=np.load(job.work / "corpus.npy", mmap_mode="r"),
        tokenizer=Tokenizer.from_file(str(job.work / "tokenizer.json")),
        bos_token_id=BOS_ID,
        rng=random.Random(f"{job.recipe.seed}/{rank}/{trainer.progress.step}"),
    )
    for line in _steps(trainer, mixture):
        if rank == 0:
            _report(line, job)
    if rank == 0:
        trainer.save()
    if job.workers > 1:
        dist.barrier()
        dist.destroy_process_group()


def _steps(trainer: Trainer, mixture: Mixture) -> Iterator[dict[str, float]]:
    """Train until the time is up; yield the figures of every few steps."""
    job, progress = trainer.job, trainer.progress
    model = trainer.model
    body = torch.compile(model.model, dynamic=False) if job.compiled else model.model
    first = not job.workers > 1 or dist.get_rank() == 0
    figures = torch.zeros(4)
    saved = started = time.monotonic()
    while progress.seconds < job.seconds:
        done_ratio = progress.seconds / job.seconds
        length = job.recipe.length_at(done_ratio)
        n_sequences = max(1, TOKENS_A_PASS[job.device] // length)
        n_passes = max(1, TOKENS_A_STEP // (length * n_sequences * job.workers))
        for group in trainer.optimizer.param_groups:
            group["lr"] = job.recipe.learning_rate_at(done_ratio)
        weight_sum = torch.zeros((), device=job.device)
        for _ in range(n_passes):
            ids, weights = (
                torch.from_numpy(one).to(job.device) for one in mixture.batch(length, n_sequences)
            )
            with torch.autocast("cuda", torch.bfloat16, enabled=job.device == "cuda"):
                hidden = body(input_ids=ids, use_cache=False).last_hidden_state
                loss, weight, seen = weighted_loss(model, hidden, ids, weights)
            loss.backward()  # type: ignore[no-untyped-call]
            weight_sum += weight
            figures += seen.cpu()
        norm = trainer.apply(weight_sum)
        now = time.monotonic()
        taken = torch.tensor(now - started)
        if job.workers > 1:  # all workers must leave the loop at the same step
            dist.all_reduce(taken, op=dist.ReduceOp.MAX)
        started = now
        progress.seconds += taken.item()
        progress.step += 1
        progress.tokens += n_passes * n_sequences * length * job.workers
        if first and now - saved > CHECKPOINT_SECONDS:
            trainer.save()
            saved = now
        if progress.step % STEPS_A_REPORT == 0:
            text, answers = (figures[:2] / figures[2:].clamp(min=1)).tolist()
            yield {
                "step": progress.step,
                "tokens": progress.tokens,
                "context_tokens": length,
                "text_loss": round(text, 4),
                "answer_loss": round(answers, 4),
                "gradient_norm": round(norm, 3),
                "seconds": round(progress.seconds, 1),
            }
            figures.zero_()


def _report(line: dict[str, float], job: Job) -> None:
    left_minutes = max(0.0, job.seconds - line["seconds"]) / 60
    share = min(1.0, line["seconds"] / job.seconds)
    print(f"{share:4.0%}, {left_minutes:.0f} min left: {json.dumps(line)}", flush=True)


def _prepare(corpus: Path, job: Job) -> None:
    """Write the tokenizer and the tokens of the corpus, where they are not there yet."""
    work, recipe = job.work, job.recipe
    if (work / "corpus.npy").exists():
        return
    texts = read_corpus(corpus)
    n_characters = sum(map(len, texts))
    work.mkdir(parents=True, exist_ok=True)
    free_bytes, wanted_bytes = shutil.disk_usage(work).free, 2 * n_characters + 2**29
    if free_bytes < wanted_bytes:
        raise UserError(
            f"{work}: {in_words(free_bytes)} are free and training needs "
            f"{in_words(wanted_bytes)}; free space or choose another --out folder"
        )
    if job.start:
        tokenizer = Tokenizer.from_file(str(job.start[0] / "tokenizer.json"))
    else:
        print(f"training a tokenizer on {n_characters / 1e6:.1f} million characters", flush=True)
        sample = random.Random(recipe.seed).sample(texts, min(len(texts), 40))
        tokenizer = train_tokenizer(sample, recipe.vocabulary)
    tokenizer.save(str(work / "tokenizer.json"))
    encoded = tokenizer.encode_batch(texts, add_special_tokens=False)
    ids = np.concatenate([np.array(one.ids, np.uint16) for one in encoded])
    shortest = 4 * recipe.context
    if len(ids) < shortest:
        raise UserError(
            f"{corpus}: {len(ids)} tokens of text and at least {shortest} are needed; add text"
        )
    part = work / "corpus.npy.part"
    with part.open("wb") as file:
        np.save(file, ids)
    part.replace(work / "corpus.npy")


def train(corpus: Path, out: Path, job: Job) -> None:
    """Train a reference model on the text under `corpus` and write it to the folder `out`.

    Checkpoints lie in `job.work`; the same call goes on from them.

    Raises:
        UserError: the corpus is missing or no text, `out` holds a finished model, a folder of
            `job.start` holds none of this shape, or one of another tokenizer; the disk is too
            small, or the checkpoint belongs to another recipe.
    """
    if (out / "model.safetensors").exists():
        raise UserError(f"{out}: holds a finished model already; choose another --out folder")
    if job.start:
        mean_weights(job.start, LlamaForCausalLM(job.recipe.config()))
    _prepare(corpus, job)
    checkpoint = job.work / "checkpoint.pt"
    if checkpoint.exists():
        load_checkpoint(checkpoint, job.recipe)
    (job.work / "rendezvous").unlink(missing_ok=True)
    # Each pass frees and takes the same large blocks; handing them back to the system in between
    # costs more time in page faults than the arithmetic (glibc, mallopt(3)).
    for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"):
        os.environ.setdefault(name, str(2**33))
    if job.device == "cpu":
        os.environ["OMP_NUM_THREADS"] = "1"
    torch.multiprocessing.spawn(  # type: ignore[attr-defined,no-untyped-call]
        _worker, (job,), nprocs=job.workers
    )
    write_model(job, out)


def write_model(job: Job, out: Path) -> None:
    """Write the model of the checkpoint to `out`, in half precision; the weights come last."""
    state = load_checkpoint(job.work / "checkpoint.pt", job.recipe)
    model = LlamaForCausalLM(job.recipe.config())
    model.load_state_dict(state["average"])
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    model.half().save_pretrained(part)
    PreTrainedTokenizerFast(
        tokenizer_file=str(job.work / "tokenizer.json"),
        bos_token=BOS,
        model_max_length=job.recipe.context,
    ).save_pretrained(part)
    out.mkdir(parents=True, exist_ok=True)
    for file in sorted(part.iterdir(), key=lambda one: one.suffix == ".safetensors"):
        file.replace(out / file.name)
    part.rmdir()
