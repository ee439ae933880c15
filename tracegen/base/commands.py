"""What the three command-line applications have in common."""

from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperOption

from tracegen.base.errors import UserError

Function = TypeVar("Function", bound=Callable[..., Any])


class App(typer.Typer):
    """An application whose commands refuse an option that is given twice.

    Typer would keep the last value of it without a word.
    """

    def __init__(self, purpose: str = "") -> None:
        super().__init__(
            help=purpose,
            no_args_is_help=True,
            add_completion=False,
            pretty_exceptions_enable=False,
        )

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Function], Function]:
        """Register a command; the settings are Typer's."""
        return super().command(name, cls=_Command, **settings)


class _Command(TyperCommand):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given = self.make_parser(ctx).parse_args(list(args))[2]
        for option in given:
            if isinstance(option, TyperOption) and not option.multiple and given.count(option) > 1:
                raise UserError(
                    f"{option.opts[0]}: given {given.count(option)} times and takes one value; "
                    "give it once"
                )
        return super().parse_args(ctx, args)
