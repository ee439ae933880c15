"""Open results folders for the dashboard and serve it."""

import logging
import socket
from collections.abc import Sequence
from pathlib import Path

from werkzeug.serving import make_server

from analysis.dashboard import make_app
from analysis.report.terminal import print_warnings
from analysis.results.tables import Table
from analysis.results.tidying import tidy
from pimreplay.results.reader import open_results
from tracegen.base.errors import UserError


def load(folders: Sequence[str]) -> tuple[Table | None, list[str]]:
    """Return the table of the folders that can be opened, and what is wrong with the others.

    Raises:
        UserError: a folder does not exist at all, or none was named.
    """
    for folder in folders:
        if "://" not in folder and not Path(folder).exists():
            raise UserError(f"{folder}: no such results folder; make one with `pimreplay run`")
    good: list[str] = []
    problems: list[str] = []
    for folder in folders:
        try:
            open_results([folder])
            good.append(folder)
        except UserError as error:
            problems.append(str(error))
    try:
        return _table(good), problems
    except UserError:  # damaged inside: find out which
        whole = [folder for folder in good if _is_whole(folder, problems)]
        return _table(whole), problems


def _table(folders: Sequence[str]) -> Table | None:
    return tidy(open_results(folders)) if folders else None


def _is_whole(folder: str, problems: list[str]) -> bool:
    try:
        _table([folder])
    except UserError as error:
        problems.append(str(error))
        return False
    return True


def serve(folders: Sequence[str], host: str, port: int) -> None:
    """Serve the dashboard until it is interrupted.

    Raises:
        UserError: the port is taken, or a folder does not exist.
    """
    _refuse_taken(host, port)
    table, problems = load(folders)
    for problem in problems:
        print(f"not shown: {problem}", flush=True)
    if table is not None:
        print_warnings(table.runs)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server(host, port, make_app(table, problems).server, threaded=True)
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
