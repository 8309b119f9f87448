"""What users have at hand speaks to the HTTP server: curl as README shows it, and clients that are in a hurry."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragmacs_srv import settings
from ragmacs_srv.app import App
from ragmacs_srv.serve import openai
from tests.llm_server import PATIENCE
from tests.serve.test_openai import PATH, QUESTION, TOKEN, Served, asking, served

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
CURL = re.findall(r"^(curl http://127.0.0.1:8425/.*?)^```", README, re.MULTILINE | re.DOTALL)
ADDRESS = "http://127.0.0.1:8425"
TOKEN_FILE = "~/.local/share/ragmacs/http-token"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One without an LLM, for all tests here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAGMACS_HOME", str(tmp_path_factory.mktemp("home")))
        with served() as made:
            yield made


def curled(command: str, address: str, token_file: Path) -> str:
    """What COMMAND of README prints, asked at ADDRESS."""
    shown = command.replace(ADDRESS, address).replace(TOKEN_FILE, str(token_file))
    assert shown.count(address) == shown.count(str(token_file)) == 1
    done = subprocess.run(["sh", "-c", shown], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_as_readme_shows_it_gets_an_answer_streaming_and_not(server: Served, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    stream = curled(CURL[0], server.url, tmp_path / "token")
    *events, last = [line.removeprefix("data: ") for line in stream.splitlines() if line.startswith("data: ")]
    pieces = [choice["delta"].get("content", "") for each in events for choice in json.loads(each)["choices"]]
    whole = json.loads(curled(CURL[0].replace("true", "false"), server.url, tmp_path / "token"))
    assert "".join(pieces) == whole["choices"][0]["message"]["content"]
    assert "GOGC" in "".join(pieces)
    assert last == "[DONE]"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_as_readme_shows_it_calls_a_tool(home: Path) -> None:
    environ = {"RAGMACS_HOME": str(home), "RAGMACS_SEARCH_MODE": "lexical"}
    with App(settings.load(environ), environ) as app, openai.serving(app, 0, home / "token") as address:
        reply = json.loads(curled(CURL[1], address, home / "token"))
    assert "handbook:gogc-and-gomemlimit" in reply["result"]["content"][0]["text"]


def test_of_requests_sent_at_once_the_first_is_answered_and_the_connection_closed(server: Served) -> None:
    """One request each: a client that sends the next before it has read the answer has to ask again."""
    body = json.dumps(asking(QUESTION)).encode()
    with server.raw((server.head(length=len(body)) + body) * 3) as line:
        reply = line.makefile("rb").read()
    assert reply.startswith(b"HTTP/1.1 200")
    assert reply.lower().count(b"connection: close") == reply.count(b"HTTP/1.1") == 1
    assert server.ask("POST", PATH, asking(QUESTION))[0] == 200


@pytest.mark.slow
def test_a_hundred_megabytes_are_refused_while_others_are_served(server: Served) -> None:
    with server.raw(server.head(length=100 << 20)) as line:
        line.sendall(b" " * (1 << 20))
        assert server.ask("GET", "/healthz")[0] == 200
        assert line.makefile("rb").read().startswith(b"HTTP/1.1 413")
