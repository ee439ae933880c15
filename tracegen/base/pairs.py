"""Read `param=value,param=value`, as policies, prompts and tasks are given on a command line."""

from tracegen.base.errors import UserError


def parse_pairs(where: str, text: str) -> dict[str, str]:
    """Return the values as text, by name; `where` says in messages who gave them.

    Raises:
        UserError: a part that is not a parameter, or a parameter given twice.
    """
    pairs: dict[str, str] = {}
    for part in filter(None, (one.strip() for one in text.split(","))):
        key, sign, value = (one.strip() for one in part.partition("="))
        if not sign or not key or not value:
            raise UserError(f"{where}: {part!r} is not a parameter; write param=value,param=value")
        if key in pairs:
            raise UserError(f"{where}: parameter {key!r} is given twice; give it once")
        pairs[key] = value
    return pairs
