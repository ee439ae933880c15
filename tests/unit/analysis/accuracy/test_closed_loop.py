"""A block of steps under a policy is step-by-step decoding under it, with a cache that grows."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

import pimreplay.policies
from analysis.accuracy.check import refuse_unfaithful
from analysis.accuracy.closed_loop import Chooser, decode_block
from analysis.accuracy.prefill import prefill
from pimreplay.policies import load_policy
from pimreplay.records import KvHeadTrace, Selection
from pimreplay.selection.budget import Budget
from pimreplay.selection.overhead import overhead
from tests.reference.slow_decoding import Stepwise
from tracegen.base.discover import names
from tracegen.base.errors import UserError

POLICIES = [name for name in names(pimreplay.policies) if name != "recorded"]  # of one trace
PARAMETERS = {
    # small clusters and tails, so that a short block goes through every part of the method
    "starc": "window_tokens=16,cluster_tokens=8,tail_tokens=8",
    "clusterkv": "sinks=4,cluster_tokens=10,tail_tokens=8,tail_clusters=2",
    "retroinfer": "local_tokens=8,segment_tokens=32,cluster_tokens=4,tail_tokens=8",
    "pqcache": "bits=3,sinks=6",
    "block_tree": "leaf_tokens=4,sinks=8,tail_tokens=8",
    "magicpig": "bits=4,tables=20,local_tokens=8",
    "snapkv": "window=8",
    "quest": "page_tokens=4",
    "sparq": "rank=6",
}
PROMPT, STEPS = 70, 20
IDS = torch.randint(3, 96, (PROMPT + STEPS,), generator=torch.Generator().manual_seed(1)).tolist()


def policy_of(name: str) -> Any:
    return load_policy(f"{name}:{PARAMETERS.get(name, '')}")


def block(model: Any, policy: Any, budget: str, dense_layers: int = 1) -> Tensor:
    chooser = Chooser(policy, Budget.parse(budget), dense_layers)
    return decode_block(prefill(model, IDS[:PROMPT]), IDS[PROMPT:], chooser)


def plain(model: Any) -> Tensor:
    model.set_attn_implementation("eager")
    with torch.inference_mode():
        logits: Tensor = model(torch.tensor([IDS]), use_cache=False).logits[0, PROMPT:]
    return logits


def assert_block_is_stepwise(model: Any, name: str) -> None:
    found = block(model, policy_of(name), "24")
    expected = Stepwise(model, policy_of(name), "24", 1).logits(IDS, PROMPT)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", POLICIES)
def test_a_block_is_step_by_step_decoding(family_model: Callable[[str], Any], name: str) -> None:
    model = family_model("LlamaConfig")
    assert_block_is_stepwise(model, name)
    if name not in ("dense", "magicpig"):  # the sampling of magicpig may keep every token
        dropped = (block(model, policy_of(name), "24") - plain(model)).abs().max()
        assert dropped > 0.05, "a policy that drops nothing tests nothing"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["starc", "h2o", "sparq", "snapkv"])
@pytest.mark.parametrize(
    "family", ["Gemma2Config", "Gemma3TextConfig", "Qwen3Config", "GPT2Config", "MixtralConfig"]
)
def test_so_it_is_in_other_families(
    family_model: Callable[[str], Any], family: str, name: str
) -> None:
    assert_block_is_stepwise(family_model(family), name)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("family", ["LlamaConfig", "Gemma2Config"])
def test_with_a_budget_beyond_the_context_a_policy_is_the_plain_model(
    family_model: Callable[[str], Any], family: str, name: str
) -> None:
    model = family_model(family)
    torch.testing.assert_close(
        block(model, policy_of(name), "1000", 0), plain(model), rtol=1e-3, atol=1e-3
    )


@pytest.mark.filterwarnings("ignore")
def test_dense_is_the_plain_model_in_every_family(
    family_model: Callable[[str], Any], families: list[str]
) -> None:
    for family in families:
        model = family_model(family)
        torch.testing.assert_close(
            block(model, policy_of("dense"), "1"), plain(model), rtol=1e-3, atol=1e-3
        )


@dataclass(frozen=True)
class OnlyItself:
    """Drop everything but the step's own token."""

    def select(self, head: KvHeadTrace, budget: Budget) -> Selection:
        mask = torch.arange(head.tokens) == head.visible[:, None] - 1
        return Selection(mask.expand(head.q_heads, -1, -1).clone(), None, overhead(head))


def test_a_policy_that_keeps_one_token_is_far_from_the_model(
    family_model: Callable[[str], Any],
) -> None:
    model = family_model("LlamaConfig")
    exact = plain(model).log_softmax(-1)
    found = block(model, OnlyItself(), "1").log_softmax(-1)
    divergence = (exact.exp() * (exact - found)).sum(-1).mean()
    assert divergence > 1, f"{divergence:.3f} nats from the model"
    assert (found.argmax(-1) == exact.argmax(-1)).float().mean() < 0.5


def test_dense_layers_stay_dense(family_model: Callable[[str], Any]) -> None:
    model = family_model("LlamaConfig")
    torch.testing.assert_close(
        block(model, OnlyItself(), "1", dense_layers=3), plain(model), rtol=1e-3, atol=1e-3
    )


def test_a_block_leaves_the_prompt_as_it_was(family_model: Callable[[str], Any]) -> None:
    model = family_model("Gemma2Config")
    prompt = prefill(model, IDS[:PROMPT])
    chooser = Chooser(policy_of("starc"), Budget.parse("24"), 1)
    first = decode_block(prompt, IDS[PROMPT:], chooser)
    decode_block(prompt, IDS[PROMPT:-4], replace(chooser, budget=Budget.parse("30")))
    assert torch.equal(first, decode_block(prompt, IDS[PROMPT:], chooser))
    assert prompt.cache().get_seq_length() == PROMPT


def test_the_model_is_itself_again_afterwards(family_model: Callable[[str], Any]) -> None:
    model = family_model("LlamaConfig")
    before = plain(model)
    block(model, policy_of("topk"), "8")
    assert model.config._attn_implementation == "eager"
    assert torch.equal(before, plain(model))


def test_a_model_whose_block_is_its_steps_passes(
    family_model: Callable[[str], Any], families: list[str]
) -> None:
    for family in families:
        refuse_unfaithful(family_model(family), IDS[:24])


def test_a_model_that_loses_a_state_is_refused(
    family_model: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = family_model("LlamaConfig")
    forward = type(model).forward

    def forgetful(self: Any, past_key_values: Any = None, **rest: Any) -> Any:
        """Take every block as the beginning of a text."""
        return forward(self, past_key_values=None, **rest)

    monkeypatch.setattr(type(model), "forward", forgetful)
    with pytest.raises(UserError, match="LlamaForCausalLM: steps fed as one block give other"):
        refuse_unfaithful(model, IDS[:24])
