"""Write a file without losing another, and only when it is complete."""

from pathlib import Path

from tracegen.base.errors import UserError


def refuse_existing(out: Path, overwrite: bool) -> None:
    """Raise `UserError` when `out` cannot be written without losing something."""
    if out.is_dir():
        raise UserError(f"{out}: is a folder; name a file for --out")
    if out.exists() and not overwrite:
        raise UserError(f"{out}: exists already; choose another --out, or give --overwrite")
    if not out.parent.is_dir():
        raise UserError(f"{out.parent}: no such folder; make it, or choose another --out")


def write_text(out: Path, text: str) -> None:
    """Write a file that appears when it is complete."""
    partial = out.with_name(f".{out.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
