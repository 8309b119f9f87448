"""One server, two doors: its socket and HTTP."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from ragmacs_srv.serve.loopback import listening
from ragmacs_srv.serve.server import Options
from tests.conftest import Run
from tests.serve.test_wire import CHECKER, Line, serving

Ragmacs = Callable[..., Any]


def models(opened: dict[str, str]) -> list[str]:
    """What the HTTP server that was OPENED says it has."""
    connection = HTTPConnection("127.0.0.1", urlsplit(opened["address"]).port or 0, timeout=60)
    token = Path(opened["token_file"]).read_text()
    connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {token}"})
    try:
        return [each["id"] for each in json.loads(connection.getresponse().read())["data"]]
    finally:
        connection.close()


def test_a_server_opens_http_when_it_is_asked_to_and_then_stays(home: Path) -> None:
    with serving(home, Options(idle=0.2)) as (path, _, thread), socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        line = Line(sock)
        opened = line.ask("server/http", port=0)["result"]
        assert line.ask("server/http")["result"] == opened
        assert line.ask("server/status")["result"]["server"]["http"] == opened["address"]
        assert line.ask("server/http", port=1)["error"]["code"] == -32000
        line.sock.close()
        thread.join(0.5)  # longer than it stays idle
        assert models(opened) == ["ragmacs", "ragmacs:handbook"]
    assert not Path(opened["token_file"]).exists()
    assert not thread.is_alive()


def test_a_port_that_is_taken_is_an_error_and_the_server_lives_on(home: Path) -> None:
    with listening(0) as taken, serving(home, Options()) as (path, _, _), socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        line = Line(sock)
        error = line.ask("server/http", port=taken.getsockname()[1])["error"]
        assert (error["code"], "in use" in error["message"]) == (-32000, True)
        assert line.ask("server/http", port=0)["result"]["address"]


# Processes


@pytest.fixture
def shared_server(ragmacs: Run, home: Path, tmp_path: Path) -> Iterator[Ragmacs]:
    """Runs `ragmacs ARGS --json`: what it printed, or its error; the server of the home is stopped at the end."""
    environ = {"RAGMACS_SEARCH_MODE": "lexical", "TMPDIR": str(tmp_path), "XDG_RUNTIME_DIR": "", "RAGMACS_DEBUG": "1"}

    def run(*args: str, **more: str) -> Any:
        done = ragmacs(*args, "--json", env={**environ, **more})
        return json.loads(done.stdout or done.stderr.splitlines()[-1])

    yield run
    run("serve", "--stop")


@pytest.mark.slow
def test_http_is_a_door_of_the_shared_server_and_no_other_process(shared_server: Ragmacs) -> None:
    first = shared_server("serve", "--detach")["server"]
    assert first["http"] == ""
    opened = shared_server("serve", "--detach", "--http", "0")
    assert opened["server"]["pid"] == first["pid"]
    assert models(opened) == ["ragmacs", "ragmacs:handbook"]
    elsewhere = shared_server("serve", "--detach", "--http", "1")["error"]
    assert opened["address"] in elsewhere["message"]
    assert "ragmacs serve --stop" in elsewhere["hint"]
    refused = shared_server("serve", "--http")["error"]
    assert (refused["code"], "--detach --http" in refused["hint"]) == (-32000, True)
    assert shared_server("serve", "--stop") == {"stopped": True}
    assert not Path(opened["token_file"]).exists()


@pytest.mark.slow
def test_settings_open_http_whoever_starts_the_server(shared_server: Ragmacs, home: Path) -> None:
    settings = {"RAGMACS_SERVE_HTTP": "true", "RAGMACS_SERVE_HTTP_PORT": "0"}
    found = shared_server("serve", "--detach", **settings)["server"]
    assert models({"address": found["http"], "token_file": str(home / "http-token")})


@pytest.mark.slow
def test_a_port_of_the_settings_that_is_taken_keeps_nobody_from_the_socket(shared_server: Ragmacs, home: Path) -> None:
    with listening(0) as taken:
        settings = {"RAGMACS_SERVE_HTTP": "true", "RAGMACS_SERVE_HTTP_PORT": str(taken.getsockname()[1])}
        assert shared_server("serve", "--detach", **settings)["server"]["http"] == ""
    assert "not on HTTP: port" in (home / "cache" / "server.log").read_text()


@pytest.mark.shared
@pytest.mark.slow
def test_the_conformance_checker_finds_no_failure_in_mcp_over_http(shared_server: Ragmacs, shared: Path) -> None:
    opened = shared_server("serve", "--detach", "--http", "0")
    checker = [sys.executable, str(shared / "protocol" / CHECKER), "--http", f"{opened['address']}/mcp"]
    checker += ["--config", str(shared / "protocol" / "peer_mcp_http.json")]
    checker += ["--token", Path(opened["token_file"]).read_text()]
    done = subprocess.run(checker, env=dict(os.environ), capture_output=True, text=True, timeout=280)
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert (failed, done.returncode) == ([], 0)
