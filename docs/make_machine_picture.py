"""Draw token, lane, block and row from a device's own geometry.

python docs/make_machine_picture.py
"""

from pathlib import Path
from xml.sax.saxutils import escape

from pimreplay.hardware.reading import load

PICTURE = Path(__file__).parent / "pictures" / "machine.svg"
CELL, TOP, LEFT, SHOWN = 44, 92, 150, 5
INK, READ, WANTED = "#222222", "#f3d9a4", "#d98200"
WANTS = {3, 7, 37, 38}
"""Tokens that the drawn step selects."""


def text(x: float, y: float, words: str, size: int = 13, anchor: str = "middle") -> str:
    """Return a line of text."""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}" '
        f'fill="{INK}">{escape(words)}</text>'
    )


def box(x: float, y: float, width: float, height: float, fill: str) -> str:
    """Return a filled rectangle."""
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill="{fill}" '
        f'stroke="{INK}" stroke-width="0.7"/>'
    )


def picture(name: str = "attacc_hbm3_bank", head_dim: int = 128) -> str:
    """Return the drawing as SVG."""
    geometry = load(name).geometry(head_dim)
    org, lanes = geometry.hardware.organisation, geometry.block_tokens
    width, height = LEFT + lanes * CELL + 200, TOP + SHOWN * CELL + 150
    parts = [text(LEFT, 24, f"One channel of {name}: where the keys of a KV head lie", 17, "start")]
    parts.append(
        text(
            LEFT,
            46,
            f"{lanes} lanes of {org.channel_banks // lanes} banks; a key of {head_dim} x "
            f"{geometry.kv_bits} bits is split over its lane's banks, {geometry.key_columns} "
            "columns in each",
            13,
            "start",
        )
    )
    for lane in range(lanes):
        parts.append(text(LEFT + (lane + 0.5) * CELL, TOP - 10, f"lane {lane}", 10))
    for block in range(SHOWN):
        tokens = range(block * lanes, (block + 1) * lanes)
        read = not WANTS.isdisjoint(tokens)
        y = TOP + block * CELL
        parts.append(text(LEFT - 12, y + CELL * 0.6, f"block {block}", 13, "end"))
        for lane, token in enumerate(tokens):
            fill = WANTED if token in WANTS else READ if read else "#ffffff"
            parts.append(box(LEFT + lane * CELL, y, CELL, CELL, fill))
            parts.append(text(LEFT + (lane + 0.5) * CELL, y + CELL * 0.6, str(token), 12))
    right, bottom = LEFT + lanes * CELL + 12, TOP + SHOWN * CELL
    parts.append(
        f'<path d="M{right} {TOP} h8 V{bottom} h-8" fill="none" stroke="{INK}" stroke-width="1"/>'
    )
    for line, words in enumerate(
        (
            f"{geometry.key_blocks_per_row} blocks share",
            "a DRAM row of all banks:",
            f"{geometry.mac_banks} x {org.row_bytes} bytes,",
            "opened once for all of them",
        )
    ):
        parts.append(text(right + 18, TOP + 24 + 18 * line, words, 12, "start"))
    blocks = sorted({token // lanes for token in WANTS})
    legend = (
        (WANTED, f"{len(WANTS)} tokens that a step selects"),
        (
            READ,
            f"read for nothing: blocks {', '.join(map(str, blocks))} are read whole, "
            f"{geometry.key_columns} all-bank MAC commands each",
        ),
        (
            "#ffffff",
            f"not read. Over-fetch {lanes * len(blocks) / len(WANTS):g}: {lanes * len(blocks)} "
            f"tokens read for {len(WANTS)} selected",
        ),
    )
    for line, (colour, words) in enumerate(legend):
        y = bottom + 26 + 30 * line
        parts.append(box(LEFT, y, 20, 20, colour))
        parts.append(text(LEFT + 30, y + 15, words, 13, "start"))
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif">\n<rect width="100%" height="100%" fill="#ffffff"/>\n{body}\n'
        "</svg>\n"
    )


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
