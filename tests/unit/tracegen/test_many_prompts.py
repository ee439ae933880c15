"""Many prompts captured by one command into one folder of traces."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pimreplay.study.trace_sources import trace_sources
from tests.unit.tracegen.test_cli import Run, refused, run  # noqa: F401
from tracegen.base.errors import UserError
from tracegen.capture.prompt_source import Task, Words, sources
from tracegen.trace.store import Trace

pytestmark = pytest.mark.filterwarnings("ignore")


def test_seeds_count_from_the_one_given() -> None:
    found = sources(Words(prompt="needle:tokens=600,seed=9", prompts=2))
    assert [(one.name, one.given) for one in found] == [
        ("needle-0009", Task("needle", 600, 9)),
        ("needle-0010", Task("needle", 600, 10)),
    ]


def test_rows_count_from_the_one_given(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text("\n".join(json.dumps({"input": f"text {row}"}) for row in range(4)))
    found = sources(Words(prompt_file=path, row=2, prompts=2))
    assert [one.name for one in found] == ["tasks-0002", "tasks-0003"]
    assert [getattr(one.given, "text", None) for one in found] == ["text 2", "text 3"]
    with pytest.raises(UserError, match=r"--row 4: .*tasks.jsonl has rows 0 to 3"):
        sources(Words(prompt_file=path, row=2, prompts=3))


def test_one_text_is_not_many_prompts(tmp_path: Path) -> None:
    path = tmp_path / "novel.txt"
    path.write_text("Once upon a time")
    with pytest.raises(UserError, match=r"novel.txt is one prompt; give a .jsonl file"):
        sources(Words(prompt_file=path, prompts=2))
    with pytest.raises(UserError, match="--prompts is 0; give at least 1"):
        sources(Words(prompt="needle", prompts=0))


def words_of(folder: Path, prompts: int, out: Path) -> tuple[Any, ...]:
    task = "needle:tokens=600,seed=3"
    few = ("--decode-steps", "3", "--layers", "1", "--prompts", str(prompts))
    return ("capture", "--model", folder, "--prompt", task, *few, "--out", out)


def test_each_prompt_has_its_trace_and_a_second_run_keeps_those_that_are_there(
    run: Run,  # noqa: F811
    llama_folder: Path,
    tmp_path: Path,
) -> None:
    out = tmp_path / "many"
    done = run(*words_of(llama_folder, 2, out))
    assert done.returncode == 0, done.stderr
    assert [one.name for one in trace_sources(str(out))] == ["many/needle-0003", "many/needle-0004"]
    before = (out / "needle-0003/manifest.json").stat()
    again = run(*words_of(llama_folder, 3, out))
    assert again.returncode == 0, again.stderr
    assert f"{out}/needle-0004: prompt 2 of 3, is there" in again.stdout
    assert f"{out}/needle-0005: prompt 3 of 3\n" in again.stdout
    assert (out / "needle-0003/manifest.json").stat() == before
    prompts = [Trace.open(path).manifest.prompt["sha256"] for path in sorted(out.iterdir())]
    assert len(set(prompts)) == 3


@pytest.mark.parametrize(
    ("changed", "name"),
    [(("--decode-steps", "4"), "number of decode steps"), (("--chat",), "prompt")],
)
def test_traces_of_another_request_are_not_taken_for_ones_own(
    run: Run,  # noqa: F811
    llama_folder: Path,
    tmp_path: Path,
    changed: tuple[str, ...],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tracegen.prompts.frame.chat", _frame)
    words = words_of(llama_folder, 1, tmp_path / "many")
    assert run(*words).returncode == 0
    different = tuple(one for one in words if one not in ("--decode-steps", "3"))
    if "--decode-steps" not in changed:
        different = (*different, "--decode-steps", "3")
    refused(run(*different, *changed), f"captured with another {name}, nothing", "--overwrite")


def test_other_weights_are_not_taken_for_ones_own(
    run: Run,  # noqa: F811
    llama_folder: Path,
    tmp_path: Path,
    build_model: Callable[..., Any],
) -> None:
    words = words_of(llama_folder, 1, tmp_path / "many")
    assert run(*words).returncode == 0
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(llama_folder)
    with torch.no_grad():
        next(model.parameters()).flatten()[0] += 1
    weights = {one: one.read_bytes() for one in llama_folder.iterdir() if one.is_file()}
    try:
        model.save_pretrained(llama_folder)
        refused(run(*words), "captured with other weights")
    finally:
        for path, content in weights.items():
            path.write_bytes(content)


def test_a_trace_is_not_made_into_a_folder_of_traces(
    run: Run,  # noqa: F811
    llama_folder: Path,
    tmp_path: Path,
) -> None:
    words = words_of(llama_folder, 1, tmp_path / "many")
    assert run(*words).returncode == 0
    inside = words_of(llama_folder, 1, tmp_path / "many/needle-0003")
    refused(run(*inside), "is a trace, not a folder of traces")


def _frame(tokenizer: Any, model: str) -> Any:
    from tracegen.prompts import frame

    return frame.Frame([1, 2, 3], [4])
