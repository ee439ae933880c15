"""The dashboard as a target: odd addresses and posts, and what its server answers."""

import atexit
import json
import random
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from tests.campaigns.mutations import damaged_document

PATHS = (
    *("/", "/table.csv", "/_dash-layout", "/_dash-dependencies", "/_reload-hash", "/assets/x.css"),
    *("/_dash-component-suites/dash/dcc/x.js", "/_dash-component-suites/", "/favicon.ico"),
    *("/_dash-update-component", "/%00", "/..%2f..%2fetc/passwd", "//x", "/" + "a" * 5000),
)
VALUES: dict[str, tuple[str, ...]] = {
    "view": ("Step inspector", "Table", "x"),
    "trace": ("trace",),
    "policy": ("topk", "dense"),
    "method": ("topk", "dense"),
    "hardware": ("attacc_hbm3_bank",),
    "budget": ("8", "all"),
    "layers": ("0", "0-3", "0-999999,", "0-99999999999"),
    "heads": ("0", "1", "0-1"),
    **dict.fromkeys(("first", "last", "layer", "kv_head", "q_head", "step"), ("0", "1", "2")),
    "dense": ("yes",),
}
ODD = (
    "",
    "-1",
    "9" * 400,
    "1e999",
    "²",
    "٣",
    "\x00",
    "\x1b[2J",
    "<script>",
    "a" * 3000,
    "nan",
    "1.5",
)
METHODS = ("GET",) * 6 + ("POST", "PUT", "HEAD", "OPTIONS", "\x1b")
BODIES = ("", "{", "[]", "null", "[" * 100_000, '{"output": 1}', "\ud800")


def odd_address(rng: random.Random) -> list[str]:
    """Return a method, an address and perhaps a body, as words."""
    query: list[tuple[str, str]] = []
    for _ in range(rng.randrange(6)):
        key = rng.choice([*VALUES, "x", "\x00"])
        value = rng.choice(VALUES.get(key, ODD) if rng.random() < 0.6 else ODD)
        query += [(key, value)] * (80 if rng.random() < 0.05 else 1)
    search = f"?{urlencode(query)}" if query else ""
    if rng.random() < 0.2:
        search += quote(rng.randbytes(8)) if rng.random() < 0.5 else "&%ff=%zz&layers=%00&="
    if rng.random() < 0.5:
        return ["POST", "/_dash-update-component", _post(search, rng)]
    path = rng.choice(PATHS[:2] if rng.random() < 0.5 else PATHS)
    return [rng.choice(METHODS), path + search]


def _post(search: str, rng: random.Random) -> str:
    if rng.random() < 0.1:
        return rng.choice(BODIES)
    _, app = _server()
    output = next(one for one in app.callback_map if "content.children" in one)
    outputs = [one.rpartition(".") for one in output.strip(".").split("...")]
    post: dict[str, Any] = {
        "output": output,
        "outputs": [{"id": name, "property": key} for name, _, key in outputs],
        "inputs": [{"id": "url", "property": "search", "value": search}],
        "changedPropIds": ["url.search"],
    }
    return json.dumps(damaged_document(post, rng)[0] if rng.random() < 0.4 else post)


def visit(words: list[str]) -> tuple[int, str, str]:
    """Send a request; return an exit code as of a command, what was answered, and what is wrong."""
    client, _ = _server()
    method, address, *body = words
    data = body[0].encode("utf-8", "surrogatepass") if body else None
    answer = client.open(address, method=method, data=data, content_type="application/json")
    if answer.status_code >= 500:
        return -1, "", f"{answer.status}: {answer.get_data(as_text=True)[:500]}"
    if answer.status_code >= 400:
        return 2, "", f"error: {answer.get_data(as_text=True)}" if method != "HEAD" else ""
    return 0, f"{answer.status_code}", ""


@cache
def _server() -> tuple[Any, Any]:
    """Return a client of the dashboard of the results in this folder, and the application."""
    from analysis.dashboard import make_app
    from analysis.dashboard.guard import guard
    from analysis.dashboard.serving import load

    folder = Path(tempfile.mkdtemp(prefix="fuzz-dashboard-")) / "results"
    atexit.register(shutil.rmtree, folder.parent, ignore_errors=True)
    shutil.copytree("results", folder)
    app = make_app(*load([str(folder)]))
    guard(app, "127.0.0.1", [str(folder)])
    app.server.config["PROPAGATE_EXCEPTIONS"] = False
    return app.server.test_client(), app
