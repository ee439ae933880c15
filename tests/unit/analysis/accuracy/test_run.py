"""`analysis accuracy` as a user types it: folders, resuming, refusals."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from typer.testing import CliRunner

from analysis.accuracy import run
from analysis.cli import app
from analysis.results.accuracy import read_accuracy
from tests.unit.analysis.accuracy.conftest import tiny_model
from tracegen.base.errors import UserError
from tracegen.prompts import filler


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a folder that holds a random Llama with one token a byte."""
    folder = tmp_path_factory.mktemp("models") / "llama"
    transformers.utils.logging.disable_progress_bar()
    tiny_model("LlamaConfig", vocab_size=280, max_position_embeddings=2048).save_pretrained(folder)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={one: n for n, one in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of two texts."""
    import random

    folder = tmp_path_factory.mktemp("texts")
    for name in ("a", "b"):
        (folder / f"{name}.txt").write_text(filler.sentences(random.Random(name), 2000))
    return folder


def call(*words: str) -> Any:
    return CliRunner().invoke(app, ["accuracy", *words])


def words_of(model: str, texts: Path, out: Path) -> list[str]:
    text = f"perplexity:path={texts},tokens=120,steps=16,prompts=3"
    asked = "niah_single_1:tokens=600,prompts=2"
    known = ["--model", model, "--policy", "topk", "--policy", "snapkv", "--policy", "dense"]
    budgets = ["--budget", "40", "--budget", "2000"]
    return [*known, *budgets, "--task", text, "--task", asked, "--out", str(out)]


def test_a_folder_holds_every_target_and_what_made_it(
    model: str, texts: Path, tmp_path: Path
) -> None:
    done = call(*words_of(model, texts, tmp_path / "a"), "--json")
    assert done.exit_code == 0, done.output
    found = read_accuracy(tmp_path / "a")
    assert {row["measure"] for row in json.loads(done.stdout)} == set(found.measures["measure"])
    assert found.description["model"] == model
    assert found.description["layers"] == 3
    assert len(found.description["tasks"][0]["examples_sha256"]) == 3
    steps = found.steps
    cells = steps.select("task", "policy", "budget").unique().sort(pl.all())
    assert cells.filter(task="perplexity:120").rows() == [
        ("perplexity:120", "dense", "all"),
        ("perplexity:120", "snapkv", "2000"),
        ("perplexity:120", "snapkv", "40"),
        ("perplexity:120", "topk", "2000"),
        ("perplexity:120", "topk", "40"),
    ]
    text = steps.filter(task="perplexity:120", policy="topk", budget="40")
    assert len(text) == 3 * 16
    assert text["position"].unique().to_list() == list(range(104, 120))
    assert text["target_bytes"].sum() == 3 * 16, "one token a byte"
    # beyond the context nothing is dropped
    whole = steps.filter(budget="2000")
    assert whole["dense_divergence_nats"].abs().max() < 1e-5
    assert text["dense_divergence_nats"].mean() > 1e-4
    asked = steps.filter(task="niah_single_1:600", policy="dense", example=0)
    assert asked["answer"].to_list() == [None, *[0] * 7], "a space and seven digits"


def test_finished_cells_are_not_measured_again(
    model: str, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a"
    blocks: list[int] = []
    block = run.decode_block

    def counted(*given: Any) -> Any:
        blocks.append(1)
        if len(blocks) == 8:
            raise KeyboardInterrupt
        return block(*given)

    monkeypatch.setattr(run, "decode_block", counted)
    assert call(*words_of(model, texts, out)).exit_code != 0
    assert not out.exists()
    monkeypatch.setattr(run, "decode_block", lambda *given: (blocks.append(1), block(*given))[1])
    blocks.clear()
    assert call(*words_of(model, texts, out)).exit_code == 0
    # 25 cells, 7 of them there: example 0 whole, dense and one cell of example 1, whose dense
    # block is computed again for the divergence
    assert len(blocks) == 25 - 7 + 1
    resumed = read_accuracy(out)
    assert call(*words_of(model, texts, tmp_path / "b")).exit_code == 0
    assert resumed.steps.equals(read_accuracy(tmp_path / "b").steps)
    assert resumed.measures.equals(read_accuracy(tmp_path / "b").measures)


def test_what_a_killed_run_left_of_its_cells_is_cleared_away(
    model: str, texts: Path, tmp_path: Path
) -> None:
    parts = tmp_path / "a.parts"
    parts.mkdir()
    for name in (".x.parquet.partial-0123abcd", ".x.parquet.partial-0123abcd.lock"):
        (parts / name).write_bytes(b"half")
    task = f"perplexity:path={texts},tokens=120,steps=16,prompts=1"
    words = ["--model", model, "--policy", "topk", "--budget", "40", "--task", task]
    done = call(*words, "--out", str(tmp_path / "a"))
    assert done.exit_code == 0, done.output
    assert not list(parts.glob(".*"))


def test_cells_of_another_run_are_not_mixed_in(model: str, texts: Path, tmp_path: Path) -> None:
    words = words_of(model, texts, tmp_path / "a")
    assert call(*words).exit_code == 0
    done = call(*words, "--overwrite", "--dense-layers", "1")
    assert done.exit_code != 0
    assert "measured with another model, type, device" in str(done.exception or done.output)


def test_a_changed_folder_is_refused(model: str, texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "a"
    assert call(*words_of(model, texts, out)).exit_code == 0
    file = out / "measures.parquet"
    pl.read_parquet(file).with_columns(value=pl.col("value") + 1).write_parquet(file)
    with pytest.raises(UserError, match=r"measures.parquet changed since the folder was written"):
        read_accuracy(out)
    with pytest.raises(UserError, match=r"holds no accuracy.json, so it is not an accuracy folder"):
        read_accuracy(texts)


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        ("perplexity:tokens=9", "say which text, path=FOLDER or path=FILE.txt"),
        ("questions", "say which questions, path=FILE.jsonl"),
        ("questions:path={texts}", "no such .jsonl file"),
        ("questions:tokens=9", "no parameter 'tokens' of questions"),
        ("perplexity:path=nowhere", "nowhere: no such file or folder"),
        ("perplexity:path={texts},tokens=4000,steps=9", "4,000 tokens are beyond the context of"),
        ("perplexity:path={texts},tokens=1900,prompts=6", "3 pieces of 1,900 are asked for"),
        ("perplexity:path={texts},tokens=99,steps=98", "98 steps of 99 tokens leave no prompt"),
        ("niah:tokens=900", "no kind 'niah'; known: cwe, fwe, .*vt"),
        ("vt:tokens=900,tokens=901", "parameter 'tokens' is given twice"),
        ("vt:token=900", "no parameter 'token' of vt"),
        ("vt:tokens=many", "tokens is 'many'; give a whole number above 0"),
        ("niah_single_1:tokens=60", "needs at least"),
    ],
)
def test_a_task_that_cannot_be_done_is_refused_in_a_sentence(
    model: str, texts: Path, tmp_path: Path, task: str, sentence: str
) -> None:
    words = ["--model", model, "--policy", "topk", "--task", task.format(texts=texts)]
    done = call(*words, "--out", str(tmp_path / "a"))
    assert done.exit_code != 0
    assert isinstance(done.exception, UserError), done.exception
    with pytest.raises(UserError, match=sentence):
        raise done.exception
    assert not (tmp_path / "a").exists()


def test_a_policy_that_refuses_leaves_what_is_finished(
    model: str, texts: Path, tmp_path: Path
) -> None:
    words = words_of(model, texts, tmp_path / "a")
    words[words.index("40")] = "20"  # within the window of snapkv
    done = call(*words)
    assert "leaves nothing beside the window" in str(done.exception)
    assert not (tmp_path / "a").exists()
    assert len(list((tmp_path / "a.parts").glob("*.parquet"))) == 3


ROWS = (
    {
        "context": "The ship sails at noon.",
        "input": "When does it sail?",
        "answers": ["noon", "12"],
    },
    {"input": "The key lies under the ", "outputs": ["third stone"]},
    {"input": "What is that?"},
    {"input": "far too long " * 200, "outputs": ["yes"]},
)


def questions(folder: Path, *rows: int) -> str:
    path = folder / "asked.jsonl"
    path.write_text("\n".join(json.dumps(ROWS[row]) for row in rows))
    return f"questions:path={path},prompts={len(rows)}"


def test_questions_of_a_file_are_asked_and_their_first_answer_is_expected(
    model: str, tmp_path: Path
) -> None:
    words = ["--model", model, "--policy", "topk", "--budget", "20"]
    done = call(*words, "--task", questions(tmp_path, 0, 1), "--out", str(tmp_path / "a"), "--json")
    assert done.exit_code == 0, done.output
    steps = read_accuracy(tmp_path / "a").steps.filter(policy="topk")
    assert steps["task"].unique().to_list() == ["questions:asked"]
    # one token a byte: " noon" after a question mark, "third stone" after a space
    assert [len(steps.filter(example=row)) for row in (0, 1)] == [5, 11]
    assert steps.filter(example=0)["answer"].to_list() == [None, 0, 0, 0, 0]
    assert steps.filter(example=0)["position"][0] == len(
        "The ship sails at noon.\n\nWhen does it sail?"
    )
    names = {row["measure"] for row in json.loads(done.stdout)}
    assert {"ruler_score_ratio", "exact_match_ratio"} <= names and "perplexity" not in names


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ((0, 2), "row 1: no answer; give rows with a question"),
        ((3,), r"row 0 and its answer are 2,603 tokens, beyond the context"),
    ],
)
def test_questions_that_cannot_be_asked_are_refused(
    model: str, tmp_path: Path, rows: tuple[int, ...], sentence: str
) -> None:
    words = ["--model", model, "--policy", "topk", "--task", questions(tmp_path, *rows)]
    done = call(*words, "--out", str(tmp_path / "a"))
    assert isinstance(done.exception, UserError), done.exception
    with pytest.raises(UserError, match=sentence):
        raise done.exception


def test_perplexity_is_printed_by_position_too(model: str, texts: Path, tmp_path: Path) -> None:
    task = f"perplexity:path={texts},tokens=120,steps=16,prompts=2"
    words = ["--model", model, "--policy", "topk", "--budget", "40", "--task", task]
    done = call(*words, "--out", str(tmp_path / "a"))
    assert done.exit_code == 0, done.output
    assert "perplexity of runs of steps" in done.stdout
    steps = read_accuracy(tmp_path / "a").steps.filter(policy="topk", budget="40")
    for first in (0, 4, 8, 12):
        assert f"{first} to {first + 3}" in " ".join(done.stdout.split())
        part = steps.filter(pl.col("step").is_between(first, first + 3))["nats"]
        mean = part.mean()
        assert isinstance(mean, float)
        assert f"{np.exp(mean):.4g}" in done.stdout
