"""An MCP client of either era calls the tools, hears how far they are, stops them, and reads what is indexed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import anyio
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from ragmacs_srv import settings
from ragmacs_srv.app import App
from ragmacs_srv.events import Progress
from ragmacs_srv.serve import mcp, openai
from tests.conftest import Cli
from tests.serve.mcp_server import toolbox
from tests.serve.toolbox import TOOLS

SERVER = [sys.executable, "-m", "tests.serve.mcp_server"]
ROOT = Path(__file__).parents[2]
ERAS = {"old": "legacy", "new": "2026-07-28"}
META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}

Script = Callable[[Client], Awaitable[Any]]
Talk = Callable[[Script], Any]


@dataclass(frozen=True)
class Served:
    """An HTTP server, and what it asks its clients for."""

    address: str
    token: str

    @property
    def port(self) -> int:
        return urlsplit(self.address).port or 0

    def transport(self) -> Any:
        client = httpx2.AsyncClient(headers={"Authorization": f"Bearer {self.token}"}, timeout=120, trust_env=False)
        return streamable_http_client(f"{self.address}/mcp", http_client=client)

    def post(self, body: bytes, **headers: str) -> tuple[int, Any]:
        """(status, JSON or None) of a message as a shell script sends it."""
        sent = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json", "Accept": "*/*"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request("POST", "/mcp", body, sent)
            reply = connection.getresponse()
            read = reply.read()
            return reply.status, json.loads(read) if read else None
        finally:
            connection.close()


@contextmanager
def served(environ: Mapping[str, str]) -> Iterator[Served]:
    """What `ragmacs serve --http` serves, in this process."""
    made = settings.load(environ, {"search.mode": "lexical"})
    with App(made, environ) as app, openai.serving(app, 0, made.folders.http_token) as address:
        yield Served(address, made.folders.http_token.read_text())


@pytest.fixture(scope="module")
def running() -> Iterator[Served]:
    """One server over HTTP for all tests here: what a call does is over when its test is."""
    with tempfile.TemporaryDirectory() as folder, toolbox(), served({"RAGMACS_HOME": folder}) as made:
        yield made


@pytest.fixture(params=ERAS)
def talk(request: pytest.FixtureRequest, running: Served) -> Talk:
    """Run a script with a client of this era, over HTTP."""
    return lambda script: talked(running.transport(), ERAS[request.param], script)


@pytest.fixture(params=ERAS)
def pipe(request: pytest.FixtureRequest) -> Talk:
    """Run a script with a client of this era, over pipes."""
    server = StdioServerParameters(command=SERVER[0], args=SERVER[1:], env=dict(os.environ), cwd=ROOT)
    return lambda script: talked(server, ERAS[request.param], script)


def talked(server: Any, mode: str, script: Script) -> Any:
    async def main() -> Any:
        with anyio.fail_after(120):
            async with Client(server, mode=mode) as client:
                return await script(client)

    return anyio.run(main)


def text(result: Any) -> str:
    return str(result.content[0].text)


def test_every_tool_is_listed_as_the_registry_has_it(talk: Talk) -> None:
    listed = talk(lambda client: client.list_tools()).tools
    assert [each.name for each in listed] == list(TOOLS)
    assert [each.input_schema for each in listed] == [each.parameters for each in TOOLS.values()]
    assert [each.description for each in listed] == [each.description for each in TOOLS.values()]


def test_a_tool_says_what_wants_consent(talk: Talk) -> None:
    listed = {each.name: each.annotations for each in talk(lambda client: client.list_tools()).tools}
    hints = {
        name: (each.read_only_hint, each.destructive_hint, each.open_world_hint)
        for name, each in listed.items()
        if each is not None
    }
    assert (hints["change"], hints["echo"]) == ((False, True, True), (True, False, False))


def test_a_call_gives_text_and_its_structured_twin(talk: Talk) -> None:
    async def script(client: Client) -> Any:
        return await client.call_tool("echo", {"text": "größe 🐹\n", "times": 2})

    result = talk(script)
    assert (text(result), result.is_error) == ("größe 🐹\n" * 2, False)
    assert result.structured_content == {"text": "größe 🐹\n", "times": 2}


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("refuse", {}, "Error: https://go.dev/nowhere answered 404. Hint: look at the address"),
        ("echo", {"text": "a", "times": "many"}, "Error: the argument 'times' must be a whole number"),
        ("echo", {}, "Error: echo needs the argument 'text'"),
        ("stumble", {}, "Error: internal error: ZeroDivisionError"),
    ],
)
def test_a_failure_is_a_result_without_our_codes(talk: Talk, name: str, arguments: dict[str, Any], said: str) -> None:
    async def script(client: Client) -> tuple[Any, Any]:
        return await client.call_tool(name, arguments), await client.call_tool("echo", {"text": "alive"})

    failed, after = talk(script)
    assert failed.is_error and text(failed).startswith(said)
    assert "-32" not in failed.model_dump_json()
    assert text(after) == "alive"


def test_a_tool_that_is_not_there_is_an_error_of_the_protocol(talk: Talk) -> None:
    async def script(client: Client) -> MCPError:
        with pytest.raises(MCPError) as caught:
            await client.call_tool("x" * 10_000)
        return caught.value

    error = talk(script)
    assert error.code == -32602
    assert len(error.message) < 300


def test_progress_rises_through_every_job(talk: Talk) -> None:
    heard: list[tuple[float, float | None, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    async def script(client: Client) -> Any:
        return await client.call_tool("count", {"to": 3}, progress_callback=hear)

    assert text(talk(script)) == "counted"
    assert heard == [
        *[(n, 3, "read") for n in range(4)],
        *[(n, 6, "embed") for n in range(4, 7)],
    ]


def test_a_client_that_does_not_ask_hears_no_progress(talk: Talk) -> None:
    heard: list[Any] = []

    async def script(client: Client) -> Any:
        return await client.call_tool("count", {"to": 3})

    assert text(talk(script)) == "counted"
    assert heard == []


def cancelling(tool: str, folder: Path) -> Script:
    """Call TOOL, cancel when it is heard of, wait until it has stopped, and see that the server lives."""

    async def script(client: Client) -> str:
        async with anyio.create_task_group() as tasks:

            async def hear(*_: Any) -> None:
                tasks.cancel_scope.cancel()

            async def call() -> None:
                await client.call_tool(tool, {"folder": str(folder)}, progress_callback=hear)

            tasks.start_soon(call)
        while not (folder / "stopped").exists():
            await anyio.lowlevel.checkpoint()
        return text(await client.call_tool("echo", {"text": "alive"}))

    return script


@pytest.mark.parametrize("tool", ["linger", "flood"])
def test_cancelling_stops_the_work(talk: Talk, tmp_path: Path, tool: str) -> None:
    """Also when it is in the middle of telling how far it is."""
    assert talk(cancelling(tool, tmp_path)) == "alive"


@pytest.mark.slow
def test_the_same_is_true_of_pipes(pipe: Talk, tmp_path: Path) -> None:
    heard: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)

    async def script(client: Client) -> None:
        assert [each.name for each in (await client.list_tools()).tools] == list(TOOLS)
        said = await client.call_tool("echo", {"text": "größe 🐹\n"})
        assert (text(said), said.structured_content) == ("größe 🐹\n", {"text": "größe 🐹\n", "times": 1})
        failed = await client.call_tool("refuse")
        assert failed.is_error and text(failed).startswith("Error: https://go.dev/nowhere answered 404")
        assert text(await client.call_tool("count", {"to": 3}, progress_callback=hear)) == "counted"
        assert heard == [*range(7)]
        listed = (await client.list_resources()).resources
        assert (await client.read_resource(listed[-1].uri)).contents
        for tool in ("linger", "flood"):
            folder = tmp_path / tool
            folder.mkdir()
            assert await cancelling(tool, folder)(client) == "alive"

    pipe(script)


def test_resources_are_paged_and_read(talk: Talk) -> None:
    async def script(client: Client) -> tuple[Any, Any, Any, Any]:
        listed = await client.list_resources()
        page = next(each for each in listed.resources if each.uri.endswith("arenas"))
        return (
            listed.resources,
            await client.list_resource_templates(),
            await client.read_resource(page.uri),
            await client.read_resource("ragmacs://collection/handbook"),
        )

    listed, templates, page, collection = talk(script)
    assert listed[0].uri == "ragmacs://collection/handbook"
    assert [each.uri_template for each in templates.resource_templates] == [
        "ragmacs://page/{url}",
        "ragmacs://collection/{name}",
    ]
    assert page.contents[0].mime_type == "text/markdown"
    assert page.contents[0].text.startswith("# Do not wait for arenas")
    assert "(handbook:arenas)" in collection.contents[0].text


@pytest.mark.parametrize(
    "uri", ["ragmacs://page/https%3A%2F%2Fgo.dev%2Fnowhere", "ragmacs://collection/nowhere", "x:y"]
)
def test_a_resource_that_is_not_there_is_named(talk: Talk, uri: str) -> None:
    async def script(client: Client) -> MCPError:
        with pytest.raises(MCPError) as caught:
            await client.read_resource(uri)
        return caught.value

    error = talk(script)
    assert error.code in {-32602, -32002}
    assert "nowhere" in error.message or "x:y" in error.message


def test_a_cursor_that_was_never_given_is_wrong(talk: Talk) -> None:
    async def script(client: Client) -> MCPError:
        with pytest.raises(MCPError) as caught:
            await client.list_resources(cursor="bogus")
        return caught.value

    assert talk(script).code == -32602


def test_a_client_over_http_that_hangs_up_stops_its_work(running: Served, tmp_path: Path) -> None:
    """From 2026-07-28 on, closing the stream is how a request is cancelled."""
    params = {"name": "linger", "arguments": {"folder": str(tmp_path)}, "_meta": META}
    body = message("tools/call", **params)
    head = (
        f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{running.port}\r\nContent-Type: application/json\r\n"
        f"Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n"
        f"Authorization: Bearer {running.token}\r\n"
        f"Mcp-Method: tools/call\r\nMcp-Name: linger\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", running.port)) as client:
        client.sendall(head.encode() + body)
        _until(tmp_path / "begun")
    _until(tmp_path / "stopped")


def message(method: str, **params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()


def test_who_does_not_say_what_they_accept_accepts_anything(running: Served) -> None:
    body = message("tools/call", name="echo", arguments={"text": "x"})
    headers = {"Authorization": f"Bearer {running.token}", "Content-Type": "application/json"}
    with closing(HTTPConnection("127.0.0.1", running.port, timeout=120)) as connection:
        connection.request("POST", "/mcp", body, headers)
        assert connection.getresponse().status == 200


def test_one_request_without_a_greeting_gets_one_json_reply(running: Served) -> None:
    status, reply = running.post(message("tools/call", name="echo", arguments={"text": "größe"}))
    assert (status, reply["id"], reply["result"]["content"][0]["text"]) == (200, 1, "größe")
    assert running.post(b'{"jsonrpc": "2.0", "method": "notifications/x"}') == (202, None)


def test_a_page_of_another_origin_and_who_has_no_token_reach_no_tool(running: Served, tmp_path: Path) -> None:
    call = message("tools/call", name="linger", arguments={"folder": str(tmp_path)})
    for status, headers in [
        (403, {"Origin": "https://evil.test"}),
        (403, {"Host": f"evil.test:{running.port}"}),
        (401, {"Authorization": "Bearer x"}),
        (415, {"Content_Type": "text/plain"}),
    ]:
        assert running.post(call, **headers)[0] == status
    assert not list(tmp_path.iterdir())


def test_a_message_over_http_that_is_too_large_is_refused(running: Served) -> None:
    for times in (1, 3):  # more than a message may have, and more than any body
        status, reply = running.post(message("ping", x="y" * times * mcp.MAX_MESSAGE))
        assert (status, reply["error"]["code"], "MiB" in reply["error"]["message"]) == (413, -32600, True)


@pytest.mark.slow
def test_a_server_that_ends_ends_calls_and_open_streams(tmp_path: Path, home: Path) -> None:
    """An old client keeps a stream open for what it may be told; no one waits for it."""

    async def script(client: Client) -> None:
        async def call() -> None:
            with suppress(MCPError):
                await client.call_tool("linger", {"folder": str(tmp_path)})

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            while not (tmp_path / "begun").exists():
                await anyio.lowlevel.checkpoint()
            await anyio.to_thread.run_sync(stack.close)
            tasks.cancel_scope.cancel()

    with ExitStack() as stack:
        stack.enter_context(toolbox())
        made = stack.enter_context(served({"RAGMACS_HOME": str(home)}))
        talked(made.transport(), "legacy", script)
    assert (tmp_path / "stopped").exists()


def test_without_the_sdk_only_the_path_of_mcp_is_missing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ragmacs_srv.serve.mcp")
    monkeypatch.delattr("ragmacs_srv.serve.mcp")
    monkeypatch.setitem(sys.modules, "mcp_types", None)
    with served({"RAGMACS_HOME": str(home)}) as made:
        status, reply = made.post(message("ping"))
        assert (status, reply["error"]["code"]) == (501, -32603)
        assert "pip install 'ragmacs-srv[mcp]'" in reply["error"]["message"]
        with urlopen(f"{made.address}/healthz") as other:
            assert other.status == 200


# The wire of stdio, as mcp.el sees it


class Wire:
    """A server on pipes that is spoken to in lines."""

    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen(
            command or SERVER, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def send(self, message: object) -> None:
        assert self.process.stdin is not None
        line = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.process.stdin.write(line + b"\r\n")  # as mcp.el ends its lines
        self.process.stdin.flush()

    def receive(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def ask(self, ident: int | str, method: str, **params: Any) -> Any:
        self.send({"jsonrpc": "2.0", "id": ident, "method": method, "params": params})
        answer = self.receive()
        assert answer["id"] == ident
        return answer["result"]

    def greet(self, version: str = "2025-03-26") -> Any:
        client = {"name": "mcp-emacs", "version": "0.1.0"}
        made = self.ask(0, "initialize", protocolVersion=version, capabilities={}, clientInfo=client)
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return made


@pytest.mark.slow
@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
def test_the_client_chooses_the_version(version: str) -> None:
    """mcp.el ends the connection when it hears of another than it knows."""
    with Wire() as wire:
        assert wire.greet(version)["protocolVersion"] == version
        assert [each["name"] for each in wire.ask(1, "tools/list")["tools"]] == list(TOOLS)


@pytest.mark.slow
def test_the_current_version_needs_no_greeting() -> None:
    with Wire() as wire:
        assert "2026-07-28" in wire.ask(1, "server/discover", _meta=META)["supportedVersions"]
        listed = wire.ask(2, "tools/list", _meta=META)
        assert listed["resultType"] == "complete"
        assert listed["ttlMs"] > 0


@pytest.mark.slow
def test_nothing_but_messages_reaches_the_wire() -> None:
    """Also what was printed into a buffer, which is flushed when the process ends."""
    with Wire() as wire:
        wire.greet()
        assert wire.ask(1, "tools/call", name="chatter", arguments={})["content"][0]["text"] == "said nothing"
        out, err = wire.process.communicate(timeout=60)
    assert out == b""
    for stray in (b"stray print", b"stray write", b"stray child"):
        assert stray in err


@pytest.mark.slow
def test_a_child_process_cannot_read_the_wire() -> None:
    with Wire() as wire:
        wire.greet()
        assert wire.ask(1, "tools/call", name="swallow", arguments={})["content"][0]["text"] == "0 bytes"
        assert wire.ask(2, "tools/list")


@pytest.mark.parametrize(
    ("line", "ident", "code"),
    [
        (b"nonsense", None, -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":NaN}}', None, -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"\xff"}', None, -32700),
        (b"[" * 100_000, None, -32700),
        (b"[]", None, -32600),
        (b"1", None, -32600),
        (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', 1, -32600),
        (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', None, -32600),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', None, -32600),
        (b'{"jsonrpc":"2.0","id":"a","method":7}', "a", -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":"x"}', 1, -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}', 1, -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"' + b"m" * 1000 + b'"}', 1, -32600),
        (b'{"jsonrpc":"2.0","id":1}', 1, -32600),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_what_is_no_message_gets_one_error(line: bytes, ident: object, code: int) -> None:
    error = mcp.refusal(line)
    assert error is not None
    assert (error["id"], error["error"]["code"]) == (ident, code)


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","id":1,"method":"ping"}',
        b' {"jsonrpc":"2.0","id":"x","method":"ping","params":{},"more":1} ',
        b'{"jsonrpc":"2.0","id":1,"result":{}}',
        b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":[1]}',  # a notification is never answered
        b"\r\n",
    ],
)
def test_what_is_a_message_is_left_to_the_sdk(line: bytes) -> None:
    assert mcp.refusal(line) is None


@pytest.mark.slow
def test_a_line_without_an_end_is_skipped_and_the_next_is_answered() -> None:
    with Wire() as wire:
        wire.greet()
        wire.send(b"x" * (3 * mcp.MAX_MESSAGE))
        assert wire.receive()["error"]["code"] == -32600
        assert wire.ask(1, "ping") == {}


@pytest.mark.slow
def test_a_server_ends_with_its_client() -> None:
    with Wire() as wire:
        wire.greet()
        wire.process.communicate(timeout=60)
        assert wire.process.returncode == 0


@pytest.mark.slow
def test_a_server_that_is_asked_to_end_stops_its_work_first(tmp_path: Path) -> None:
    with Wire() as wire:
        wire.greet()
        call = {"name": "linger", "arguments": {"folder": str(tmp_path)}}
        wire.send({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call})
        _until(tmp_path / "begun")
        wire.process.send_signal(signal.SIGTERM)
        assert wire.process.wait(60) == 0
    assert (tmp_path / "stopped").exists()


@pytest.mark.slow
def test_a_client_that_is_gone_without_a_word_is_no_failure(tmp_path: Path) -> None:
    with Wire() as wire:
        wire.greet()
        assert wire.process.stdout is not None
        wire.process.stdout.close()
        wire.send({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        assert wire.process.wait(60) == 0
        assert wire.process.stderr is not None
        assert b"Traceback" not in wire.process.stderr.read()


def _until(path: Path) -> None:
    while not path.exists():
        os.sched_yield()


def test_a_job_that_begins_again_does_not_fall_back() -> None:
    rising = mcp.Rising()
    said = [rising(Progress(job, done, None)) for job, done in [("a", 0), ("a", 2), ("a", 1), ("b", 0), ("b", 1)]]
    assert said == [0, 2, None, None, 3]


@pytest.mark.slow
def test_the_command_ends_when_it_is_asked_to() -> None:
    with Wire(sys.executable, "-m", "ragmacs_srv", "mcp") as wire:
        wire.greet()
        wire.process.send_signal(signal.SIGTERM)
        assert wire.process.wait(60) == 0


def test_without_the_sdk_the_command_says_what_to_install(run: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ragmacs_srv.serve.mcp")
    monkeypatch.delattr("ragmacs_srv.serve.mcp")
    monkeypatch.setitem(sys.modules, "mcp_types", None)
    done = run("mcp")
    assert (done.code, done.out) == (78, "")
    assert "pip install 'ragmacs-srv[mcp]'" in done.err
