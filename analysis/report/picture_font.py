"""The font of exported pictures: they look alike on every machine, and carry it with them."""

import json
from base64 import b64encode
from importlib.resources import files
from io import BytesIO

FAMILY = "Roboto"
"""Apache 2.0; from the package `font-roboto`, which holds nothing else."""


def font_script(text: str) -> str:
    """Return the script that gives pictures the glyphs of `text`, to be run after Plotly's own.

    Raises:
        ImportError: the packages that hold the font and cut it down are not installed.
    """
    font = json.dumps(f"data:font/woff;base64,{b64encode(_woff(text)).decode()}")
    own = files("analysis.report") / "templates" / "embed_font.js"
    head = f"const FAMILY = {json.dumps(FAMILY)}, FONT = {font};\n"
    return head + own.read_text(encoding="utf-8")


def missing_glyphs(text: str) -> set[str]:
    """Return the characters of `text` that the font lacks."""
    from font_roboto import Roboto
    from fontTools.ttLib import TTFont

    with TTFont(Roboto) as font:
        known = {chr(code) for code in font.getBestCmap()}
    return {letter for letter in text if letter.isprintable()} - known


def _woff(text: str) -> bytes:
    """Return the font with only the glyphs of `text`, compressed."""
    from font_roboto import Roboto
    from fontTools import subset

    options = subset.Options(flavor="woff")
    cut = subset.Subsetter(options)
    cut.populate(text=text)
    packed = BytesIO()
    with subset.load_font(Roboto, options) as font:
        cut.subset(font)
        subset.save_font(font, packed, options)
    return packed.getvalue()
