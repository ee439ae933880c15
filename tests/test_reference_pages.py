"""Pages that the code makes say what the code does."""

import importlib
import re
import sys
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
sys.path.insert(0, str(DOCS))


def test_the_reference_of_commands_is_what_the_commands_say() -> None:
    from make_reference import PAGE, reference

    assert PAGE.read_text(encoding="utf-8") == reference(), "run: python docs/make_reference.py"


def test_the_picture_of_the_machine_is_the_devices_own() -> None:
    from make_machine_picture import PICTURE, picture

    drawn = PICTURE.read_text(encoding="utf-8")
    assert drawn == picture(), "run: python docs/make_machine_picture.py"
    assert drawn != picture("attacc_hbm3_buffer")


def test_everything_that_the_python_reference_names_is_there() -> None:
    names = re.findall(r"^::: (\S+)$", (DOCS / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(names) > 10
    for name in names:
        try:
            found = importlib.import_module(name)
        except ModuleNotFoundError:
            module, _, attribute = name.rpartition(".")
            found = getattr(importlib.import_module(module), attribute)
        assert found.__doc__, name


def test_the_contents_name_every_page() -> None:
    contents = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8")
    assert {f"- {page.name}" for page in DOCS.glob("*.md")} <= {
        line.strip() for line in contents.splitlines()
    }
