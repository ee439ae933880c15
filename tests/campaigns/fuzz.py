"""Damage inputs at random and see that nothing is silently wrong.

Each case damages one sound input, runs one command that reads it, in this process, and is one of:
refused in one clear sentence, the same result, another result where the damage may be a sound
other input; or, which fails the campaign: another result of a sealed input, a traceback, a refusal
that is not one clear sentence, memory exhausted, something left behind, a hang, a crash. A case is
named by its number and can be run again alone: `--case N`.
"""

import argparse
import contextlib
import faulthandler
import hashlib
import io
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from tests.campaigns.dashboard import visit
from tests.campaigns.targets import TARGETS, Attack, Words, make_inputs
from tracegen import main

HANG_SECONDS = 120
MEMORY_BYTES = 6 << 30
FINE = ("refused", "same result", "another sound input")


def run(words: Words) -> tuple[int, str, str]:
    """Run a command as its script does; return its exit code, output and errors.

    `dashboard` is no command but a request to the dashboard's server.
    """
    if words[0] == "dashboard":
        return visit(words[1:])
    out, err = io.StringIO(), io.StringIO()
    sys.argv = words
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            getattr(main, words[0])()
        except SystemExit as stop:
            return int(stop.code or 0), out.getvalue(), err.getvalue()
        except BaseException:
            return -1, out.getvalue(), traceback.format_exc()
    raise AssertionError("a command ends by SystemExit")


def fingerprint(tables: str, output: str) -> str:
    """Return a hash of what a command printed, without times, or of the tables that it wrote."""
    digest = hashlib.sha256()
    if not tables:
        # times, and a trace's identity, which a change anywhere in it moves
        output = re.sub(r"[0-9.]+ (s|ms)\b|\b[0-9a-f]{12,64}\b", "", output)
        digest.update(output.encode("utf-8", "surrogatepass"))
        return digest.hexdigest()
    path = Path(tables)
    for one in sorted(path.rglob("*.parquet")) if path.is_dir() else [path]:
        digest.update(one.name.encode() + one.read_bytes())
    return digest.hexdigest()


def case(number: int, seed: int, sound_folder: Path) -> tuple[str, str]:
    """Run one case in a folder of its own; return what it was, and what to say of it."""
    target = TARGETS[number % len(TARGETS)]
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        work = Path(folder) / "work"
        shutil.copytree(sound_folder, work)
        attack = target(work, random.Random(f"{seed}/{number}"))
        right = _right(tuple(attack.words), attack.tables, sound_folder) if attack.sealed else ""
        before = set(work.rglob("*"))
        with contextlib.chdir(work):
            code, output, errors = run(attack.words)
            found = fingerprint(attack.tables, output) if code == 0 else ""
        left = set(work.rglob("*")) - before
    said = f"{target.__name__}: {' '.join(attack.words)[:200]!r}: {errors[-1500:]}"
    return _kind(attack, code, found == right, errors, left), said


@cache
def _right(words: tuple[str, ...], tables: str, sound_folder: Path) -> str:
    """Return the fingerprint of what a command makes of the sound inputs."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        work = Path(folder) / "work"
        shutil.copytree(sound_folder, work)
        with contextlib.chdir(work):
            code, output, errors = run(list(words))
            assert code == 0, errors
            return fingerprint(tables, output)


def _kind(attack: Attack, code: int, same: bool, errors: str, left: set[Path]) -> str:
    if code == -1 or "Traceback" in errors:
        return "TRACEBACK"
    if "not enough memory" in errors:
        return "MEMORY EXHAUSTED"
    if any("partial" in one.name for one in left):
        return "SOMETHING LEFT BEHIND"
    if code == 0 and attack.sealed:
        return "same result" if same else "SILENTLY DIFFERENT"
    if code == 0:
        return "another sound input"
    lines = errors.strip().splitlines()
    if not lines and code == 2:
        return "refused"  # the help, where no words were given
    clear = len(lines) == 1 and lines[0].startswith("error: ") and lines[0].isprintable()
    return "refused" if clear else "UNCLEAR REFUSAL"


def work_through(numbers: range, seed: int, sound: Path) -> None:
    """Run cases and print a line for each; a hang ends this process with its stack."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    for number in numbers:
        print(f"start {number}", flush=True)
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True, file=sys.__stderr__)
        kind, said = case(number, seed, sound)
        faulthandler.cancel_dump_traceback_later()
        print(f"end {kind}\t{'' if kind in FINE else said!r}", flush=True)


def share(numbers: range, seed: int, sound: Path, tell: Callable[[int, str, str], None]) -> None:
    """Give cases to a process, and to a new one where it hangs or dies; tell of each."""
    while numbers:
        words = [sys.executable, "-m", "tests.campaigns.fuzz", "--sound", str(sound)]
        words += [
            "--numbers",
            f"{numbers.start},{numbers.stop},{numbers.step}",
            "--seed",
            str(seed),
        ]
        number = None
        with (
            tempfile.TemporaryFile("w+") as errors,
            subprocess.Popen(words, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
        ):
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("start "):
                    number = int(line[6:])
                elif line.startswith("end ") and number is not None:
                    kind, _, said = line[4:].rstrip("\n").partition("\t")
                    tell(number, kind, said)
                    number = None
            process.wait()
            errors.seek(0)
            found = errors.read()
        if number is None:
            if process.returncode:
                raise SystemExit(found)
            return
        tell(number, "HANG" if "Timeout" in found else "CRASH", repr(found[-1500:]))
        numbers = range(number + numbers.step, numbers.stop, numbers.step)


def campaign(cases: int, seed: int, workers: int) -> int:
    """Run a campaign, print what is wrong as it is found and a summary; return the exit code."""
    kinds: dict[int, str] = {}

    def tell(number: int, kind: str, said: str) -> None:
        kinds[number] = kind
        if kind not in FINE:
            print(f"case {number}: {kind}: {said}", flush=True)
        if len(kinds) % 500 == 0:
            print(f"{len(kinds):,} of {cases:,} cases", flush=True)

    with tempfile.TemporaryDirectory(prefix="fuzz-sound-") as folder:
        sound = prepared(Path(folder) / "sound")
        with ThreadPoolExecutor(workers) as pool:
            parts = [range(first, cases, workers) for first in range(workers)]
            list(pool.map(lambda part: share(part, seed, sound, tell), parts))
    for index, target in enumerate(TARGETS):
        mine = [kind for number, kind in kinds.items() if number % len(TARGETS) == index]
        print(f"{target.__name__:<14} {_counted(mine)}")
    print(f"{len(kinds):,} cases, seed {seed}: {_counted(list(kinds.values()))}")
    return 0 if len(kinds) == cases and set(kinds.values()) <= set(FINE) else 1


def _counted(kinds: list[str]) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in Counter(kinds).most_common())


def prepared(folder: Path) -> Path:
    """Make the sound inputs."""

    def sound(words: Words) -> None:
        code, _, errors = run(words)
        assert code == 0, errors

    folder.mkdir(parents=True)
    with contextlib.chdir(folder):
        make_inputs(folder, sound)
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--case", type=int, help="run this one alone")
    parser.add_argument("--sound", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--numbers", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.numbers:
        work_through(range(*map(int, given.numbers.split(","))), given.seed, given.sound)
    elif given.case is not None:
        with tempfile.TemporaryDirectory() as place:
            print(*case(given.case, given.seed, prepared(Path(place) / "sound")), sep="\n")
    else:
        sys.exit(campaign(given.cases, given.seed, given.workers))
