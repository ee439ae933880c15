"""Read the artefact's per-step tables: 16 x the block rows that a decode step's tokens touch.

One number a line, a line a decode step, in `<model>_<method>.txt` or, as the artefact names them,
`kv_budget_<model>_<method>.txt`; either may be compressed (`.txt.gz`). Blank lines and lines that
begin with `#` are skipped, as the artefact does. Source: EPIC-RPI/STARC @ 30d4ce9,
`simulator_starc/main.py`, `read_kv_budget_from_file`.
"""

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.starc.shapes import Shape, method_named, shape_named
from tracegen.base.errors import UserError

MOST_TOKENS = 1 << 24
"""A larger number is not a count of tokens of any context."""
_PREFIX = "kv_budget_"
_ENDINGS = (".txt.gz", ".txt")


@dataclass(frozen=True, slots=True)
class RowTokens:
    """One table."""

    path: Path
    shape: Shape
    method: str
    tokens: NDArray[np.float64]
    """16 x block rows touched, (steps,)."""

    def period_steps(self) -> int | None:
        """Return the fewest steps after which the table repeats itself exactly to its end.

        None when it does not within half its length, and when every number is the same.
        """
        values = self.tokens
        if (values == values[0]).all():
            return None
        for period in range(1, len(values) // 2 + 1):
            if values[period] == values[0] and np.array_equal(values[period:], values[:-period]):
                return period
        return None


def read_folder(folder: Path) -> list[RowTokens]:
    """Read every table of a folder, in the order of models and methods.

    Raises:
        UserError: no such folder, no table in it, or something wrong with one of them.
    """
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "no such folder"
        raise UserError(
            f"{folder}: {what}; give the folder that holds the tables <model>_<method>.txt[.gz]"
        )
    found: dict[tuple[str, str], RowTokens] = {}
    for path in sorted(folder.iterdir()):
        if not path.name.endswith(_ENDINGS):
            continue
        table = read_table(path)
        key = (table.shape.name, table.method)
        if key in found:
            raise UserError(
                f"{path}: a second table of {table.shape.name} and {table.method} beside"
                f" {found[key].path.name}; keep one of them"
            )
        found[key] = table
    if not found:
        raise UserError(
            f"{folder}: holds no table; expected files named <model>_<method>.txt[.gz] or"
            " kv_budget_<model>_<method>.txt[.gz]"
        )
    return [found[key] for key in sorted(found)]


def read_table(path: Path) -> RowTokens:
    """Read one table; the file's name says the model and the method."""
    stem = path.name
    for ending in _ENDINGS:
        stem = stem.removesuffix(ending)
    model, _, method = stem.lower().removeprefix(_PREFIX).partition("_")
    if not method:
        raise UserError(
            f"{path}: the name does not say a model and a method; name the file"
            " <model>_<method>.txt or kv_budget_<model>_<method>.txt"
        )
    shape = shape_named(model, str(path))
    return RowTokens(path, shape, method_named(method, str(path)), _numbers(path))


def _numbers(path: Path) -> NDArray[np.float64]:
    values = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 < value <= MOST_TOKENS:
            raise UserError(
                f"{path}, line {number}: found {text[:40]!r}; a table holds one positive number a"
                " line, 16 x the block rows that the step touches"
            )
        values.append(value)
    if not values:
        raise UserError(
            f"{path}: is empty; a table holds one number a line, a line for each decode step"
        )
    return np.array(values)


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
        if path.name.endswith(".gz"):
            content = gzip.decompress(content)
        return content.decode("utf-8")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: is not a whole gzip file ({error}); copy it again") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not text; a table holds one number a line") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); make it readable") from error
