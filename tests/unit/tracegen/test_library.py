"""What `import tracegen, pimreplay, analysis` offers a notebook."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import analysis
import tracegen
from tests.unit.tracegen.conftest import byte_tokenizer
from tests.unit.tracegen.test_capture import PROMPT
from tracegen.base.errors import UserError
from tracegen.capture.model import LoadedModel
from tracegen.capture.plan import Request
from tracegen.capture.run import capture


@pytest.mark.parametrize("package", ["tracegen", "pimreplay", "analysis"])
def test_what_a_package_promises_is_there_and_nothing_else(package: str) -> None:
    module = importlib.import_module(package)
    for name in module.__all__:
        assert getattr(module, name).__doc__
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'more'"):
        module.more  # noqa: B018


def test_a_loaded_model_is_captured_as_by_the_command(
    build_model: Callable[..., Any], tmp_path: Path
) -> None:
    options = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = build_model("LlamaConfig", num_key_value_heads=2, vocab_size=300, **options)
    found = tracegen.capture_model(
        model, PROMPT, out=tmp_path / "a", decode_steps=5, layers=[1], name="mine"
    )
    request = Request(PROMPT, 5, layers=[1])
    expected = capture(LoadedModel("mine", model, None), request, tmp_path / "b")
    assert found.hash == expected.hash and found.manifest.model == "mine"
    assert tracegen.open_trace(tmp_path / "a").hash == found.hash
    with pytest.raises(UserError, match="a prompt of text needs the tokenizer"):
        tracegen.capture_model(model, "a text", out=tmp_path / "c")
    text = tracegen.capture_model(
        model, "a text", tokenizer=byte_tokenizer(), out=tmp_path / "c", decode_steps=2
    )
    assert "".join(text.tokens()["text"][: text.manifest.prompt_tokens]).endswith("a text")


def test_a_figure_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match=r"figure 'pareto': unknown; known: banks"):
        analysis.draw("pareto", None)  # type: ignore[arg-type]
