"""What careless and hostile clients do, and that nobody else notices."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ragmacs_srv.errors import Busy
from ragmacs_srv.serve.framing import MAX_BODY, frame
from ragmacs_srv.serve.lanes import SOONEST, Lane
from ragmacs_srv.serve.rpc import Call, Service, method
from ragmacs_srv.serve.server import MAX_CLIENTS, Options
from ragmacs_srv.serve.wire import Connection, Limits
from tests.llm_server import Act, Reply, scripted
from tests.search import library
from tests.serve.test_rpc import Client, note, request
from tests.serve.test_wire import Line, serving

Connect = Callable[[], Line]


@contextmanager
def connecting(path: Path) -> Iterator[Connect]:
    """What connects to the server at PATH; all its lines are closed at the end."""
    with contextlib.ExitStack() as lines:

        def connect() -> Line:
            sock = lines.enter_context(socket.socket(socket.AF_UNIX))
            sock.connect(str(path))
            return Line(sock)

        yield connect


@pytest.fixture
def connect(home: Path) -> Iterator[Connect]:
    with serving(home, Options(debug=True)) as (path, _, _), connecting(path) as connect:
        yield connect


def cancelled(line: Line) -> None:
    line.sock.sendall(frame(note("$/cancelRequest", id=1)))
    assert line.next()["error"]["code"] == -32800


def gone(line: Line) -> None:
    line.sock.close()


@pytest.mark.parametrize("leave", [cancelled, gone])
def test_an_llm_that_has_not_said_a_byte_is_not_kept_busy_for_nobody(home: Path, leave: Callable[[Line], None]) -> None:
    library.build(home / "store")
    with (
        scripted(Reply(before=[Act.HANG])) as llm,
        serving(home, Options(), RAGMACS_LLM_BASE_URL=llm.url, RAGMACS_LLM_MODEL="m") as (path, _, _),
        connecting(path) as connect,
    ):
        line, other = connect(), connect()
        line.send("ask", question="What does the heap limit do?", token="t")
        llm.next_request()
        leave(line)
        assert llm.hung_up.wait(30)
        assert other.ask("ping", text="here")["result"] == {"text": "here"}


@pytest.mark.slow
def test_one_client_too_many_is_told_so_and_a_place_that_is_left_is_given_on(connect: Connect) -> None:
    lines = [connect() for _ in range(MAX_CLIENTS)]
    assert [line.ask("ping")["id"] for line in (lines[0], lines[-1])] == [1, 1]
    refused = connect()
    error = refused.next()["error"]
    assert (error["code"], str(MAX_CLIENTS) in error["message"], error["data"]["retry_after"]) == (-32000, True, 10.0)
    assert refused.next() is None
    lines.pop().sock.close()
    deadline = time.monotonic() + 30
    while lines[0].ask("server/status")["result"]["server"]["clients"] == MAX_CLIENTS:
        assert time.monotonic() < deadline
    assert connect().ask("ping")["id"] == 1


BROKEN = {
    "a body over the limit": b"Content-Length: %d\r\n\r\n" % (MAX_BODY + 1),
    "a header without end": b"X-Pad: " + b"x" * 100_000,
    "no header": b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}\r\n\r\n',
    "a negative length": b"Content-Length: -1\r\n\r\n",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_bytes_that_are_no_frame_get_one_error_and_the_end(connect: Connect, data: bytes) -> None:
    line, other = connect(), connect()
    with contextlib.suppress(BrokenPipeError):  # it need not read all of it
        line.sock.sendall(data)
    assert line.next()["error"]["code"] == -32700
    with contextlib.suppress(ConnectionResetError):  # unread bytes make the end a reset
        assert line.next() is None
    assert other.ask("ping")["id"] == 1


@pytest.mark.parametrize("data", [b"Content-Length: 100\r\n\r\n", b"Content-Length: 100\r\n\r\n{", b"Content-Le"])
def test_half_a_frame_keeps_nobody_else_waiting(connect: Connect, data: bytes) -> None:
    line, other = connect(), connect()
    line.sock.sendall(data)
    assert other.ask("ping")["id"] == 1
    line.sock.shutdown(socket.SHUT_WR)
    assert line.next()["error"]["code"] == -32700
    assert line.next() is None


def test_json_without_a_bottom_is_an_error_and_the_next_message_is_read(connect: Connect) -> None:
    line = connect()
    for body in (b"[" * 100_000, b'{"a":' * 100_000, b"[" * 300 + b"]" * 300):
        line.sock.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        assert line.next()["error"]["code"] == -32700
    assert line.ask("ping")["id"] == 1


def test_who_does_not_read_a_long_answer_is_dropped_and_the_work_for_it_stopped() -> None:
    def pour(call: Call) -> dict[str, Any]:
        while True:
            call.cancel.check()
            call.delta("x" * 1000)

    ours, theirs = socket.socketpair()
    lane = Lane("answer", workers=1, room=1)
    service = Service({"pour": method(pour, "answer")}, {"answer": lane})
    fd = ours.fileno()
    limits = Limits(backlog=100_000)
    connection = Connection(service, fd, fd, limits=limits, drop=lambda: ours.shutdown(socket.SHUT_RDWR))
    reading = threading.Thread(target=connection.run)
    reading.start()
    theirs.sendall(frame(request("pour", token="t")))
    reading.join(30)
    assert not reading.is_alive()
    assert connection.peer.drain(30)
    ours.close()
    theirs.close()


@pytest.fixture
def client() -> Iterator[Client]:
    made = Client()
    yield made
    made.go.set()
    made.peer.stop()
    assert made.peer.drain(30)


def test_an_id_that_is_used_twice_at_a_time_names_both(client: Client) -> None:
    for _ in range(2):
        client.peer.receive(json.dumps(request("wait", 7)).encode())
    client.peer.receive(json.dumps(note("$/cancelRequest", id=7)).encode())
    assert client.peer.drain(30)
    assert [(each["id"], each["error"]["code"]) for each in client.got] == [(7, -32800)] * 2


def test_a_thousand_calls_at_once_are_each_answered_even_those_that_find_no_room(client: Client) -> None:
    (replies,) = client.send([request("tell", n, count=0) for n in range(1000)])
    assert sorted(each["id"] for each in replies) == list(range(1000))
    outcomes = {each.get("error", {}).get("code", "told") for each in replies}
    assert outcomes <= {"told", -32000} and "told" in outcomes


def test_shutdown_takes_nothing_more_and_answers_what_is_under_way(client: Client) -> None:
    def shut(call: Call) -> dict[str, Any]:
        call.peer.shut = True
        return {"ok": True}

    client.peer.service.methods["shutdown"] = method(shut)  # type: ignore[index]
    for message in (request("wait", 1), request("shutdown", 2), request("ping", 3)):
        client.peer.receive(json.dumps(message).encode())
    client.go.set()
    assert client.peer.drain(30)
    replies = {each["id"]: each for each in client.got}
    assert (replies[1]["result"], replies[3]["error"]["code"]) == ({"waited": True}, -32600)


def test_a_full_queue_names_a_time_by_how_long_work_takes() -> None:
    lane, go = Lane("x", workers=1, room=0, retry_after=30.0), threading.Event()
    assert refusal(lane, go) == 30.0
    assert refusal(lane, go) == SOONEST  # what was done meanwhile took no time


def refusal(lane: Lane, go: threading.Event) -> float:
    """The time that a LANE names while its only worker waits for GO, which is then given."""

    def work() -> dict[str, Any]:
        go.wait(30)
        return {}

    go.clear()
    under_way = lane.submit(work)
    with pytest.raises(Busy) as busy:
        lane.submit(work)
    go.set()
    under_way.result(30)
    return float(busy.value.data["retry_after"])


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are counted in /proc")
def test_generations_that_nobody_reads_any_more_leave_no_descriptor(home: Path) -> None:
    library.build(home / "store")
    with serving(home, Options()) as (path, _, _), connecting(path) as connect:
        line = connect()
        counts = []
        for number in (1, 2, 3, 4):
            reply = line.ask("search", query="heap limit")["result"]
            assert reply["generation"] == number
            counts.append(len(os.listdir("/proc/self/fd")))  # noqa: PTH208 - their names are all we want
            with library.Store(home / "store") as store:
                library.publish(store, force=True)
    assert counts[0] == counts[-1]
    assert len(list((home / "store").glob("gen-*"))) <= 2
