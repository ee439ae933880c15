"""Budgets that differ between layers or KV heads, as data that any policy can be replayed with.

`pyramid:tokens=512,layers=30` is PyramidKV's formula; a TOML file holds any other schedule, such as
one that AdaKV (Feng et al., arXiv 2407.11550) finds for each KV head:

    [layers]
    2 = 1024           # every KV head of the model's layer 2
    3 = [256, 1792]    # KV head 0, KV head 1
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pimreplay.selection.budget import Budget
from pimreplay.variants import at_least, build_variant
from tracegen.base.documents import read_toml
from tracegen.base.errors import UserError
from tracegen.base.numbers import whole_number
from tracegen.base.pairs import parse_pairs

PYRAMID = "pyramid"
MOST_LAYERS = 10_000


@dataclass(frozen=True, slots=True)
class BudgetSchedule:
    """Tokens that a policy may read at a step, by layer and KV head."""

    name: str
    """As it stands in the results."""
    layers: tuple[tuple[int, tuple[int, ...]], ...]
    """Each layer with its tokens: one number for all KV heads, or one per KV head."""

    def of(self, layer: int, kv_head: int) -> Budget:
        """Return the budget of a KV head.

        Raises:
            UserError: the schedule does not name it.
        """
        tokens = dict(self.layers).get(layer, ())
        if len(tokens) == 1:
            return Budget(count_tokens=tokens[0])
        if kv_head < len(tokens):
            return Budget(count_tokens=tokens[kv_head])
        raise UserError(
            f"budget {self.name}: names no tokens for layer {layer}, KV head {kv_head}; add them"
        )

    def check(self, context_tokens: int) -> None:
        """Refuse more tokens for a KV head than the trace's context holds at its last step.

        Raises:
            UserError: a budget is beyond the context.
        """
        for layer, tokens in self.layers:
            if max(tokens) > context_tokens:
                raise UserError(
                    f"budget {self.name}: {max(tokens)} tokens for layer {layer} are beyond the "
                    f"context of {context_tokens} tokens; give at most that"
                )

    def record(self) -> dict[str, Any]:
        """Return what `run.json` keeps of the schedule."""
        return {"name": self.name, "layers": {str(one): [*tokens] for one, tokens in self.layers}}

    def __str__(self) -> str:
        return self.name


def parse_budget(text: str) -> Budget | BudgetSchedule:
    """Read `1024`, `10%`, `pyramid:tokens=1024,layers=32` or the path of a schedule's TOML file.

    Raises:
        UserError: none of these, or a schedule that is not one.
    """
    text = str(text).strip()
    if text.endswith(".toml"):
        return schedule_from(read_toml(text), Path(text).stem, text)
    if text.partition(":")[0] != PYRAMID:
        return Budget.parse(text)
    pairs = parse_pairs(f"budget {PYRAMID}", text.partition(":")[2])
    missing = [name for name in ("tokens", "layers") if name not in pairs]
    if missing:
        raise UserError(f"budget {PYRAMID}: {missing[0]} is missing; write tokens=512,layers=30")
    pyramid: Pyramid = build_variant(Pyramid, f"budget {PYRAMID}", pairs)
    return pyramid.schedule()


@dataclass(frozen=True, slots=True)
class Pyramid:
    """PyramidKV: tokens fall from layer to layer, `tokens` in the mean of all layers.

    Cai et al., arXiv 2406.02069, as Zefan-Cai/KVCache-Factory computes it (pyramidkv_utils.py):
    the last layer gets a `beta`-th of the mean, the first the rest of twice the mean, and whole
    numbers of tokens are taken off between. Its window counts inside the budget here.
    """

    tokens: int
    layers: int
    """Layers of the model, captured or not."""
    beta: int = 20

    def __post_init__(self) -> None:
        at_least(self, tokens=1, layers=2, beta=1)
        if self.layers > MOST_LAYERS:
            raise UserError(f"budget {PYRAMID}: layers={self.layers}; give at most {MOST_LAYERS:,}")

    def schedule(self) -> BudgetSchedule:
        """Return the tokens of each layer."""
        least = self.tokens // self.beta
        most = 2 * self.tokens - least
        less = (most - least) // (self.layers - 1)
        tokens = tuple((layer, (max(1, most - layer * less),)) for layer in range(self.layers))
        name = f"{PYRAMID}:tokens={self.tokens},layers={self.layers},beta={self.beta}"
        return BudgetSchedule(name, tokens)


def schedule_from(values: Mapping[str, Any], name: str, where: str) -> BudgetSchedule:
    """Return the schedule that a file or `run.json` holds; `where` names it in messages.

    Raises:
        UserError: it is not a table of layers with their tokens.
    """
    layers = values.get("layers")
    if not isinstance(layers, Mapping) or not layers:
        raise UserError(f"{where}: holds no table [layers]; write one, such as 2 = 512")
    found = []
    for key, given in layers.items():
        layer = whole_number(str(key), most=MOST_LAYERS)
        tokens = given if isinstance(given, list) else [given]
        if layer is None or not tokens or not all(map(_is_count, tokens)):
            raise UserError(
                f"{where}: layers.{key} = {given!r}; give a layer's number, and its tokens as a "
                "whole number from 1 or a list of one per KV head"
            )
        found.append((layer, tuple(tokens)))
    return BudgetSchedule(name, tuple(sorted(found)))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
