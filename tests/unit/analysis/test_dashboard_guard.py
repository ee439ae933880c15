"""What the dashboard's server refuses: foreign hosts, odd addresses, malformed posts."""

import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("dash")

from analysis.dashboard import OUTPUTS, make_app
from analysis.dashboard.guard import guard
from analysis.dashboard.serving import load

UPDATE = "/_dash-update-component"
POST = {
    "output": f"..{'...'.join('.'.join(one) for one in OUTPUTS)}..",
    "outputs": [{"id": name, "property": key} for name, key in OUTPUTS],
    "inputs": [{"id": "url", "property": "search", "value": ""}],
    "changedPropIds": ["url.search"],
}


@pytest.fixture
def folder(make: Callable[..., Path]) -> Path:
    return make()


@pytest.fixture
def client(folder: Path) -> Any:
    app = make_app(*load([str(folder)]))
    guard(app, "127.0.0.1", [str(folder)])
    app.server.config["PROPAGATE_EXCEPTIONS"] = False
    return app.server.test_client()


@pytest.mark.parametrize("host", ["127.0.0.1:8050", "localhost", "LOCALHOST:1", "[::1]:8050"])
def test_the_dashboard_answers_under_its_own_address(client: Any, host: str) -> None:
    assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8050", "localhost.evil.example"])
def test_a_name_that_was_bent_to_this_machine_is_refused(client: Any, host: str) -> None:
    answer = client.get("/table.csv", headers={"Host": host})
    assert (answer.status_code, answer.text.count("\n")) == (403, 1)
    assert "own address only" in answer.text


def test_the_pages_own_post_is_answered(client: Any) -> None:
    assert client.post(UPDATE, json=POST).status_code == 200


ODD = [
    "/_dash-component-suites/%00/x",
    "/_dash-component-suites/%ff/%ff",
    "/_dash-component-suites/analysis/x",
    "/_dash-component-suites/dash/%00",
    "/_dash-component-suites/dash/deps/",
    "/_dash-component-suites/dash/" + "a" * 5000,
    "/assets/%00",
    "/assets/..%2f..%2fetc",
    "/%00",
    "/" + "a" * 5000,
]


@pytest.mark.parametrize("address", ODD)
def test_an_odd_address_is_not_found_in_one_line(client: Any, address: str) -> None:
    answer = client.get(address)
    if answer.status_code == 200:  # every address without a file is the page itself
        assert "<html" in answer.text
        return
    assert (answer.status_code, answer.text) == (404, "Not Found\n")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "POST"])
def test_another_method_is_refused_in_one_line(client: Any, method: str) -> None:
    answer = client.open("/table.csv", method=method)
    assert (answer.status_code, answer.text) == (405, "Method Not Allowed\n")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"7", b"\xff", b"[" * 100_000])
def test_a_post_that_is_no_object_is_refused(client: Any, body: bytes) -> None:
    answer = client.post(UPDATE, data=body, content_type="application/json")
    assert (answer.status_code, answer.text.count("\n")) == (400, 1)


WRONG: list[Any] = [None, 7, [], {}, "x", [7], [None], [{}], {"id": "url"}, True]


@pytest.mark.parametrize("value", WRONG, ids=str)
@pytest.mark.parametrize("key", ["output", "outputs", "inputs", "changedPropIds"])
def test_a_malformed_post_is_refused_in_one_line(client: Any, key: str, value: Any) -> None:
    if key == "changedPropIds" and value == []:
        return
    answer = client.post(UPDATE, json=POST | {key: value})
    assert (answer.status_code, answer.text.count("\n")) == (400, 1)


@pytest.mark.parametrize("value", [7, [], {}, True])
def test_a_query_that_is_not_text_is_refused(client: Any, value: Any) -> None:
    body: Any = deepcopy(POST)
    body["inputs"][0]["value"] = value
    assert client.post(UPDATE, json=body).status_code == 400


@pytest.mark.parametrize("delete", [shutil.rmtree, lambda folder: (folder / "run.json").unlink()])
def test_results_that_were_deleted_are_gone(
    client: Any, folder: Path, delete: Callable[[Path], None]
) -> None:
    delete(folder)
    answer = client.get("/")
    assert answer.status_code == 410
    assert "the results were deleted; start the dashboard again" in answer.text
