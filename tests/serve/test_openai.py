"""The HTTP server as its clients see it: a real uvicorn on loopback, an LLM that follows a script behind it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import openai
import pytest

from ragmacs_srv import settings
from ragmacs_srv.app import App
from ragmacs_srv.errors import Busy, StorageError
from ragmacs_srv.serve import openai as endpoint
from ragmacs_srv.serve.loopback import listening, protocol, running
from ragmacs_srv.serve.refusal import Refusal
from ragmacs_srv.serve.token import issued
from tests.conftest import Cli
from tests.llm_server import PATIENCE, Act, Reply, chunk, delta, finish, refuses, says, scripted
from tests.search import library

TOKEN = "t" * 43
QUESTION = "When should I use sync.Pool?"
PATH = "/v1/chat/completions"


@dataclass
class Served:
    """A running server, and one plain way to ask it."""

    port: int
    app: App

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=TOKEN, max_retries=0, timeout=PATIENCE)

    def ask(self, method: str = "POST", path: str = PATH, body: Any = None, **headers: str | None) -> tuple[int, Any]:
        """(status, JSON); HEADERS by their names with underscores, None leaves one out."""
        sent = {
            "Authorization": f"Bearer {TOKEN}",
            "Content-Type": "application/json",
            "Host": f"127.0.0.1:{self.port}",
        }
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}  # type: ignore[misc]
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.putrequest(method, path, skip_host=True)
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
        for name, value in {**sent, "Content-Length": str(len(data))}.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(data)
        try:
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read())
        finally:
            connection.close()

    def raw(self, sent: bytes, *, receive: int = 0) -> socket.socket:
        """A connection that has sent SENT, with a receive buffer of that many bytes."""
        made = socket.socket()
        if receive:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        made.settimeout(PATIENCE)
        made.connect(("127.0.0.1", self.port))
        made.sendall(sent)
        return made

    def put(self, body: Any, **options: Any) -> socket.socket:
        """A connection that has asked BODY and reads nothing yet."""
        data = json.dumps(body).encode()
        return self.raw(self.head(length=len(data)) + data, **options)

    def head(self, *, length: int | None, **more: str) -> bytes:
        """The headers of a question as a client sends them."""
        lines = [f"POST {PATH} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", f"Authorization: Bearer {TOKEN}"]
        lines += ["Content-Type: application/json"] + ([f"Content-Length: {length}"] if length is not None else [])
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
        return "\r\n".join([*lines, "", ""]).encode()


def asking(text: Any = QUESTION, **more: Any) -> dict[str, Any]:
    return {"model": "ragmacs", "messages": [{"role": "user", "content": text}], **more}


@contextmanager
def served(llm: str = "", **options: Any) -> Iterator[Served]:
    """An App that searches by words alone, behind HTTP; LLM is the address of one. OPTIONS are limits."""
    times = {name: options.pop(name) for name in ("header_time", "stall_time", "connections") if name in options}
    environ = {**os.environ, "RAGMACS_SEARCH_MODE": "lexical", "RAGMACS_LLM_BASE_URL": llm, "RAGMACS_LLM_MODEL": "m"}
    with App(settings.load(environ), environ) as app, listening(0) as at:
        server = endpoint.Server(app, token=TOKEN, **options)
        with running(server, at, made=protocol(**times), ending=server.stop):
            yield Served(at.getsockname()[1], app)


@pytest.fixture(scope="module")
def server(handbook_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One without an LLM, for all tests that leave nothing behind."""
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(handbook_store, settings.folders({"RAGMACS_HOME": str(home)}).handbook)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAGMACS_HOME", str(home))
        with served() as made:
            yield made


def message(reply: tuple[int, Any]) -> tuple[int, str]:
    """(status, message) of an error, whose shape must be the one that clients know."""
    status, shape = reply
    assert shape.keys() == {"error"}
    assert shape["error"].keys() == {"message", "type", "code"}
    return status, shape["error"]["message"]


# Answers


def test_answer_ends_with_its_citations_as_links(server: Served) -> None:
    done = server.client.chat.completions.create(**asking())
    text = done.choices[0].message.content or ""
    assert "keeps a small cache for each processor" in text
    assert "\n\n[1] Use sync.Pool for short-lived buffers" in text
    assert "<handbook:sync-pool#when-to-use-syncpool>" in text
    assert (done.choices[0].finish_reason, done.model) == ("stop", "ragmacs")
    assert done.usage is not None
    assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens > 100


def test_streamed_answer_is_the_same_and_its_last_chunk_is_usage(server: Served) -> None:
    whole = server.client.chat.completions.create(**asking()).choices[0].message.content
    asked = server.client.chat.completions.create(**asking(stream=True, stream_options={"include_usage": True}))
    chunks = list(asked)
    assert "".join(each.choices[0].delta.content or "" for each in chunks[:-1]) == whole
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert (chunks[-1].choices, chunks[-1].usage is not None) == ([], True)


def test_request_as_gptel_sends_it_is_answered(server: Served) -> None:
    turns = [{"role": "system", "content": "You are a large language model living in Emacs."}]
    for n in range(10):
        turns += [{"role": "user", "content": f"What is {n}?"}, {"role": "assistant", "content": None}]
    turns += [{"role": "user", "content": [{"type": "text", "text": QUESTION}]}]
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    status, body = server.ask(body={"model": "ragmacs", "messages": turns, "tools": tools, "parallel_tool_calls": True})
    assert status == 200
    assert "sync.Pool" in body["choices"][0]["message"]["content"]


def test_models_are_all_that_is_indexed_and_each_collection(server: Served) -> None:
    assert [each.id for each in server.client.models.list()] == ["ragmacs", "ragmacs:handbook"]
    assert server.client.models.retrieve("ragmacs:handbook").owned_by == "ragmacs"
    status, _ = server.ask(body=asking(model="ragmacs:handbook"))
    assert status == 200


# Errors


def test_unknown_model_is_told_which_there_are(server: Served) -> None:
    for reply in (server.ask(body=asking(model="gpt-4")), server.ask("GET", "/v1/models/gpt-4")):
        status, text = message(reply)
        assert (status, "ragmacs, ragmacs:handbook" in text) == (404, True)


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("POST", PATH, b"{", {}, 400),
        ("POST", PATH, asking(messages=[]), {}, 400),
        ("POST", PATH, asking("x" * 5000), {}, 400),
        ("POST", PATH, asking("\0"), {}, 400),
        ("GET", PATH, None, {}, 405),
        ("DELETE", "/v1/models", None, {}, 405),
        ("OPTIONS", PATH, None, {}, 405),
        ("POST", "/v1/completions", asking(), {}, 404),
        ("GET", "/", None, {}, 404),
        ("GET", "/v1/models/", None, {}, 404),
        ("POST", PATH, asking(), {"Content_Type": "text/plain"}, 415),
        ("POST", PATH, asking(), {"Content_Type": None}, 415),
        ("POST", PATH, asking(), {"Authorization": None}, 401),
        ("POST", PATH, asking(), {"Authorization": "Bearer "}, 401),
        ("POST", PATH, asking(), {"Authorization": f"Bearer {TOKEN}x"}, 401),
        ("POST", PATH, asking(), {"Authorization": f"Basic {TOKEN}"}, 401),
        ("POST", PATH, asking(), {"Authorization": "Bearer t\xfc"}, 401),
        ("GET", "/v1/models", None, {"Authorization": None}, 401),
        ("GET", "/nowhere", None, {"Authorization": None}, 401),
        ("GET", "/healthz/", None, {"Authorization": None}, 401),
    ],
)
def test_error_has_its_status_and_the_shape_that_clients_show(
    server: Served, method: str, path: str, body: Any, headers: dict[str, str | None], status: int
) -> None:
    assert message(server.ask(method, path, body, **headers))[0] == status


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_only_loopback_names_with_the_port_are_our_host(server: Served, host: str) -> None:
    assert server.ask("GET", "/healthz", Host=f"{host}:{server.port}")[0] == 200
    for wrong in (host, f"{host}:1", f"x{host}:{server.port}", f"{host}.evil.test:{server.port}", "", None):
        assert server.ask("GET", "/healthz", Host=wrong)[0] in {400, 403}


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        ("http://127.0.0.1:8080", 200),
        ("http://localhost", 200),
        ("http://[::1]:3000", 200),
        ("https://evil.test", 403),
        ("http://127.0.0.1.evil.test", 403),
        ("http://localhost@evil.test", 403),
        ("http://[", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_pages_of_other_origins_are_refused(server: Served, origin: str | None, status: int) -> None:
    assert server.ask("GET", "/v1/models", Origin=origin)[0] == status


def test_health_is_the_only_open_path_and_says_nothing(server: Served) -> None:
    assert server.ask("GET", "/healthz", Authorization=None) == (200, {"status": "ok"})


def test_bug_of_ours_is_an_error_of_the_same_shape(handbook: Path) -> None:
    async def breaks(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    with served(mounts={"/other": breaks}) as made:
        status, text = message(made.ask(path="/other", body={}))
    assert (status, "ZeroDivisionError" in text) == (500, True)


def test_mounted_application_is_behind_the_same_guard(handbook: Path) -> None:
    async def greets(scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    with served(mounts={"/other": greets}) as made:
        assert made.ask(path="/other", body={"a": 1}) == (200, {"a": 1})
        assert made.ask(path="/other", body={}, Authorization=None)[0] == 401


def test_index_that_cannot_be_read_is_an_error_with_a_status(home: Path) -> None:
    with served() as made:
        library.build(home / "store")
        for manifest in (home / "store").glob("*/MANIFEST"):
            manifest.write_text("{")
        for stream in (False, True):
            status, _ = message(made.ask(body=asking(stream=stream)))
            assert status == 500


REWRITE = [
    {"role": "system", "content": "Generate ONLY the text, without any explanation or markdown code fences."},
    {"role": "user", "content": "teh"},
    {"role": "assistant", "content": "What is the required change?  I will generate only the final replacement."},
    {"role": "user", "content": "fix the spelling"},
]  # fmt: skip


def test_rewriting_is_refused_without_a_model(server: Served) -> None:
    status, text = message(server.ask(body=asking(messages=REWRITE, stream=True)))
    assert (status, "gptel-rewrite" in text) == (400, True)


# With an LLM


def test_llm_writes_the_answer_and_its_citations_are_ours(handbook: Path) -> None:
    with scripted(says("Use it for ", "buffers [1].")) as llm, served(llm.url) as made:
        text = made.client.chat.completions.create(**asking()).choices[0].message.content or ""
        prompt = llm.requests[0].body["messages"]
    assert text.startswith("Use it for buffers [1].\n\n[1] Use sync.Pool")
    assert [each["role"] for each in prompt] == ["system", "user"]
    assert QUESTION in prompt[1]["content"]


def test_pieces_arrive_while_the_llm_still_writes(handbook: Path) -> None:
    gate = threading.Event()
    with scripted(Reply([delta("one"), gate, delta(" two"), finish()])) as llm, served(llm.url) as made:
        chunks = made.client.chat.completions.create(**asking(stream=True))
        first = next(chunks).choices[0].delta.content
        gate.set()
        rest = "".join(each.choices[0].delta.content or "" for each in chunks)
    assert (first, rest[:4]) == ("one", " two")


def test_comments_keep_the_stream_alive_while_nothing_is_found_yet(handbook: Path) -> None:
    gate = threading.Event()
    slow = Reply([delta("at last"), finish()], before=[gate])
    with scripted(slow) as llm, served(llm.url, patience=0.0, beat=0.01) as made, made.put(asking(stream=True)) as line:
        reply = line.makefile("rb")
        seen = [reply.readline() for _ in range(40)]
        gate.set()
        seen += reply.readlines()
    assert seen[0].startswith(b"HTTP/1.1 200")
    assert seen.count(b": keepalive\n") >= 2
    assert b"at last" in b"".join(seen)


def test_failure_after_the_headers_is_visible_text(handbook: Path) -> None:
    gate = threading.Event()
    broken = Reply([delta(None, tool_calls=[{"index": 0}]), gate])
    with scripted(broken) as llm, served(llm.url) as made:
        chunks = made.client.chat.completions.create(**asking(stream=True, tools=TOOLS))
        next(chunks)
        gate.set()
        *_, text, last = chunks
    assert "[ragmacs error: " in (text.choices[0].delta.content or "")
    assert "broke off" in (text.choices[0].delta.content or "")
    assert last.choices[0].finish_reason == "stop"


TOOLS: Any = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def test_tools_are_the_models_business(handbook: Path) -> None:
    calling = Reply([delta(None, tool_calls=[CALL]), finish("tool_calls"), chunk(None)])
    with scripted(calling) as llm, served(llm.url) as made:
        chunks = list(made.client.chat.completions.create(**asking(stream=True, tools=TOOLS, temperature=0.5)))
    calls = chunks[0].choices[0].delta.tool_calls or []
    assert [call.function.name for call in calls if call.function] == ["f"]
    assert llm.requests[0].body == {**asking(stream=True, tools=TOOLS, temperature=0.5), "model": "m"}


def test_rewriting_is_the_models_business_too(handbook: Path) -> None:
    whole = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "the"}, "finish_reason": "stop"}]}
    reply = Reply([json.dumps(whole).encode()], 200, {"Content-Type": "application/json"})
    with scripted(reply) as llm, served(llm.url) as made:
        assert made.ask(body=asking(messages=REWRITE)) == (200, whole)
    assert llm.requests[0].body["messages"] == REWRITE


@pytest.mark.parametrize(("theirs", "ours"), [(400, 400), (429, 429), (401, 502), (404, 502), (500, 502)])
def test_refusal_of_the_llm_has_a_status_that_says_whose_it_is(handbook: Path, theirs: int, ours: int) -> None:
    with scripted(refuses(theirs, "no way")) as llm, served(llm.url) as made:
        status, text = message(made.ask(body=asking(stream=True, tools=TOOLS)))
    assert (status, "no way" in text) == (ours, True)


def test_llm_that_is_down_leaves_the_extracted_answer_and_a_note(handbook: Path) -> None:
    with listening(0) as nobody:
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"
    with served(url) as made:
        text = made.client.chat.completions.create(**asking()).choices[0].message.content or ""
    assert "keeps a small cache for each processor" in text
    assert "[ragmacs: cannot connect to" in text


# Clients that leave, dawdle, or send too much


@pytest.mark.parametrize("tools", [[], TOOLS], ids=["ask", "relay"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_client_that_leaves_stops_the_llm(handbook: Path, stream: bool, tools: Any) -> None:
    with scripted(Reply(before=[Act.HANG])) as llm, served(llm.url) as made:
        with made.put(asking(stream=stream, tools=tools)):
            llm.next_request()
        assert llm.hung_up.wait(PATIENCE)
        assert made.ask("GET", "/healthz")[0] == 200


def test_client_that_stops_reading_is_given_up_and_the_llm_with_it(handbook: Path) -> None:
    def endless() -> Iterator[str]:
        while True:
            yield delta("x" * 10_000)

    with scripted(Reply(endless())) as llm, served(llm.url, stall_time=0.1) as made:
        line = made.put(asking(stream=True, tools=TOOLS), receive=4096)
        llm.next_request()
        assert line.recv(1)
        for thread in answers():
            thread.join(PATIENCE)
        assert answers() == []
        line.close()


def answers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "answer"]


def test_end_of_the_server_ends_the_streams(handbook: Path) -> None:
    with scripted(Reply([delta("one"), Act.HANG])) as llm:
        with served(llm.url) as made:
            line = made.put(asking(stream=True, tools=TOOLS))
            reply = line.makefile("rb")
            while b"one" not in reply.readline():
                pass
        assert b"[ragmacs error: the server is stopping" in reply.read()
        line.close()
        assert llm.hung_up.wait(PATIENCE)
    assert answers() == []


def test_more_questions_than_fit_are_told_to_come_back(handbook: Path) -> None:
    hang = Reply([Act.HANG])
    with scripted(hang) as llm, served(llm.url, slots=1, queue=0) as made, made.put(asking()):
        llm.next_request()
        with made.put(asking()) as second:
            reply = second.makefile("rb").read()
    assert reply.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 2" in reply.lower()
    assert b'"code": "busy"' in reply


def test_question_waits_for_a_place_when_there_is_room(handbook: Path) -> None:
    gate = threading.Event()
    first = Reply([delta("one"), gate, finish()])
    second = says("two [1]")
    with scripted(first, second) as llm, served(llm.url, slots=1, queue=1) as made, made.put(asking()) as line:
        llm.next_request()
        with made.put(asking()) as later:
            gate.set()
            assert b"one" in line.makefile("rb").read()
            assert b"two [1]" in later.makefile("rb").read()


def test_place_in_the_queue_is_free_again_when_its_client_leaves() -> None:
    async def takes_a_place(desk: endpoint.Desk) -> bool:
        async with desk.place():
            return True

    async def scene() -> None:
        desk = endpoint.Desk(slots=1, queue=1)
        async with desk.place():
            waiting = asyncio.create_task(takes_a_place(desk))
            await asyncio.sleep(0)  # it takes its place
            with pytest.raises(Refusal):
                await takes_a_place(desk)
            waiting.cancel()
            await asyncio.wait({waiting})
            later = asyncio.create_task(takes_a_place(desk))
            await asyncio.sleep(0)
        assert await later

    asyncio.run(scene())


def test_nobody_who_sends_nothing_is_waited_for(handbook: Path) -> None:
    with served(header_time=0.05, body_time=0.05) as made:
        for start in (b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: "):
            with made.raw(start) as line:
                assert b"408" in line.makefile("rb").read()
        for length in (2, 5_000_000):
            with made.raw(made.head(length=length) + b"{") as line:
                assert b"408" in line.makefile("rb").read()


def test_connections_beyond_the_bound_are_told_so(handbook: Path) -> None:
    with served(connections=1) as made, made.raw(b"GET"), made.raw(b"") as second:
        reply = second.makefile("rb").read()
    assert reply.startswith(b"HTTP/1.1 503 Service Unavailable")
    assert b'"code": "busy"' in reply


@pytest.mark.parametrize(
    "sent",
    [b"\x16\x03\x01\x02\x00\x01\n\n", b"GET /\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
     b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
     b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n",
     b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000],
    ids=["tls", "HTTP/0.9", "no host", "two hosts", "negative length", "long target", "many headers"],
)  # fmt: skip
def test_what_is_no_bearable_http_gets_400_in_the_usual_shape(server: Served, sent: bytes) -> None:
    with server.raw(sent) as line:
        head, _, body = line.makefile("rb").read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert json.loads(body)["error"]["code"] == "invalid_http"


def test_body_that_is_too_large_is_refused_and_the_answer_arrives(handbook: Path) -> None:
    with served(max_body=100_000) as made:
        assert message(made.ask(body=b" " * 3_000_000))[0] == 413
        with made.raw(made.head(length=None, Transfer_Encoding="chunked")) as line:
            for _ in range(5):
                line.sendall(b"7530\r\n" + b" " * 30_000 + b"\r\n")
            line.sendall(b"0\r\n\r\n")
            assert line.makefile("rb").read().startswith(b"HTTP/1.1 413")


def test_header_that_announces_a_body_beyond_measure_is_refused_at_once(server: Served) -> None:
    with server.raw(server.head(length=10**15, Expect="100-continue")) as line:
        assert line.makefile("rb").read().startswith(b"HTTP/1.1 413")


# gptel sends what is over a megabyte with `Expect: 100-continue`, and takes an error behind a 100 for an empty success.


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize(
    ("token", "model", "status"),
    [(TOKEN, "ragmacs", 200), (TOKEN, "nope", 404), ("wrong", "ragmacs", 401)],
    ids=["answered", "refused for its body", "refused for its headers"],
)
def test_prompt_of_two_megabytes_gets_one_status(
    server: Served, tmp_path: Path, token: str, model: str, status: int
) -> None:
    turns = [{"role": "system", "content": "x" * 2_000_000}, {"role": "user", "content": QUESTION}]
    (tmp_path / "body").write_text(json.dumps(asking(model=model, messages=turns)))
    headers = ["-H", f"Authorization: Bearer {token}", "-H", "Content-Type: application/json"]
    command = [
        "curl",
        "--disable",
        "--silent",
        "--expect100-timeout",
        "0.1",
        "-i",
        "-XPOST",
        *headers,
        "--data-binary",
        f"@{tmp_path / 'body'}",
    ]
    done = subprocess.run([*command, server.url + PATH], capture_output=True, timeout=PATIENCE)
    statuses = [line for line in done.stdout.splitlines() if line.startswith(b"HTTP/")]
    assert [line.split()[1] for line in statuses] == [str(status).encode()]
    assert b'"content": "' in done.stdout or b'"message"' in done.stdout


def test_expectation_is_never_answered_with_a_100(server: Served) -> None:
    body = json.dumps(asking(model="nope")).encode()
    with server.raw(server.head(length=len(body), Expect="100-continue") + body) as line:
        assert line.makefile("rb").read().startswith(b"HTTP/1.1 404")


# The token, the port, the command


def test_token_is_new_random_and_for_our_eyes_only(tmp_path: Path) -> None:
    path = tmp_path / "data" / "http-token"
    with issued(path) as first:
        assert path.read_text() == first
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert len(first) >= 43
        with issued(path) as second:
            assert path.read_text() == second != first
        assert not path.exists()
    assert list(path.parent.iterdir()) == []


def test_token_of_a_later_server_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "http-token"
    with issued(path):
        path.write_text("another")
    assert path.read_text() == "another"


def test_token_replaces_a_link_and_not_what_it_leads_to(tmp_path: Path) -> None:
    path, other = tmp_path / "http-token", tmp_path / "other"
    other.write_text("precious")
    path.symlink_to(other)
    with issued(path) as token:
        assert path.read_text() == token
    assert other.read_text() == "precious"


def test_token_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="token"), issued(tmp_path / "file" / "http-token"):
        pass


def test_config_names_the_file_of_the_token(run: Cli, home: Path) -> None:
    assert run("config", "--json").json["token_file"] == str(home / "http-token")
    assert str(home / "http-token") in run("config").out


def test_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with listening(0) as bound, pytest.raises(Busy, match="in use"), listening(bound.getsockname()[1]):
        pass


@pytest.mark.slow
def test_command_says_where_it_listens_and_ends_quietly(handbook: Path, home: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "ragmacs_srv", "serve", "--http", "0", "--json"]
    environ = {**os.environ, "RAGMACS_SEARCH_MODE": "lexical", "TMPDIR": str(home.parent), "XDG_RUNTIME_DIR": ""}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        said = json.loads(b"".join(iter(process.stdout.readline, b"}\n")) + b"}")
        token = Path(said["token_file"]).read_text()
        asked = openai.OpenAI(base_url=f"{said['address']}/v1", api_key=token)
        assert [each.id for each in asked.models.list()] == ["ragmacs", "ragmacs:handbook"]
        process.terminate()
        assert process.stderr.read() == b""
    assert process.returncode == 0
    assert not Path(said["token_file"]).exists()
