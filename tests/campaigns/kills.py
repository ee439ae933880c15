"""Stop commands at random moments and see that nothing is lost and nothing is left.

Each case starts one command, sends SIGINT, SIGTERM or SIGKILL at a random moment of the time that
it takes, and then requires: the target is the old one or the new one, byte for byte; nothing but
one sentence was printed; no process goes on; and the same command, given again, ends with the same
bytes as an undisturbed one and leaves nothing beside them. In half of the cases of commands that
can replace their target, an older one is there.
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
GONE_SECONDS = 20
GEOMETRY = "--prompt-tokens 200 --decode-steps 8 --head-dim 32 --prompt-attention"
METHODS = "--policy dense --policy topk --policy quest --budget 32 --workers 2"
SWEEP = """traces = ["trace"]
policies = ["dense", "topk", "sparq"]
budgets = [16, 32]
hardware = ["attacc_hbm3_bank"]
"""


@dataclass(frozen=True, slots=True)
class Command:
    """A command that is stopped: its words, what it makes, and how it replaces an older one."""

    words: str
    target: str
    overwrite: str | None = None
    """The words that make an older target first; None: the command replaces nothing."""


CAPTURE = "tracegen capture --model reference --prompt text:tokens=64 --decode-steps"
COMMANDS = {
    "capture": Command(f"{CAPTURE} 8 --out new", "new", f"{CAPTURE} 4 --out new"),
    "run": Command(f"pimreplay run trace {METHODS} --out new", "new"),
    "sweep": Command("pimreplay sweep sweep.toml --workers 2 --out new", "new"),
    "report": Command(
        "analysis report results --out new.html",
        "new.html",
        "analysis report older --out new.html",
    ),
}


def start(words: str, folder: Path) -> subprocess.Popen[str]:
    """Start a command as a process group of its own, as a shell does."""
    program, *rest = words.split()
    code = f"from tracegen.main import {program} as main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *rest],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )


def finish(words: str, folder: Path) -> None:
    """Run a command to its end.

    Raises:
        AssertionError: it fails.
    """
    process = start(words, folder)
    _, errors = process.communicate()
    assert process.returncode == 0, f"{words}: {errors}"


def state(target: Path) -> str:
    """Return a hash of what a reader of the target sees; empty: no finished one is there."""
    files = [target] if target.is_file() else sorted(target.rglob("*"))
    files = [one for one in files if one.is_file() and "cache" not in one.parts]
    if target.is_dir() and not any(one.name in ("run.json", "manifest.json") for one in files):
        return ""
    digest = hashlib.sha256()
    for one in files:
        content = one.read_bytes()
        if one.name == "run.json":  # names the trace by its whole path, in its seals as well
            run = json.loads(content)
            content = repr((run["tables"], run["configuration"], run["hardware"])).encode()
        digest.update(one.name.encode() + b"\0" + content)
    return digest.hexdigest() if files else ""


def problems(command: Command, folder: Path, signum: int, moment: float, new: str) -> list[str]:
    """Stop a command once; return what went wrong, in words."""
    target = folder / command.target
    found = []
    old = state(target)
    replace = " --overwrite" if command.overwrite and old else ""
    process = start(command.words + replace, folder)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(moment)
    with contextlib.suppress(ProcessLookupError):
        # Ctrl-C in a terminal reaches the whole group, the other two what was asked to end
        if signum == signal.SIGINT:
            os.killpg(process.pid, signum)
        else:
            process.send_signal(signum)
    _, errors = process.communicate()
    if not _gone(process.pid):
        found.append("a process goes on")
        os.killpg(process.pid, signal.SIGKILL)
    if "Traceback" in errors or (signum == signal.SIGINT and errors.count("\n") > 1):
        found.append(f"printed {errors[-800:]!r}")
    after = state(target)
    if after not in (old, new):
        found.append("neither the old target nor the new one is there")
    replace = " --overwrite" if command.overwrite and after else ""
    if not after or command.overwrite or (target / "cache").exists():  # a run replaces nothing
        finish(command.words + replace, folder)
    if state(target) != new:
        found.append("the command, given again, ends with other bytes")
    left = [one.name for one in folder.rglob("*") if "partial" in one.name]
    if left:
        found.append(f"left behind: {', '.join(left)}")
    return found


def _gone(group: int) -> bool:
    """Wait until no process of a group is left; whether that came true."""
    deadline = time.monotonic() + GONE_SECONDS
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def campaign(names: list[str], moments: int, seed: int, workers: int) -> int:
    """Stop every command at so many moments with each signal; return the exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # children of a shell's job ignore it
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="kills-") as place:
        sound = Path(place) / "sound"
        sound.mkdir()
        (sound / "sweep.toml").write_text(SWEEP)
        finish(f"tracegen synthesize {GEOMETRY} --out trace", sound)
        if "report" in names:
            finish("pimreplay run trace --policy topk --budget 32 --workers 0 --out results", sound)
            finish("pimreplay run trace --policy quest --budget 64 --workers 0 --out older", sound)
        with ThreadPoolExecutor(workers) as pool:
            for name in names:
                cases = _cases(COMMANDS[name], sound, Path(place) / name, moments, seed)
                counts: Counter[str] = Counter()
                for label, found in pool.map(lambda case: case(), cases):
                    counts["wrong" if found else "right"] += 1
                    for problem in found:
                        print(f"{name}, {label}: {problem}", flush=True)
                print(f"{name:<8} {counts.total()} stops: {dict(counts)}", flush=True)
                wrong += counts["wrong"]
    return 1 if wrong else 0


def _cases(
    command: Command, sound: Path, place: Path, moments: int, seed: int
) -> list[Callable[[], tuple[str, list[str]]]]:
    """Return the cases of a command, each a function that runs it and names it."""
    undisturbed = place / "undisturbed"
    shutil.copytree(sound, undisturbed)
    finish(command.words, undisturbed)  # what is loaded once comes from the disk's cache then
    shutil.rmtree(undisturbed)
    shutil.copytree(sound, undisturbed)
    begin = time.monotonic()
    finish(command.words, undisturbed)
    seconds = time.monotonic() - begin
    new = state(undisturbed / command.target)
    older = None
    if command.overwrite:
        older = place / "older"
        shutil.copytree(sound, older)
        finish(command.overwrite, older)

    def case(number: int, signum: int) -> tuple[str, list[str]]:
        rng = random.Random(f"{seed}/{command.target}/{number}/{signum}")
        moment = rng.uniform(0, 1.05 * seconds)
        folder = place / f"{number}-{signum}"
        shutil.copytree(older if older and number % 2 else sound, folder)
        found = problems(command, folder, signum, moment, new)
        shutil.rmtree(folder)
        return f"{signal.Signals(signum).name} after {moment:.3f} s", found

    return [
        lambda number=number, signum=signum: case(number, signum)  # type: ignore[misc]
        for number in range(moments)
        for signum in SIGNALS
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=50, help="of each command and signal")
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    sys.exit(campaign(given.commands, given.moments, given.seed, given.workers))
