"""The circuits that training starts from: they copy what was seen before, at any distance."""

import pytest
import torch
from transformers import LlamaForCausalLM

from tracegen.reference_model.circuits import start_from_circuits
from tracegen.reference_model.recipe import SIZES, Recipe


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    made = LlamaForCausalLM(Recipe(vocabulary=1024).config())
    start_from_circuits(made, 0, 0)
    return made.eval()


def _copied_ratio(model: LlamaForCausalLM, gap: int) -> float:
    ids = torch.randint(1, 1024, (1, gap + 60), generator=torch.Generator().manual_seed(1))
    ids[0, 0] = 0
    ids[0, gap + 10 : gap + 50] = ids[0, 10:50]
    with torch.inference_mode():
        greedy = model(ids, use_cache=False).logits[0].argmax(-1)
    wanted = ids[0, gap + 14 : gap + 50]
    return float((greedy[gap + 13 : gap + 49] == wanted).float().mean())


@pytest.mark.parametrize("gap", [50, 211, 900])
def test_a_repeated_random_segment_is_copied_at_any_gap(model: LlamaForCausalLM, gap: int) -> None:
    assert _copied_ratio(model, gap) > 0.95


def test_without_the_circuits_nothing_is_copied() -> None:
    torch.manual_seed(0)
    plain = LlamaForCausalLM(Recipe(vocabulary=1024).config()).eval()
    assert _copied_ratio(plain, 50) < 0.1


def test_only_shapes_with_room_for_them_hold_circuits() -> None:
    assert SIZES["small"].holds_circuits
    assert not SIZES["tiny"].holds_circuits
