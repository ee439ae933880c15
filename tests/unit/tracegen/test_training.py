"""Training the reference model: it finishes, goes on from a checkpoint, and refuses bad input."""

import random
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM
from typer.testing import CliRunner

from tracegen.base.errors import UserError
from tracegen.cli_reference import app
from tracegen.prompts import filler
from tracegen.reference_model.corpus import read_corpus
from tracegen.reference_model.finished import finished_weights, mean_weights
from tracegen.reference_model.recipe import SIZES, STAGES, Recipe
from tracegen.reference_model.training import load_checkpoint


def _train(corpus: Path, out: Path, *options: str) -> str:
    arguments = ["train-reference", "--corpus", str(corpus), "--out", str(out), "--no-compile"]
    for name, value in (("--size", "tiny"), ("--minutes", "0.05"), ("--workers", "1")):
        arguments += [] if name in options else [name, value]
    arguments += options
    return CliRunner().invoke(app, arguments, catch_exceptions=False).output


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for seed in range(2):
        text = filler.sentences(random.Random(seed), 60000)
        (folder / f"{seed}.txt").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "model"
    _train(corpus, out)
    return out


def test_the_finished_folder_loads_in_transformers_by_itself(trained: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(trained)
    tokenizer = AutoTokenizer.from_pretrained(trained)
    assert model.config.model_type == "llama"
    assert model.dtype == torch.float16
    assert tokenizer("a 12")["input_ids"][0] == tokenizer.bos_token_id


def test_a_finished_model_is_never_trained_over(trained: Path, corpus: Path) -> None:
    with pytest.raises(UserError, match="holds a finished model already"):
        _train(corpus, trained)


def test_training_goes_on_from_its_checkpoint(trained: Path, corpus: Path) -> None:
    checkpoint = trained.with_name("model.training") / "checkpoint.pt"
    before = load_checkpoint(checkpoint, SIZES["tiny"])["progress"]
    (trained / "model.safetensors").unlink()
    _train(corpus, trained, "--minutes", str(before["seconds"] / 60 + 0.05))
    after = load_checkpoint(checkpoint, SIZES["tiny"])["progress"]
    assert after["tokens"] > before["tokens"]
    assert (trained / "model.safetensors").exists()


def test_a_finished_model_is_trained_further_with_its_own_tokenizer(
    trained: Path, corpus: Path, tmp_path: Path
) -> None:
    further = tmp_path / "further"
    _train(corpus, further, "--start-from", str(trained), "--minutes", "0.01", "--seed", "3")
    assert (further / "tokenizer.json").read_bytes() == (trained / "tokenizer.json").read_bytes()
    before, after = (
        AutoModelForCausalLM.from_pretrained(one).lm_head.weight for one in (trained, further)
    )
    anew = LlamaForCausalLM(SIZES["tiny"].config()).half().lm_head.weight
    moved = (after - before).norm()
    assert 0 < moved < 0.1 * (after - anew).norm()


def test_training_starts_from_the_mean_of_several_models(trained: Path, tmp_path: Path) -> None:
    model = LlamaForCausalLM(SIZES["tiny"].config())
    other = tmp_path / "other"
    model.half().save_pretrained(other)
    with pytest.raises(UserError, match="holds no tokenizer"):
        mean_weights((trained, other), model)
    tokenizer = (trained / "tokenizer.json").read_bytes()
    (other / "tokenizer.json").write_bytes(tokenizer)
    first, second = (finished_weights(one, model) for one in (trained, other))
    for name, mean in mean_weights((trained, other, other), model).items():
        torch.testing.assert_close(mean, (first[name] + 2 * second[name]) / 3)
    (other / "tokenizer.json").write_bytes(tokenizer.replace(b"\n", b" ", 1) + b" ")
    with pytest.raises(UserError, match="start from models of one tokenizer"):
        mean_weights((trained, other), model)


def test_starting_from_another_shape_or_nothing_is_refused(
    trained: Path, corpus: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"has the shape .* start from a model of the same --size"):
        _train(corpus, tmp_path / "out", "--size", "small", "--start-from", str(trained))
    with pytest.raises(UserError, match=r"holds no tokenizer.json; give the folder of a finished"):
        _train(corpus, tmp_path / "out", "--start-from", str(tmp_path))
    assert not list(tmp_path.iterdir())
    (tmp_path / "tokenizer.json").write_bytes((trained / "tokenizer.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"cut short")
    with pytest.raises(UserError, match="no finished model that can be read; give its folder"):
        _train(corpus, tmp_path / "out", "--start-from", str(tmp_path))


def test_a_checkpoint_of_another_recipe_is_refused(trained: Path) -> None:
    checkpoint = trained.with_name("model.training") / "checkpoint.pt"
    with pytest.raises(UserError, match="made with another seed; use the same settings"):
        load_checkpoint(checkpoint, Recipe(**{**vars(SIZES["tiny"]), "seed": 7}))


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"no checkpoint")
    with pytest.raises(UserError, match="not a readable checkpoint; delete it"):
        load_checkpoint(tmp_path / "checkpoint.pt", SIZES["tiny"])


def test_a_missing_corpus_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such folder; give a folder of \.txt files"):
        _train(tmp_path / "none", tmp_path / "out")


def test_an_empty_corpus_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no text in 0 \.txt files"):
        read_corpus(tmp_path)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"a.txt: byte 0 is not UTF-8 text"):
        read_corpus(tmp_path)


def test_too_little_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A short text. " * 20, encoding="utf-8")
    with pytest.raises(UserError, match="tokens of text and at least 2048 are needed"):
        _train(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unknown_size_is_refused_with_the_nearest_name(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--size tinny: unknown; .*did you mean tiny\?"):
        _train(corpus, tmp_path / "out", "--size", "tinny")


def test_the_schedule_grows_the_context_and_ends_with_a_small_learning_rate() -> None:
    recipe = SIZES["small"]
    assert [recipe.length_at(end - 1e-6) for end, _ in STAGES] == [512, 1024, 2048, 4096, 8192]
    assert recipe.learning_rate_at(0.3) == recipe.learning_rate
    assert recipe.learning_rate_at(1.0) < 0.05 * recipe.learning_rate
