"""Open results folders for the dashboard and serve it."""

import logging
import socket
from collections.abc import Sequence
from pathlib import Path

from werkzeug.serving import make_server

from analysis.dashboard import make_app
from analysis.dashboard.guard import guard
from analysis.report.terminal import print_warnings
from analysis.results.accuracy import beside, read_accuracy
from analysis.results.tables import Table
from analysis.results.tidying import count_steps, tidy
from pimreplay.results.reader import Results, unique_names
from tracegen.base.errors import UserError


def load(folders: Sequence[str]) -> tuple[Table | None, list[str]]:
    """Return the table of the folders that can be opened, and what is wrong with the others.

    Raises:
        UserError: a folder does not exist at all, or none was named.
    """
    for folder in folders:
        if "://" not in folder and not Path(folder).exists():
            raise UserError(f"{folder}: no such results folder; make one with `pimreplay run`")
    runs: list[Results] = []
    problems: list[str] = []
    for folder, name in zip(folders, unique_names(folders), strict=True):
        try:
            run = Results.open(folder, name)
            count_steps(run)
            runs.append(run)
        except UserError as error:
            problems.append(str(error))
    return (tidy(runs) if runs else None), problems


def serve(folders: Sequence[str], host: str, port: int, accuracy: str | None = None) -> None:
    """Serve the dashboard until it is interrupted; `accuracy` is an accuracy folder beside them.

    Raises:
        UserError: the port is taken, a folder does not exist, or the accuracy is not theirs.
    """
    _refuse_taken(host, port)
    table, problems = load(folders)
    if accuracy is not None and table is not None:
        table = beside(table, read_accuracy(accuracy))
    for problem in problems:
        print(f"not shown: {problem}", flush=True)
    if table is not None:
        print_warnings(table.runs)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = make_app(table, problems)
    guard(app, host, [run.path for run in table.runs] if table is not None else [])
    server = make_server(host, port, app.server, threaded=True)
    print(f"dashboard at http://{host}:{port}/ (Ctrl-C ends it)", flush=True)
    try:
        server.serve_forever()
    finally:
        server.server_close()


def _refuse_taken(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(
                f"--port {port} on {host}: {error.strerror}; choose another with --port"
            ) from error
