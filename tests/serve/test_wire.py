"""What only real descriptors, sockets and processes show."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ragmacs_srv import meeting
from ragmacs_srv.app import App
from ragmacs_srv.errors import Busy, SettingsError
from ragmacs_srv.serve.framing import Frames, frame, parse
from ragmacs_srv.serve.place import holder, listening, lock_of, private
from ragmacs_srv.serve.rpc import Service
from ragmacs_srv.serve.server import Options, Server
from ragmacs_srv.serve.wire import Connection, Limits
from ragmacs_srv.settings import load
from tests.search import library
from tests.servers import Visit, serve

CHECKER = "jsonrpc_conformance.py"


class Line:
    """A client at a socket: `ask` sends and waits for the reply."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(60)
        self._frames = Frames()
        self._came: list[Any] = []

    def send(self, method: str, key: int = 1, **params: object) -> None:
        message = {"jsonrpc": "2.0", "method": method, "params": params, "id": key}
        self.sock.sendall(frame(message))

    def next(self) -> Any:
        """The next message, or None at the end."""
        while not self._came:
            data = self.sock.recv(65536)
            if not data:
                return None
            self._came += map(parse, self._frames.feed(data))
        return self._came.pop(0)

    def ask(self, method: str, **params: object) -> Any:
        self.send(method, **params)
        return self.next()


@contextmanager
def serving(home: Path, options: Options, **more: str) -> Iterator[tuple[Path, Server, threading.Thread]]:
    """A server in this process, without vectors; MORE is in its environment."""
    environ = {"RAGMACS_HOME": str(home), "RAGMACS_SEARCH_MODE": "lexical", **more}
    path = Path(meeting.socket_path(str(home), {"TMPDIR": str(home.parent)}))
    with App(load(environ), environ) as app, listening(path) as listener:
        server = Server(app, options, path=path)
        thread = threading.Thread(target=server.listen, args=(listener,))
        thread.start()
        try:
            yield path, server, thread
        finally:
            server.stop()
            thread.join(60)


@pytest.fixture
def connect(home: Path) -> Iterator[Callable[[], Line]]:
    """Connects to a server of a home that holds some pages."""
    library.build(home / "store")
    lines: list[Line] = []
    with serving(home, Options(debug=True)) as (path, _, _):

        def connect() -> Line:
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(str(path))
            lines.append(Line(sock))
            return lines[-1]

        yield connect
    for line in lines:
        line.sock.close()


def test_a_search_over_the_socket_is_the_search_of_the_command_line(connect: Callable[[], Line], run: Any) -> None:
    reply = connect().ask("search", query="heap limit", k=3)["result"]
    printed = run("search", "heap limit", "--limit", "3", "--json").json
    assert {**reply, "took_ms": 0} == {**printed, "took_ms": 0}
    assert len(reply["results"]) == 3
    assert reply["generation"] == 1


def test_an_answer_streams_to_its_token_and_ends_with_its_citations(connect: Callable[[], Line]) -> None:
    line = connect()
    line.send("ask", question="What does the heap limit do?", token="t")
    got = [line.next()]
    while "id" not in got[-1]:
        got.append(line.next())
    answer = got[-1]["result"]
    assert {"answer", "citations", "mode", "confidence", "abstained", "uncovered", "model"} <= answer.keys()
    assert "".join(each["params"]["text"] for each in got[:-1] if each["method"] == "$/delta") == answer["answer"]


def test_tools_are_listed_and_called_as_a_model_does(connect: Callable[[], Line]) -> None:
    line = connect()
    tools = {each["name"]: each for each in line.ask("tools/list")["result"]["tools"]}
    assert tools["search_docs"]["parameters"]["required"] == ["query"]
    done = line.ask("tools/call", name="search_docs", arguments={"query": "heap limit"})["result"]
    assert (done["error"], done["data"]["results"][0]["url"] in done["text"]) == (False, True)
    failed = line.ask("tools/call", name="search_docs", arguments={})["result"]
    assert (failed["error"], failed["text"][:7]) == (True, "Error: ")
    assert line.ask("tools/call", name="nope")["error"]["code"] == -32602


def test_consent_is_asked_for_only_where_a_page_of_a_site_would_be_fetched(connect: Callable[[], Line]) -> None:
    line = connect()
    (page, *_) = line.ask("search", query="heap limit", k=1)["result"]["results"]

    def wanted(tool: str, **arguments: object) -> object:
        return line.ask("tools/consent", name=tool, arguments=arguments)["result"]["ask"]

    assert wanted("read_page", url=page["link"]) == ""
    assert wanted("read_page", url="https://go.dev/never-read") == "Fetch https://go.dev/never-read?"
    assert wanted("search_docs", query="heap limit") == ""
    assert line.ask("tools/consent", name="nope")["error"]["code"] == -32602


def test_a_page_is_summarized_and_fetched_in_parts(connect: Callable[[], Line]) -> None:
    line = connect()
    page = line.ask("fetch", url="handbook:sync-pool")["result"]
    assert page["sections"]
    line.send("summarize", url="handbook:sync-pool", length=60, token=1)
    got = [line.next()]
    while "id" not in got[-1]:
        got.append(line.next())
    summary = got[-1]["result"]
    deltas = [each["params"]["text"] for each in got if each.get("method") == "$/delta"]
    assert deltas == [point["text"] + "\n" for point in summary["points"]]
    assert line.ask("summarize", url="handbook:sync-pool", style="tldr")["result"]["words"] <= 60
    assert line.ask("summarize", url="handbook:sync-pool", style="haiku")["error"]["code"] == -32602
    assert line.ask("fetch", url="handbook:sync-pool#nope")["error"]["code"] == -32602


def test_an_indexed_page_is_read_without_a_request_when_asked_for_as_stored(
    connect: Callable[[], Line], site: Any
) -> None:
    line = connect()
    url = f"{site.origin}/doc/gc-guide"
    line.ask("index/crawl", targets=[url], depth=0, allow=[site.origin])
    before = list(site.asked)
    page = line.ask("fetch", url=f"{url}#GOGC", stored=True)["result"]
    assert ([each["anchor"] for each in page["sections"]], site.asked) == (["GOGC"], before)
    assert line.ask("fetch", url=f"{site.origin}/doc/x", stored=True)["error"]["code"] == -32023


@pytest.mark.go
def test_go_code_is_read_below_the_roots_that_a_client_names(connect: Callable[[], Line], tmp_path: Path) -> None:
    line = connect()
    arguments = {"package": ".", "type": "T", "folder": str(tmp_path)}
    refusal = "no folder that was opened"
    assert refusal in line.ask("tools/call", name="struct_layout", arguments=arguments)["result"]["text"]
    line.ask("initialize", roots=[str(tmp_path)])
    assert refusal not in line.ask("tools/call", name="struct_layout", arguments=arguments)["result"]["text"]


def test_a_crawl_tells_its_progress_and_searches_see_it(connect: Callable[[], Line], site: Any) -> None:
    line = connect()
    params = {"targets": [f"{site.origin}/doc/gc-guide"], "name": "guide", "depth": 0, "allow": [site.origin]}
    line.send("index/crawl", token="t", **params)
    got = [line.next()]
    while "id" not in got[-1]:
        got.append(line.next())
    assert {each["method"] for each in got[:-1]} == {"$/progress"}
    assert got[-1]["result"]["crawls"][0]["outcomes"] == {"new": 1}
    assert line.ask("search", query="GOGC", collections=["guide"])["result"]["generation"] == 2
    assert line.ask("index/update", collection="guide")["result"]["crawls"][0]["failed"] == []
    assert line.ask("index/update", collection="guide", failed=True)["result"]["crawls"][0]["outcomes"] == {}
    assert line.ask("index/crawl", targets=["nope"])["error"]["code"] == -32602
    states = {row["name"]: row["state"] for row in line.ask("index/collections")["result"]["collections"]}
    assert (states["guide"], states["go-gc"]) == ("fresh", "never read")
    assert line.ask("index/diff", collection="guide", since="1d")["result"] == {"changes": []}
    assert line.ask("index/diff", since="soon")["error"]["code"] == -32602


@pytest.mark.slow
def test_a_list_is_a_job_with_progress_and_pages_of_results(connect: Callable[[], Line], site: Any) -> None:
    line, other = connect(), "https://elsewhere.example.org/"
    text = f"- {site.origin}/doc/gc-guide #gc\n- {site.origin}/doc/faq\n- {other}\n- file:///etc/passwd"
    line.send("batch", token="t", text=text, allow=[site.origin])
    got = [line.next()]
    while "id" not in got[-1]:
        got.append(line.next())
    done = got[-1]["result"]
    told = [each["params"] for each in got[:-1] if each["params"]["job"] == "batch"]
    assert (told[0]["done"], told[-1]["done"], told[-1]["total"]) == (0, 3, 3)
    assert (done["counts"]["done"], [each["url"] for each in done["not_done"]]) == (2, [other, "file:///etc/passwd"])
    asked = len(site.asked)
    found = connect().ask("batch/result", job=done["job"])["result"]
    assert [each["state"] for each in found["items"]] == ["done", "done", "refused", "refused"]
    assert found["items"][0]["tags"] == ["gc"]
    rest = line.ask("batch/result", job=done["job"], start=3)["result"]
    assert [each["url"] for each in rest["items"]] == ["file:///etc/passwd"]
    assert (
        "* TODO [[" in line.ask("batch/result", job=done["job"], format="org")["result"]["text"],
        "next" in rest,
    ) == (
        True,
        False,
    )
    assert line.ask("batch", text=text, allow=[site.origin])["result"]["job"] == done["job"]
    assert len(site.asked) == asked


def test_a_list_opens_no_site_and_a_job_has_to_be_known(connect: Callable[[], Line], site: Any) -> None:
    line = connect()
    done = line.ask("batch", text=f"{site.origin}/doc/faq")["result"]
    assert (done["counts"]["refused"], site.requests) == (1, [])
    assert line.ask("batch", address=f"{site.origin}/list")["error"]["code"] == -32023
    for wrong in ({}, {"text": "https://a.org", "address": "https://a.org"}, {"text": " \n"}):
        assert line.ask("batch", **wrong)["error"]["code"] == -32602
    assert line.ask("batch/result", job="../../crawl")["error"]["code"] == -32602


def test_a_list_that_is_cancelled_names_its_job(connect: Callable[[], Line]) -> None:
    line, begun = connect(), threading.Event()

    def hang(visit: Visit) -> None:
        begun.set()
        visit.hang()

    with serve(hang) as slow:
        line.send("batch", token="t", text=f"{slow.origin}/one", allow=[slow.origin])
        assert begun.wait(30)
        line.sock.sendall(frame({"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"token": "t"}}))
        got = [line.next()]
        while "id" not in got[-1]:
            got.append(line.next())
    assert got[-1]["error"]["code"] == -32800
    found = line.ask("batch/result", job=got[-1]["error"]["data"]["job"])["result"]
    assert [each["state"] for each in found["items"]] == ["pending"]


@pytest.mark.slow
def test_a_client_that_does_not_read_is_dropped_while_others_are_served(connect: Callable[[], Line]) -> None:
    deaf, other = connect(), connect()
    deaf.sock.settimeout(0.1)
    text = "y" * 200_000
    with pytest.raises(OSError, match="timed out"):  # its messages are no longer read: it has to read ours first
        for _ in range(200):
            deaf.send("ping", text=text)
    assert other.ask("ping", text="here")["result"] == {"text": "here"}
    assert other.ask("server/status")["result"]["server"]["clients"] == 2


def test_whoever_reads_nothing_loses_the_connection_and_what_was_for_it() -> None:
    ours, theirs = socket.socketpair()
    dropped = threading.Event()
    limits = Limits(backlog=100_000)
    connection = Connection(Service({}, {}), ours.fileno(), ours.fileno(), limits=limits, drop=dropped.set)
    for _ in range(100):
        connection.outbox.put(b"x" * 50_000)
    assert dropped.is_set()
    ours.close()
    theirs.close()


def test_the_rest_of_a_message_has_to_come_in_time() -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(b"Content-Length: 100\r\n\r\n{")
    Connection(Service({}, {}), ours.fileno(), ours.fileno(), limits=Limits(message=0.01), drop=lambda: None).run()
    assert Line(theirs).next()["error"]["code"] == -32700
    ours.close()
    theirs.close()


def test_stopping_answers_what_is_under_way(home: Path) -> None:
    with serving(home, Options(debug=True)) as (path, _, thread), socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        line = Line(sock)
        line.send("debug/sleep", 1, seconds=60)
        line.send("server/stop", 2)
        replies = {reply["id"]: reply for reply in (line.next(), line.next())}
        thread.join(60)
        assert replies[1]["error"]["code"] == -32800
        assert replies[2]["result"] == {"stopping": True}
        assert not thread.is_alive()


def test_a_server_without_clients_ends_by_itself(home: Path) -> None:
    with serving(home, Options(idle=0.01)) as (_, _, thread):
        thread.join(60)
        assert not thread.is_alive()


def test_there_is_one_server_per_home_and_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "run" / "a.sock"
    private(path.parent)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with listening(path):
        assert holder(path) == os.getpid()
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        with pytest.raises(Busy, match=str(os.getpid())), listening(path):
            pass
    assert not path.exists()
    assert holder(path) == 0
    assert lock_of(path).exists()


def test_a_folder_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(SettingsError, match="nobody else"), listening(tmp_path / "a.sock"):
        pass


def test_a_file_of_the_user_is_never_taken_for_a_socket(tmp_path: Path) -> None:
    file = tmp_path / "notes"
    file.write_text("mine")
    with pytest.raises(SettingsError), listening(file):
        pass
    assert file.read_text() == "mine"


# Processes


@pytest.fixture
def start(home: Path, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start `ragmacs serve` with pipes; its home's shared server is stopped at the end."""
    environ = {**os.environ, "RAGMACS_SEARCH_MODE": "lexical", "RAGMACS_DEBUG": "1", "TMPDIR": str(tmp_path)}
    environ.pop("XDG_RUNTIME_DIR", None)
    started: list[subprocess.Popen[bytes]] = []

    def start(*args: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "ragmacs_srv", "serve", *args]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, env=environ, stdin=pipe, stdout=pipe, stderr=pipe))
        return started[-1]

    yield start
    if any("--own" not in each.args for each in started):  # type: ignore[operator]
        start("--stop").wait(60)
    for process in started:
        process.kill()
        process.communicate()


def framed(*messages: object) -> bytes:
    return b"".join(map(frame, messages))


def messages(data: bytes) -> list[Any]:
    frames = Frames()
    found = list(map(parse, frames.feed(data)))
    frames.end()
    return found


PING = {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"text": "é"}}
STATUS = {"jsonrpc": "2.0", "id": 2, "method": "server/status"}


@pytest.mark.slow
def test_requests_from_a_pipe_are_answered_before_the_process_ends(start: Any) -> None:
    process = start("--stdio", "--own")
    out, err = process.communicate(
        framed(PING, {"jsonrpc": "2.0", "id": 2, "method": "debug/sleep", "params": {"seconds": 0.1}}), 60
    )
    assert [each["id"] for each in messages(out)] == [1, 2]
    assert (process.returncode, err) == (0, b"")


@pytest.mark.slow
def test_the_relay_starts_the_shared_server_that_outlives_it(start: Any) -> None:
    pids = []
    for _ in range(2):
        out, _ = start("--stdio").communicate(framed(PING, STATUS), 60)
        pong, status = messages(out)
        assert pong["result"] == {"text": "é"}
        pids.append(status["result"]["server"]["pid"])
    assert pids[0] == pids[1]


@pytest.mark.slow
def test_sigterm_answers_what_is_under_way_and_ends(start: Any) -> None:
    process = start("--stdio", "--own")
    process.stdin.write(framed({"jsonrpc": "2.0", "id": 1, "method": "debug/sleep", "params": {"seconds": 60}}, PING))
    process.stdin.flush()
    first = process.stdout.read1()
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=60)
    pong, stopped = messages(first + rest)
    assert (pong["result"], stopped["error"]["code"]) == ({"text": "é"}, -32800)
    assert process.returncode == 0


@pytest.mark.slow
def test_exit_ends_the_connection_and_shutdown_comes_before(start: Any) -> None:
    process = start("--stdio", "--own")
    asked = [{"jsonrpc": "2.0", "id": 1, "method": "shutdown"}, {**PING, "id": 2}, {"jsonrpc": "2.0", "method": "exit"}]
    process.stdin.write(framed(*asked))
    process.stdin.flush()
    out = process.stdout.read()
    assert [each["id"] for each in messages(out)] == [1, 2]
    assert messages(out)[1]["error"]["code"] == -32600
    assert process.wait(60) == 0


def test_what_is_printed_never_reaches_the_wire() -> None:
    code = (
        "import os; from ragmacs_srv.serve.stdio import guarded; source, sink = guarded()\n"
        "print('stray'); os.system('echo child'); os.write(sink, b'frame'); assert not os.read(0, 9)\n"
        "assert os.read(source, 9) == b'mine'"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, input=b"mine", capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"frame")
    assert b"stray" in done.stderr and b"child" in done.stderr


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("how", [("--stdio", "--own"), ("--stdio",), ()], ids=["own", "relay", "socket"])
def test_the_conformance_checker_finds_no_failure(
    how: tuple[str, ...], shared: Path, start: Any, tmp_path: Path
) -> None:
    checker = [
        sys.executable,
        str(shared / "protocol" / CHECKER),
        "--config",
        str(shared / "protocol" / "ragmacs.json"),
    ]
    out, _ = start("--detach", "--json").communicate(timeout=60)
    target = (
        ["--stdio", f"{sys.executable} -m ragmacs_srv serve {' '.join(how)}"]
        if how
        else ["--unix", json.loads(out)["server"]["socket"]]
    )
    environ = {**os.environ, "RAGMACS_DEBUG": "1", "TMPDIR": str(tmp_path)}
    environ.pop("XDG_RUNTIME_DIR", None)
    done = subprocess.run([*checker, *target], env=environ, capture_output=True, text=True, timeout=280)
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert (failed, done.returncode) == ([], 0)
