"""Stop commands at random moments and see that nothing is lost and nothing is left.

Each case starts one command, sends SIGINT, SIGTERM or SIGKILL at a random moment of the time that
it takes, and then requires: the target is the old one or the new one, byte for byte; nothing but
one sentence was printed; no process goes on; and the same command, given again, ends with the same
bytes as an undisturbed one and leaves nothing beside them. In half of the cases of commands that
can replace their target, an older one is there. Nine of ten commands start with their libraries
loaded, so that most moments fall into the work; the tenth starts from nothing. Every fourth has
workers, which load the libraries themselves.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue

from tests.campaigns.processes import Cold, Warm
from tracegen import main

OURS = f"{Path(main.__file__).parent}{os.sep}"
MARKERS = ("run.json", "manifest.json", "accuracy.json")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
GONE_SECONDS = 120
GEOMETRY = "--prompt-tokens 200 --decode-steps 8 --head-dim 32 --prompt-attention"
INLINE = ("--workers 2", "--workers 0")
METHODS = "--policy dense --policy topk --policy quest --budget 32 --workers 2"
TEXTS = "--task needle:tokens=400,prompts=2"
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
    "accuracy": Command(
        f"analysis accuracy --policy topk --budget 32 {TEXTS} --out new",
        "new",
        f"analysis accuracy --policy topk --budget 64 {TEXTS} --out new",
    ),
}
COLD_EVERY, WORKERS_EVERY = 10, 4


def finish(words: str, folder: Path, starter: Cold | Warm, expected: int = 0) -> None:
    """Run a command to its end.

    Raises:
        AssertionError: it ends with another exit code than the expected one.
    """
    errors = folder.with_suffix(".errors")
    starter.start(words.split(), folder, errors)
    code = starter.wait()
    assert code == expected, f"{words}: {errors.read_text()}"


def state(target: Path) -> str:
    """Return a hash of what a reader of the target sees; empty: no finished one is there."""
    files = [target] if target.is_file() else sorted(target.rglob("*"))
    files = [one for one in files if one.is_file() and "cache" not in one.parts]
    if target.is_dir() and not any(one.name in MARKERS for one in files):
        return ""
    digest = hashlib.sha256()
    for one in files:
        content = one.read_bytes()
        if one.name == "run.json":  # names the trace by its whole path, in its seals as well
            run = json.loads(content)
            content = repr((run["tables"], run["configuration"], run["hardware"])).encode()
        digest.update(one.name.encode() + b"\0" + content)
    return digest.hexdigest() if files else ""


def problems(
    command: Command,
    folder: Path,
    signum: int,
    moment: float,
    new: str,
    starter: Cold | Warm,
    finisher: Warm,
) -> list[str]:
    """Stop a command once; return what went wrong, in words."""
    target = folder / command.target
    found = []
    old = state(target)
    overwrite = " --overwrite" if command.overwrite and old else ""
    said = folder.with_suffix(".errors")
    said.touch()
    process = starter.start((command.words + overwrite).split(), folder, said)
    if starter.wait(moment) is None:
        # Ctrl-C in a terminal reaches the whole group, the other two what was asked to end
        (os.killpg if signum == signal.SIGINT else os.kill)(process, signum)
        starter.wait()
    if not _gone(process):
        found.append("a process goes on")
        os.killpg(process, signal.SIGKILL)
    errors = said.read_text()
    began = "Traceback" not in errors or OURS in errors  # else Python itself had not started yet
    if began and ("Traceback" in errors or (signum == signal.SIGINT and errors.count("\n") > 1)):
        found.append(f"printed {errors[-800:]!r}")
    after = state(target)
    if after not in (old, new):
        found.append("neither the old target nor the new one is there")
    overwrite = " --overwrite" if command.overwrite and after else ""
    replaces_nothing = after and not command.overwrite and not (target / "cache").exists()
    again = (command.words + overwrite).replace(*INLINE)
    finish(again, folder, finisher, expected=2 if replaces_nothing else 0)
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
        servers: SimpleQueue[Warm] = SimpleQueue()
        for _ in range(workers):
            servers.put(Warm())
        one = servers.get()
        finish(f"tracegen synthesize {GEOMETRY} --out trace", sound, one)
        if "report" in names:
            for out, method in (("results", "topk --budget 32"), ("older", "quest --budget 64")):
                replay = f"pimreplay run trace --policy {method} --workers 0 --out {out}"
                finish(replay, sound, one)
        servers.put(one)
        with ThreadPoolExecutor(workers) as pool:
            for name in names:
                cases = _cases(COMMANDS[name], sound, Path(place) / name, moments, seed, servers)
                counts: Counter[str] = Counter()
                for label, found in pool.map(lambda case: case(), cases):
                    counts["wrong" if found else "right"] += 1
                    for problem in found:
                        print(f"{name}, {label}: {problem}", flush=True)
                print(f"{name:<8} {counts.total()} stops: {dict(counts)}", flush=True)
                wrong += counts["wrong"]
        for _ in range(workers):
            servers.get().close()
    return 1 if wrong else 0


def _cases(
    command: Command,
    sound: Path,
    place: Path,
    moments: int,
    seed: int,
    servers: "SimpleQueue[Warm]",
) -> list[Callable[[], tuple[str, list[str]]]]:
    """Return the cases of a command, each a function that runs it and names it."""
    server = servers.get()
    undisturbed = place / "undisturbed"

    def seconds(words: str, starter: Cold | Warm) -> float:
        shutil.rmtree(undisturbed, ignore_errors=True)
        shutil.copytree(sound, undisturbed)
        begin = time.monotonic()
        finish(words, undisturbed, starter)
        return time.monotonic() - begin

    def way(number: int) -> tuple[bool, str]:
        """Return whether a case starts from nothing, and its words."""
        inline = number % WORKERS_EVERY != 0
        words = command.words.replace(*INLINE) if inline else command.words
        return number % COLD_EVERY == COLD_EVERY - 1, words

    seconds(way(1)[1], server)  # what is loaded once is in the disk's cache then
    takes = {
        (cold, words): seconds(words, Cold() if cold else server)
        for cold, words in sorted({way(number) for number in range(moments)})
    }
    new = state(undisturbed / command.target)
    older = None
    if command.overwrite:
        older = place / "older"
        shutil.copytree(sound, older)
        finish(command.overwrite, older, server)
    servers.put(server)

    def case(number: int, signum: int) -> tuple[str, list[str]]:
        rng = random.Random(f"{seed}/{command.target}/{number}/{signum}")
        cold, words = way(number)
        moment = rng.uniform(0, 1.05 * takes[cold, words])
        folder = place / f"{number}-{signum}"
        shutil.copytree(older if older and number % 2 else sound, folder)
        server = servers.get()
        starter = Cold() if cold else server
        mine = replace(command, words=words)
        found = problems(mine, folder, signum, moment, new, starter, finisher=server)
        servers.put(server)
        shutil.rmtree(folder)
        start = "cold" if cold else "warm"
        return f"{start}, {signal.Signals(signum).name} after {moment:.3f} s", found

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
