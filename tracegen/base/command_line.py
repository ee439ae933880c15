"""What the three command lines share."""

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperOption

from tracegen.base.errors import UserError


class OptionsOnce(TyperCommand):
    """A command that refuses an option of one value given twice instead of keeping the last."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as ever, after a look at what was given how often.

        Raises:
            UserError: names the option.
        """
        given = self.make_parser(ctx).parse_args(list(args))[2]
        for option in given:
            if isinstance(option, TyperOption) and not option.multiple and given.count(option) > 1:
                values = "is a switch" if option.is_flag else "takes one value"
                raise UserError(
                    f"{option.opts[0]}: given {given.count(option)} times and {values}; "
                    "give it once"
                )
        return super().parse_args(ctx, args)


class CommandLine(typer.Typer):
    """An application whose commands take each option once; errors are those of `base.errors`."""

    def __init__(self, help: str | None = None) -> None:
        """Start without commands; `help` is what the command line is for."""
        super().__init__(
            help=help, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
        )

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Any], Any]:
        """Return a decorator that makes a function a command."""
        return super().command(name, cls=OptionsOnce, **settings)
