"""What every command of the three command lines does."""

import importlib
from collections.abc import Iterator

import pytest
import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from tracegen.base.errors import UserError


def commands() -> Iterator[tuple[str, TyperCommand]]:
    """Yield every command by its full name."""
    for package in ("tracegen", "pimreplay", "analysis"):
        group = typer.main.get_command(importlib.import_module(f"{package}.cli").app)
        assert isinstance(group, TyperGroup)
        for name, command in group.commands.items():
            assert isinstance(command, TyperCommand)
            yield f"{package} {name}", command


def options() -> Iterator[tuple[str, TyperCommand, TyperOption]]:
    """Yield every option that takes one value or none."""
    for name, command in commands():
        for option in command.params:
            if isinstance(option, TyperOption) and not option.multiple:
                yield name, command, option


OPTIONS = list(options())


@pytest.mark.parametrize(
    ("name", "command", "option"),
    OPTIONS,
    ids=[f"{name} {option.opts[0]}" for name, _, option in OPTIONS],
)
def test_an_option_given_twice_is_refused(
    name: str, command: TyperCommand, option: TyperOption
) -> None:
    given = [option.opts[0]] if option.is_flag else [option.opts[0], "1"]
    with pytest.raises(UserError, match=f"^{option.opts[0]}: given 2 times"):
        command.make_context(name, [*given, *given])
