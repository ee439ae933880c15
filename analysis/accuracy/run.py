"""Measure a model under policies and budgets: prompt by prompt, each finished cell kept."""

import io
import json
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from analysis.accuracy.check import refuse_unfaithful
from analysis.accuracy.closed_loop import Chooser, decode_block
from analysis.accuracy.measures import measure
from analysis.accuracy.prefill import Prefill, prefill
from analysis.accuracy.scoring import score
from analysis.accuracy.tasks import QUESTIONS, Example, Task, parse_task
from analysis.results.accuracy import MARKER, SCHEMA_VERSION
from pimreplay.policies import Policy, load_policy
from pimreplay.policies.dense import Dense
from pimreplay.results.seal import digest, sealed, stream_sha256
from pimreplay.selection.budget import Budget
from pimreplay.selection.remembered import remembering
from pimreplay.study.progress import Progress
from tracegen.base.errors import UserError
from tracegen.base.folder import new_folder, recover_folder, refuse_existing, write_file
from tracegen.base.location import local_path
from tracegen.capture.model import LoadedModel, load

CHECK_TOKENS = 64
DENSE = ("dense", "all")
"""How the model without a policy stands in every table."""


@dataclass(frozen=True, slots=True)
class Request:
    """The options of `analysis accuracy`, as the user gave them."""

    model: str
    policies: tuple[str, ...]
    budgets: tuple[str, ...]
    tasks: tuple[str, ...]
    out: str
    dense_layers: int = 2
    seed: int = 0
    dtype: str = "auto"
    device: str = "auto"
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class _Cell:
    """One policy at one budget."""

    policy: str
    budget: str
    chooser: Chooser


def run_accuracy(
    request: Request, announce: Callable[[str], None]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Measure, write the folder and return its tables of measures and of steps.

    Finished cells lie in `OUT.parts` and are not measured again; the folder itself appears when
    all are there.

    Raises:
        UserError: bad input, where possible before the model is loaded; what was finished stays.
    """
    refuse_existing(request.out, overwrite=request.overwrite, marker=MARKER)
    tasks = [parse_task(text) for text in request.tasks]
    if len({task.name for task in tasks}) < len(tasks):
        raise UserError("--task: two tasks of one kind and length; ask for it once")
    policies = {text: load_policy(text) for text in request.policies}
    cells = list(_cells(request, policies))
    loaded = load(request.model, dtype=request.dtype, device=request.device)
    _refuse_beyond_context(loaded, tasks)
    description = _description(request, loaded)
    parts = _Parts(f"{request.out}.parts", description)
    total = sum(task.prompts for task in tasks) * (1 + len(cells))
    hashes: dict[str, list[str]] = {}
    checked = False
    with Progress(total) as progress:
        for task in tasks:
            for example in task.examples(loaded.tokenizer):
                _refuse_long(loaded, task, example)
                hashes.setdefault(task.name, []).append(example.sha256)
                if not checked:
                    refuse_unfaithful(loaded.model, example.prompt_ids[:CHECK_TOKENS])
                    checked = True
                with remembering():
                    _measure(loaded, task, example, cells, request, parts, progress)
    steps = parts.joined(tasks, hashes, cells)
    table = pl.DataFrame(pl.from_arrow(steps))
    measures = measure(table, request.seed)
    description |= {
        "tasks": [
            {"task": text, "name": task.name, "examples_sha256": hashes[task.name]}
            for text, task in zip(request.tasks, tasks, strict=True)
        ],
        "policies": {text: repr(policy) for text, policy in policies.items()},
        "budgets": list(request.budgets),
    }
    _write(request, description, {"steps": steps, "measures": measures.to_arrow()})
    announce(f"wrote {request.out}; finished cells stay in {request.out}.parts")
    return measures, table


def _cells(request: Request, policies: dict[str, Policy]) -> Iterator[_Cell]:
    for text, policy in policies.items():
        if isinstance(policy, Dense):
            continue  # measured always, once
        for budget in request.budgets:
            chooser = Chooser(policy, Budget.parse(budget), request.dense_layers, request.seed)
            yield _Cell(text, budget, chooser)


def _measure(
    loaded: LoadedModel,
    task: Task,
    example: Example,
    cells: Sequence[_Cell],
    request: Request,
    parts: "_Parts",
    progress: Progress,
) -> None:
    """Measure what is missing of one example; its prompt is read, and clustered, once."""
    dense_there = parts.has(task, example.sha256, *DENSE)
    due = [one for one in cells if not parts.has(task, example.sha256, one.policy, one.budget)]
    progress(len(cells) - len(due) + dense_there)
    if not due and dense_there:
        return
    prompt = prefill(loaded.model, example.prompt_ids[:-1])
    everything = Chooser(Dense(), Budget.parse("1.0"), request.dense_layers, request.seed)
    dense = _block(prompt, example, everything)
    if not dense_there:
        parts.put(task, example.sha256, *DENSE, score(task.name, example, *DENSE, dense, dense))
        progress(1)
    for cell in due:
        logits = _block(prompt, example, cell.chooser)
        rows = score(task.name, example, cell.policy, cell.budget, logits, dense)
        parts.put(task, example.sha256, cell.policy, cell.budget, rows)
        progress(1)


def _block(prompt: Prefill, example: Example, chooser: Chooser) -> Tensor:
    """Return the logits that predict each target.

    The prompt's last token is the first step, so that the first target too is predicted by what
    the policy reads.
    """
    steps = [example.prompt_ids[-1], *example.target_ids[:-1]]
    return decode_block(prompt, steps, chooser)


def _refuse_beyond_context(loaded: LoadedModel, tasks: Sequence[Task]) -> None:
    context = loaded.context_tokens
    for task in tasks:
        if context is not None and task.kind != QUESTIONS and task.tokens > context:
            raise UserError(
                f"--task {task.kind}: {task.tokens:,} tokens are beyond the context of "
                f"{loaded.name}, {context:,} tokens; ask for fewer tokens"
            )


def _refuse_long(loaded: LoadedModel, task: Task, example: Example) -> None:
    """Refuse an example of a length that only its text tells."""
    context, tokens = loaded.context_tokens, len(example.prompt_ids) + len(example.target_ids)
    if context is not None and tokens > context:
        raise UserError(
            f"--task {task.name}: row {example.number} and its answer are {tokens:,} tokens, "
            f"beyond the context of {loaded.name}, {context:,} tokens; shorten it"
        )


def _description(request: Request, loaded: LoadedModel) -> dict[str, Any]:
    """Return what decides the figures beside tasks, policies and budgets."""
    config = loaded.model.config.get_text_config(decoder=True)
    return {
        "schema_version": SCHEMA_VERSION,
        "model": loaded.name,
        "model_sha256": loaded.sha256,
        "architecture": type(loaded.model).__name__,
        "layers": int(config.num_hidden_layers),
        "dtype": str(loaded.model.dtype).removeprefix("torch."),
        "device": str(loaded.model.device),
        "dense_layers": request.dense_layers,
        "seed": request.seed,
        "versions": {
            "pimreplay": version("pimreplay"),
            "torch": version("torch"),
            "transformers": version("transformers"),
            "python": platform.python_version(),
        },
    }


class _Parts:
    """The finished cells of one model in a folder, one file each, written whole."""

    def __init__(self, path: str, description: dict[str, Any]) -> None:
        self._folder = local_path(path)
        self._folder.mkdir(parents=True, exist_ok=True)
        recover_folder(self._folder)
        mine = json.dumps(description, indent=1, sort_keys=True)
        known = self._folder / "model.json"
        if known.exists() and known.read_text(encoding="utf-8") != mine:
            raise UserError(
                f"{path}: holds cells that were measured with another model, type, device, "
                "version or number of dense layers; choose another --out or remove that folder"
            )
        write_file(known, mine)

    def has(self, task: Task, example: str, policy: str, budget: str) -> bool:
        """Return whether a cell is finished."""
        return self._file(task, example, policy, budget).exists()

    def put(self, task: Task, example: str, policy: str, budget: str, rows: pa.Table) -> None:
        """Keep a cell."""
        stream = io.BytesIO()
        pq.write_table(rows, stream)
        write_file(self._file(task, example, policy, budget), stream.getvalue())

    def joined(
        self, tasks: Sequence[Task], hashes: dict[str, list[str]], cells: Sequence[_Cell]
    ) -> pa.Table:
        """Return all cells that were asked for, in order."""
        names = [DENSE, *((cell.policy, cell.budget) for cell in cells)]
        files = [
            self._file(task, example, *name)
            for task in tasks
            for name in names
            for example in hashes[task.name]
        ]
        return pa.concat_tables([pq.read_table(file) for file in files])

    def _file(self, task: Task, example: str, policy: str, budget: str) -> Path:
        return self._folder / f"{digest([task.name, example, policy, budget])[:24]}.parquet"


def _write(request: Request, description: dict[str, Any], tables: dict[str, pa.Table]) -> None:
    with new_folder(request.out, overwrite=request.overwrite, marker=MARKER) as folder:
        seals = {}
        for name, table in tables.items():
            file = folder / f"{name}.parquet"
            pq.write_table(table, file, compression="zstd")
            with file.open("rb") as stream:
                seals[name] = {"rows": table.num_rows, "sha256": stream_sha256(stream)}
        whole = sealed(description, seals)
        (folder / MARKER).write_text(json.dumps(whole, indent=1), encoding="utf-8")
