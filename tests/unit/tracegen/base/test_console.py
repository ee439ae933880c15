"""Whatever happens in a command, the user sees one sentence and an exit code."""

import errno
import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable

import pytest
import typer

from tracegen.base.command_line import CommandLine
from tracegen.base.console import run
from tracegen.base.errors import FailedRun, UserError, naming

Answer = tuple[object, str]


@pytest.fixture
def answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """Return a function that runs a command made of a function: (exit code, errors)."""

    def typed(command: Callable[..., None], *words: str) -> Answer:
        app = CommandLine()
        app.command("one")(command)
        app.command("two")(lambda: None)
        module = types.ModuleType("application")
        module.app = app  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "application", module)
        monkeypatch.setattr(sys, "argv", ["tool", "one", *words])
        with pytest.raises(SystemExit) as stop:
            run("application")
        return stop.value.code, capsys.readouterr().err

    return typed


def raising(error: BaseException) -> Callable[[], None]:
    def command() -> None:
        raise error

    return command


def test_the_kinds_of_failure_have_their_sentence_and_code(answer: Callable[..., Answer]) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    forbidden = PermissionError(errno.EACCES, "Permission denied", "secret.txt")
    long = OSError(errno.ENAMETOOLONG, "File name too long", "aaa")
    for error, code, text in [
        (UserError("x: wrong"), 2, "error: x: wrong\n"),
        (FailedRun("it broke"), 1, "error: it broke\n"),
        (full, 2, "error: No space left on device; free space or choose another folder\n"),
        (
            forbidden,
            2,
            "error: secret.txt: Permission denied; change its permissions or choose another "
            "place\n",
        ),
        (long, 2, "error: aaa: File name too long; check the path and the disk\n"),
        (MemoryError(), 2, "error: not enough memory; ask for less, or use a machine with more\n"),
        (KeyboardInterrupt(), 2, "error: interrupted; nothing half-written was left behind\n"),
    ]:
        assert answer(raising(error)) == (code, text)


def test_a_bug_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("application")
    module.app = raising(RuntimeError("ours"))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "application", module)
    with pytest.raises(TypeError):
        run("application")


def test_escape_sequences_reach_no_terminal(answer: Callable[..., Answer]) -> None:
    assert answer(raising(UserError("\x1b[2J\x07 is unknown"))) == (
        2,
        "error: \\x1b[2J\\x07 is unknown\n",
    )


def test_wrong_words_are_one_sentence(answer: Callable[..., Answer]) -> None:
    def command(name: str, size: int = typer.Option(1)) -> None:
        pass

    for words, text in [
        ([], "missing argument 'name'"),
        (["a", "b"], "got unexpected extra argument"),
        (["a", "--colour", "red"], "no such option: --colour"),
        (["a", "--size", "x"], "invalid value for '--size'"),
    ]:
        code, errors = answer(command, *words)
        assert code == 2 and errors.startswith(f"error: {text}"), errors
        assert errors.count("\n") == 1 and errors.endswith(" one --help\n")


def test_an_option_of_one_value_is_not_given_twice(answer: Callable[..., Answer]) -> None:
    def command(size: int = typer.Option(1)) -> None:
        pass

    assert answer(command, "--size", "1", "--size", "2") == (
        2,
        "error: --size: given 2 times and takes one value; give it once\n",
    )


def test_an_option_that_is_a_list_may_be_given_again(answer: Callable[..., Answer]) -> None:
    seen = []

    def command(size: list[int] = typer.Option([])) -> None:  # noqa: B008 - Typer's way
        seen.extend(size)

    assert answer(command, "--size", "1", "--size", "2") == (0, "")
    assert seen == [1, 2]


def test_an_interrupt_that_a_library_turns_into_its_own_error(
    answer: Callable[..., Answer],
) -> None:
    def command() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("cannot load") from None

    before = signal.getsignal(signal.SIGINT)
    assert answer(command)[1] == "error: interrupted; nothing half-written was left behind\n"
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_that_is_swallowed_is_raised_again(answer: Callable[..., Answer]) -> None:
    class Loud:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    def command() -> None:
        loud = Loud()
        del loud
        time.sleep(5)
        raise AssertionError("went on")

    assert answer(command)[1] == "error: interrupted; nothing half-written was left behind\n"


def test_an_interrupt_while_the_application_loads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "tracegen.base.console.import_module", lambda _: signal.raise_signal(signal.SIGINT)
    )
    with pytest.raises(SystemExit) as stop:
        run("tracegen.cli")
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: interrupted; nothing half-written was left behind\n"


def test_a_failure_of_the_system_gets_the_files_name(answer: Callable[..., Answer]) -> None:
    def command() -> None:
        with naming("trace/kv/layer_000.parquet"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert answer(command)[1] == (
        "error: trace/kv/layer_000.parquet: No space left on device; "
        "free space or choose another folder\n"
    )


def test_ctrl_c_before_the_console_is_loaded_prints_nothing() -> None:
    code = (
        "import signal, sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'tracegen.base.console':\n"
        "            signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "from tracegen.main import tracegen; tracegen()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
