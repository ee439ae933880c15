"""Break one formula at a time and see a test fail: `make mutants`.

Cosmic Ray makes the mutants of the files that turn counts into times, energies, overheads, recall
and metrics; each is tested by the tests of its subject, in a copy of the tree. A survivor must
stand in docs/mutants.md with the reason why no test can tell it from the original.

Libraries, compiled kernels and slow twins are the same for every mutant, so each one is tested in a
fork of a process that has them loaded: seconds a mutant, not tens of them.
"""

import argparse
import ast
import contextlib
import gc
import os
import pkgutil
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import cache_from_source
from multiprocessing import get_context
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast_from_path
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).parent.parent
SURVIVORS = ROOT / "docs" / "mutants.md"
LEAST_KILLED_RATIO = 0.95
CPU_LIMIT_S = 90
"""Of processor time, so that a busy machine ends no mutant that is only slow."""
TIMEOUT_S = 1800


@dataclass(frozen=True)
class Scope:
    """Files of one subject, and the tests that must notice a change of them."""

    files: tuple[str, ...]
    tests: tuple[str, ...]
    warm: bool = True
    """Whether the tests may run once before the forks; polars must not, its threads are lost."""


SCOPES = {
    "cost": Scope(
        (
            "pimreplay/cost/energy.py",
            "pimreplay/cost/energy_events.py",
            "pimreplay/cost/energy_parts.py",
            "pimreplay/cost/energy_models/*.py",
            "pimreplay/cost/overheads.py",
            "pimreplay/cost/step_cost.py",
            "pimreplay/cost/counts.py",
            "pimreplay/cost/channels.py",
            "pimreplay/hardware/levels.py",
            "pimreplay/selection/kmeans_flops.py",
            "pimreplay/units.py",
        ),
        # the walks of the analytic fidelity are compiled, and no file of this scope
        (
            "tests/reference/test_slow_costs.py",
            "tests/unit/pimreplay/test_units.py",
            *("-k", "not analytic"),
        ),
    ),
    "selection": Scope(
        ("pimreplay/selection/overhead.py", "pimreplay/selection/recall.py"),
        ("tests/unit/pimreplay/test_recall.py", "tests/reference/test_policy_work.py"),
    ),
    "tables": Scope(
        (
            "pimreplay/study/layer_rows.py",
            "pimreplay/cost/all_in.py",
            "analysis/metrics/[!_]*.py",
            "analysis/metrics/_parts.py",
            "analysis/results/charge.py",
            "analysis/results/tables.py",
        ),
        (
            "tests/unit/pimreplay/test_all_in.py",
            "tests/unit/analysis/test_charge.py",
            "tests/reference/test_slow_tables.py",
            "tests/unit/analysis/test_metrics.py",
            "tests/unit/analysis/test_tables.py",
            *("-k", "not real_replay"),
        ),
        warm=False,
    ),
}

OPERATORS = re.compile(
    # one wrong neighbour of each operator, not all ten: they are noticed or missed together
    r"core/(NumberReplacer|AddNot|ZeroIterationForLoop|ReplaceTrueWithFalse|ReplaceFalseWithTrue"
    r"|ReplaceAndWithOr|ReplaceOrWithAnd|ReplaceUnaryOperator_Delete_.*"
    r"|ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_Div|Mul_Add|Div_Mul|Div_FloorDiv|FloorDiv_Mul"
    r"|FloorDiv_Div|Mod_Mul|Mod_FloorDiv|BitAnd_BitOr|LShift_RShift)"
    r"|ReplaceComparisonOperator_(Eq_NotEq|NotEq_Eq|Is_IsNot|IsNot_Is|Lt_LtE|Lt_GtE|LtE_Lt|LtE_Gt"
    r"|Gt_GtE|Gt_LtE|GtE_Gt|GtE_Lt))$"
)
NO_FIGURE = (
    *("order=", "factor=", "@dataclass(", "if TYPE_CHECKING:"),
    *("TILE_BYTES =", "KEPT_BYTES =", "step_bytes =", "self._tile_steps =", "self._keep ="),
    "if not self._keep",
)
"""Beginnings of lines that are no part of a figure: form of tables, language, memory of tiles."""
OURS = ("pimreplay", "analysis", "tracegen", "tests", "conftest", "costs_under_test")
SAME_FOR_ALL = (  # packages of modules that import no file of a scope
    "pimreplay.bank_model.kernel",
    "pimreplay.bank_model.limits",
    "pimreplay.compiled",
    "pimreplay.cost.walks",
)


@dataclass(frozen=True)
class Mutant:
    """One change of one file."""

    path: str
    line: int
    before: str
    after: str
    code: str
    """The whole mutated file."""

    @property
    def row(self) -> str:
        """Its first columns in the table of survivors."""
        return f"| `{self.path}` | `{self.before}` | `{self.after}` |"


def mutants_of(path: str) -> Iterator[Mutant]:
    """Yield the mutants of a file that Python can read and that change more than an annotation."""
    original = (ROOT / path).read_text(encoding="utf-8")
    tree = get_ast_from_path(ROOT / path)
    for name in filter(OPERATORS.match, sorted(operator_names())):
        operator = get_operator(name)()
        positions = [p for node in ast_nodes(tree) for p in operator.mutation_positions(node)]
        for occurrence, ((line, _), _) in enumerate(positions):
            code = mutate_code(original, operator, occurrence)
            if code is None or not _differs(original, code):
                continue
            changed = zip(original.splitlines(), code.splitlines(), strict=False)
            before, after = next((a.strip(), b.strip()) for a, b in changed if a != b)
            if before.startswith(NO_FIGURE) or after in _calls(before):
                continue
            yield Mutant(path, line, before, after, code)


def _calls(line: str) -> tuple[str, ...]:
    """Return a line with other guards: against lists of different lengths, arguments by place."""
    return line.replace("strict=True", "strict=False"), line.replace("*,", "/,")


def _differs(original: str, mutated: str) -> bool:
    """Say whether a mutant is a program, and another one than the original."""
    try:
        return ast.dump(ast.parse(original)) != ast.dump(ast.parse(mutated))
    except SyntaxError:
        return False


def run_tests(root: Path, scope: Scope, *more: str) -> int:
    """Run the scope's tests on a tree, in this process; return pytest's exit code."""
    import pytest

    os.chdir(root)
    for name in list(sys.modules):
        if name.split(".")[0] in OURS and not name.startswith(SAME_FOR_ALL):
            del sys.modules[name]
    sys.path[:] = [str(root), *(one for one in sys.path if one != str(ROOT))]
    without = ("cacheprovider", "unraisableexception", "logging", "warnings")
    options = ["-q", "-x", "--tb=no", *(part for one in without for part in ("-p", f"no:{one}"))]
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        return int(pytest.main([*options, *more, *scope.tests]))


def survives(root: Path, mutant: Mutant, scope: Scope) -> bool:
    """Test one mutant in a fork; one that hangs counts as noticed."""
    path = root / mutant.path
    original = path.read_bytes()
    path.write_text(mutant.code, encoding="utf-8")
    # mutants of one size in one second would share their bytecode
    Path(cache_from_source(str(path))).unlink(missing_ok=True)
    try:
        child = os.fork()
        if child == 0:
            signal.alarm(TIMEOUT_S)
            resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT_S, CPU_LIMIT_S))
            code = 1
            with contextlib.suppress(BaseException):
                code = run_tests(root, scope)
            os._exit(code)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            print(f"\nnever ends: line {mutant.line} {mutant.row}", flush=True)
        return status == 0
    finally:
        path.write_bytes(original)


def test_all(scope: Scope, mutants: Sequence[Mutant], folder: Path, workers: int) -> list[Mutant]:
    """Return the survivors; every worker has a tree of its own."""
    import numba  # noqa: F401
    import polars  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import torch  # noqa: F401

    for name in SAME_FOR_ALL:
        for one in pkgutil.iter_modules(getattr(import_module(name), "__path__", ()), f"{name}."):
            import_module(one.name)
    trees = [folder / str(number) for number in range(workers)]
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    for tree in trees:
        for name in filter(None, tracked):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)
    sound = Mutant("pyproject.toml", 0, "", "", (ROOT / "pyproject.toml").read_text())
    if scope.warm:
        print("testing the files as they are", flush=True)
        passed = run_tests(ROOT, scope) == 0  # here kernels are compiled already
    else:
        run_tests(ROOT, scope, "--collect-only")  # what pytest and its plugins import
        passed = survives(trees[0], sound, scope)
    if not passed:
        raise SystemExit(f"error: the tests fail as they are: {' '.join(scope.tests)}")
    gc.freeze()  # collecting would copy the pages that forks share
    found: list[Mutant] = []
    start_s = time.monotonic()
    context = get_context("fork")
    waiting = context.SimpleQueue()
    for index in [*range(len(mutants)), *[None] * workers]:
        waiting.put(index)
    answers = context.SimpleQueue()
    processes = [
        context.Process(target=_work, args=(tree, mutants, scope, waiting, answers))
        for tree in trees
    ]
    for process in processes:
        process.start()
    for done in range(1, len(mutants) + 1):
        index, survived = answers.get()
        if survived:
            found.append(mutants[index])
            print(f"\nsurvived: line {mutants[index].line} {mutants[index].row}", flush=True)
        left_s = (time.monotonic() - start_s) / done * (len(mutants) - done)
        print(f"\r{done} of {len(mutants)}, {left_s / 60:.0f} min left ", end="", flush=True)
    for process in processes:
        process.join()
    print()
    return found


def _work(tree: Path, mutants: Sequence[Mutant], scope: Scope, waiting, answers) -> None:
    while (index := waiting.get()) is not None:
        answers.put((index, survives(tree, mutants[index], scope)))


def main() -> None:
    """Test the mutants of some scopes; exit with 1 when one survives without a reason."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("scope", nargs="*", choices=[*SCOPES, []], help="default: all")
    parser.add_argument("--only", default="", help="files whose path contains this")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    known = SURVIVORS.read_text(encoding="utf-8") if SURVIVORS.exists() else ""
    bad = False
    for name in asked.scope or SCOPES:
        scope = SCOPES[name]
        paths = sorted({str(p.relative_to(ROOT)) for one in scope.files for p in ROOT.glob(one)})
        mutants = [m for path in paths if asked.only in path for m in mutants_of(path)]
        print(f"{name}: {len(mutants)} mutants of {len(paths)} files", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            survivors = test_all(scope, mutants, Path(folder), asked.workers)
        killed_ratio = 1 - len(survivors) / max(1, len(mutants))
        print(
            f"{name}: {len(mutants) - len(survivors)} of {len(mutants)} killed, {killed_ratio:.1%}"
        )
        new = [one for one in survivors if one.row not in known]
        for one in new:
            print(f"no reason in {SURVIVORS.name}: {one.path}:{one.line}\n{one.row}")
        bad |= bool(new) or killed_ratio < LEAST_KILLED_RATIO
    sys.exit(int(bad))


if __name__ == "__main__":
    main()
