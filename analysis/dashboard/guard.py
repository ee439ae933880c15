"""What the dashboard's server refuses before it computes anything, each in one line.

A page of another site may send its visitors' browsers here under a name of its own that it lets
point to this machine (DNS rebinding); such a request carries that name in `Host`. Addresses and
posts that no page of the dashboard makes are the sender's mistake, not a failure of the server.
"""

import ipaddress
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flask
from dash import Dash
from werkzeug.exceptions import HTTPException

from pimreplay.results.publishing import RUN
from tracegen.base.documents import parse_json
from tracegen.base.errors import UserError
from tracegen.base.location import is_url

FILES = "/_dash-component-suites/"
UPDATES = "/_dash-update-component"


def guard(app: Dash, host: str, folders: Sequence[str]) -> None:
    """Refuse foreign hosts, odd addresses and malformed posts, and say when results are gone.

    Args:
        app: the application, its callbacks registered.
        host: the address that it listens on.
        folders: paths and URLs of the results that it shows.
    """
    names = {host, "localhost", socket.gethostname()}

    def refuse() -> flask.Response | None:
        if not is_own(flask.request.host, names):
            return _line(403, "this dashboard answers under its own address only")
        if gone := [one for one in folders if not is_url(one) and not (Path(one) / RUN).is_file()]:
            return _line(410, f"{gone[0]}: the results were deleted; start the dashboard again")
        if flask.request.path == UPDATES and flask.request.method == "POST":
            try:
                post = parse_json(flask.request.get_data(), "the post")
            except UserError as error:
                return _line(400, str(error))
            found = malformed(post, app.callback_map)
            return _line(400, found) if found else None
        return None

    def answer(error: Exception) -> flask.Response:
        if isinstance(error, HTTPException) and error.code is not None:
            return _line(error.code, error.name)
        if flask.request.path.startswith(FILES):  # whatever the name of a file does to its search
            return _line(404, "Not Found")
        app.server.logger.error("%s: %s", type(error).__name__, error)
        return _line(500, "the dashboard failed at this request")

    app.server.before_request(refuse)
    app.server.register_error_handler(Exception, answer)


def is_own(host: str, names: set[str]) -> bool:
    """Whether a `Host` header names this machine; an address in numbers cannot be rebound.

    >>> is_own("127.0.0.1:8050", set()), is_own("[::1]:8050", set()), is_own("evil.example", set())
    (True, True, False)
    """
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if name.lower() in {one.lower() for one in names}:
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def malformed(body: dict[str, Any], callbacks: dict[str, Any]) -> str | None:
    """Return what is wrong with a post of the page's own form; None: nothing."""
    output = body.get("output")
    callback = callbacks.get(output) if isinstance(output, str) else None
    if callback is None or "callback" not in callback:  # a browser computes the others itself
        return "the post names no output of this page"
    outputs, inputs = _properties(body.get("outputs")), _properties(body.get("inputs"))
    if outputs is None or output != f"..{'...'.join(outputs)}..":
        return "the outputs of the post are not those of this page"
    if inputs != _properties(callback["inputs"]):
        return "the inputs of the post are not those of this page"
    if not all(isinstance(one.get("value"), str | None) for one in body["inputs"]):
        return "an input of the post is not text"
    changed = body.get("changedPropIds", [])
    if not isinstance(changed, list) or not all(isinstance(one, str) for one in changed):
        return "changedPropIds of the post is not a list of texts"
    return None


def _properties(entries: Any) -> list[str] | None:
    """Return `id.property` of each entry; None: it is not a list of such entries."""
    if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
        return None
    return [f"{one.get('id')}.{one.get('property')}" for one in entries]


def _line(code: int, sentence: str) -> flask.Response:
    return flask.Response(f"{sentence}\n", status=code, mimetype="text/plain")
