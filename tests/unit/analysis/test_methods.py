"""Methods: labels that tell them apart, and looks that everyone can."""

from itertools import combinations

import numpy as np
import polars as pl
import pytest

from analysis.figures._style import COLOURS, DASHES, PARTS, SYMBOLS, marker
from analysis.results.methods import METHOD, ORDER, described

Rows = list[tuple[str, str, str]]


def labels(rows: Rows) -> dict[tuple[str, str, str], str]:
    found = described(pl.DataFrame(rows, schema=METHOD, orient="row"))
    return {row[:3]: row[3] for row in found.select(*METHOD, "method").iter_rows()}


def test_a_label_holds_only_what_tells_a_method_from_the_others() -> None:
    rows = [
        ("dense", "", "sequential"),
        ("quest", "page_tokens=8,metadata_precision=16", "sequential"),
        ("quest", "page_tokens=16,metadata_precision=16", "sequential"),
        ("starc", "version=v1,cluster_tokens=32", "clustered"),
        ("starc", "version=v2,cluster_tokens=32", "clustered"),
        ("topk", "", "sequential"),
        ("topk", "", "random"),
        ("h2o", "recent_ratio=0.5", "sequential"),
    ]
    assert list(labels(rows).values()) == [
        "dense",
        "topk random",
        "topk sequential",
        "quest page 16",
        "quest page 8",
        "starc v1",
        "starc v2",
        "h2o",
    ]


def test_a_known_policy_looks_alike_whatever_runs_beside_it() -> None:
    def looks(rows: Rows) -> dict[str, int]:
        found = described(pl.DataFrame(rows, schema=METHOD, orient="row"))
        return dict(found.select("method", "look").iter_rows())

    alone = looks([("starc", "", "clustered")])
    beside = looks([("a_new_one", "", "sequential"), ("starc", "", "clustered")])
    assert alone["starc"] == beside["starc"] == ORDER.index("starc")
    assert beside["a_new_one"] != beside["starc"]


def test_every_method_looks_like_no_other_beyond_the_colours_too() -> None:
    rows = [("quest", f"page_tokens={page}", "sequential") for page in range(1, 100)]
    found = described(pl.DataFrame(rows, schema=METHOD, orient="row"))
    looks = {(marker(look)["color"], marker(look)["symbol"]) for look in found["look"]}
    assert len(looks) == len(rows)


def test_the_first_methods_have_a_colour_and_a_marker_of_their_own() -> None:
    assert len(COLOURS) >= len(SYMBOLS) >= len(ORDER) >= 12
    assert np.gcd(len(COLOURS), len(SYMBOLS)) == 1
    assert len(set(DASHES)) == len(DASHES)


NORMAL = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
PROTAN = ((0.11238, 0.88762, 0), (0.11238, 0.88762, 0), (0.00401, -0.00401, 1))
DEUTAN = ((0.29275, 0.70725, 0), (0.29275, 0.70725, 0), (-0.02234, 0.02234, 1))
"""Vienot, Brettel and Mollon, 1999."""
TRITAN = ((1.01277, 0.13548, -0.14826), (-0.01243, 0.86812, 0.14431), (0.07589, 0.805, 0.11911))
"""Linear approximation of Brettel, Vienot and Mollon, 1997."""


def lab(text: str, vision: tuple[tuple[float, ...], ...]) -> np.ndarray:
    """Return a colour in CIE Lab as someone of this vision sees it."""
    linear = np.array([int(text[place : place + 2], 16) / 255 for place in (1, 3, 5)]) ** 2.2
    seen = np.clip(np.array(vision) @ linear, 0, 1)
    to_xyz = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    xyz = np.array(to_xyz) @ seen / (0.9505, 1, 1.089)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def least(colours: tuple[str, ...], vision: tuple[tuple[float, ...], ...]) -> float:
    seen = [lab(one, vision) for one in colours]
    return min(float(np.linalg.norm(a - b)) for a, b in combinations(seen, 2))


@pytest.mark.parametrize(
    ("vision", "distance"), [(NORMAL, 40), (PROTAN, 20), (DEUTAN, 20), (TRITAN, 20)]
)
def test_colours_stay_apart_with_every_kind_of_colour_vision(
    vision: tuple[tuple[float, ...], ...], distance: float
) -> None:
    assert least(COLOURS, vision) > distance


def test_the_distance_sees_what_a_dichromat_does_not() -> None:
    red_green = ("#ff0000", "#7f7f00")
    assert least(red_green, NORMAL) > 40
    assert least(red_green, PROTAN) < 20


def test_no_part_of_a_stack_has_the_colour_of_a_method() -> None:
    for part in PARTS:
        assert min(np.linalg.norm(lab(part, NORMAL) - lab(one, NORMAL)) for one in COLOURS) > 18
    assert least(PARTS, NORMAL) > 7
