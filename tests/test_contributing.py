"""The example in CONTRIBUTING.md is a working policy."""

import re
import types
from pathlib import Path

import torch

from pimreplay.records import KvHeadTrace
from pimreplay.selection.budget import Budget
from tracegen.base.discover import variant_class


def test_the_recipe_of_a_policy_keeps_the_last_tokens() -> None:
    page = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert code
    module = types.ModuleType("recipe")
    exec(code.group(1), module.__dict__)
    head = KvHeadTrace(
        layer=0,
        kv_head=0,
        query=torch.zeros(2, 2, 4),
        key=torch.zeros(6, 4),
        value=torch.zeros(6, 4),
        prompt_tokens=4,
        softmax_scale=0.5,
        soft_cap=None,
        sliding_window=None,
        prompt_query=None,
        prompt_attention=None,
        prompt_attention_decayed=None,
    )
    mask = variant_class(module)().select(head, Budget.parse("3")).mask
    assert mask.tolist() == [[[0, 0, 1, 1, 1, 0], [0, 0, 0, 1, 1, 1]]] * 2
