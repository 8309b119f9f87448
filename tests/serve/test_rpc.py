"""One client in memory: what it sends, and every message that it gets."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragmacs_srv.errors import Busy, LLMUnavailable
from ragmacs_srv.events import Progress
from ragmacs_srv.serve.framing import Frames, parse
from ragmacs_srv.serve.lanes import Lane
from ragmacs_srv.serve.rpc import Call, Peer, Service, method

Shape = dict[str, Any]


class Client:
    """A Peer with methods of our own; `got` is what it wrote."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun = threading.Semaphore(0)
        methods = {
            "ping": method(self.ping),
            "wait": method(self.wait, "slow"),
            "tell": method(self.tell, "quick"),
            "fail": method(self.fail, "quick"),
            "odd": method(self.odd),
        }
        lanes = {"slow": Lane("slow", workers=1, room=1), "quick": Lane("quick", workers=1, room=9)}
        self.peer = Peer(Service(methods, lanes), self._write)
        self.got: list[Any] = []
        self._frames = Frames()

    def _write(self, data: bytes) -> None:
        self.got += map(parse, self._frames.feed(data))

    def send(self, *messages: object) -> list[Any]:
        """What was written until every call is answered."""
        for message in messages:
            self.peer.receive(message if isinstance(message, bytes) else json.dumps(message).encode())
        assert self.peer.drain(30)
        return self.got

    def ping(self, call: Call, text: Annotated[str, "Echoed."] = "") -> Shape:
        return {"text": text}

    def wait(self, call: Call) -> Shape:
        self.begun.release()
        with call.cancel.on_cancel(self.go.set):
            self.go.wait(30)
        call.cancel.check()
        return {"waited": True}

    def tell(self, call: Call, count: Annotated[int, "How much."]) -> Shape:
        for n in range(count):
            call.delta(f"{n}")
        call.progress(Progress("job", 1, None))
        return {"told": count}

    def fail(self, call: Call, how: Annotated[str, "Which way."]) -> Shape:
        raise LLMUnavailable("gone", partial="half", hint="again") if how == "known" else KeyError(how)

    def odd(self, call: Call) -> Shape:
        return {"no json": object()}


@pytest.fixture
def client() -> Iterator[Client]:
    made = Client()
    yield made
    made.go.set()
    made.peer.stop()
    assert made.peer.drain(30)


def request(name: str, key: object = 1, **params: object) -> Shape:
    return {"jsonrpc": "2.0", "id": key, "method": name, "params": params}


def note(name: str, **params: object) -> Shape:
    return {"jsonrpc": "2.0", "method": name, "params": params}


@pytest.mark.parametrize("key", ["a", 0, -7, 2**53, 1.5, None, "\udfff"])
def test_an_id_comes_back_with_its_type(client: Client, key: object) -> None:
    (reply,) = client.send(request("ping", key, text="x"))
    assert reply == {"jsonrpc": "2.0", "id": key, "result": {"text": "x"}}
    assert type(reply["id"]) is type(key)


@pytest.mark.parametrize("params", ['"params": null,', "", '"params": {},', '"params": [],'])
def test_no_params_come_in_four_ways(client: Client, params: str) -> None:
    (reply,) = client.send(b'{"jsonrpc": "2.0", %b "id": 1, "method": "ping"}' % params.encode())
    assert reply["result"] == {"text": ""}


@pytest.mark.parametrize(
    ("message", "code", "key"),
    [
        (b"{", -32700, None),
        (b"1", -32600, None),
        (b"[]", -32600, None),
        (request("ping", True), -32600, None),
        (request("ping", [1]), -32600, None),
        ({"id": 3, "method": "ping"}, -32600, 3),
        ({"jsonrpc": "2.0", "id": 3, "method": 1}, -32600, 3),
        ({"jsonrpc": "2.0", "id": 3, "method": "ping", "params": "x"}, -32600, 3),
        ({"jsonrpc": "2.0", "id": 3, "method": "ping", "params": [1]}, -32602, 3),
        (request("nope", 3), -32601, 3),
        (request("$/nope", 3), -32601, 3),
        (request("m" * 2**20, 3), -32601, 3),
        (request("tell", 3), -32602, 3),
        (request("tell", 3, count="many"), -32602, 3),
        (request("ping", 3, txt="x"), -32602, 3),
        (request("ping", 3, token=[1]), -32602, 3),
        (request("fail", 3, how="known"), -32040, 3),
        (request("fail", 3, how="?"), -32603, 3),
        (request("odd", 3), -32603, 3),
    ],
)
def test_what_cannot_be_done_gets_one_error(client: Client, message: object, code: int, key: object) -> None:
    (reply,) = client.send(message)
    assert (reply["error"]["code"], reply["id"]) == (code, key)
    assert reply.keys() == {"jsonrpc", "id", "error"}
    assert reply["error"].keys() <= {"code", "message", "data"}
    assert len(reply["error"]["message"]) < 1000


def test_an_error_brings_hint_exit_code_and_what_there_is_already(client: Client) -> None:
    (reply,) = client.send(request("fail", how="known"))
    assert reply["error"]["data"] == {"hint": "again", "exit_code": 6, "partial": "half"}


@pytest.mark.parametrize(
    "message",
    [
        note("ping"),
        note("nope"),
        note("$/nope"),
        note("fail", how="?"),
        note("tell"),
        {"jsonrpc": "2.0", "id": 1, "result": 1},
    ],
)
def test_a_notification_is_never_answered(client: Client, message: object) -> None:
    assert client.send(message) == []


@pytest.mark.parametrize("params", [{}, {"id": "none"}, {"id": None}, {"id": {"a": 1}}, [1], {"token": 3}])
def test_a_cancel_of_nothing_is_silent(client: Client, params: object) -> None:
    assert client.send({"jsonrpc": "2.0", "method": "$/cancelRequest", "params": params}) == []


def test_a_batch_is_answered_together_and_only_what_asked(client: Client) -> None:
    (replies,) = client.send([request("ping", 1), note("ping"), {"foo": 1}, request("tell", "x", count=0)])
    assert sorted(map(str, (reply["id"] for reply in replies))) == ["1", "None", "x"]
    assert client.send([note("ping"), note("nope")]) == [replies]
    assert client.send([request("ping")] * 1001)[-1]["error"]["code"] == -32600


def test_deltas_come_before_the_result_and_only_to_a_token(client: Client) -> None:
    got = client.send(request("tell", count=2), request("tell", 2, count=2, token="t"))
    assert [each.get("method", "result") for each in got] == ["result", "$/delta", "$/delta", "$/progress", "result"]
    assert got[1]["params"] == {"token": "t", "text": "0"}
    assert got[3]["params"].keys() == {"token", "job", "done", "total", "rate", "eta_s", "message"}


@pytest.mark.parametrize("named", [{"id": 1}, {"token": "mine"}])
def test_work_is_stopped_by_id_or_token(client: Client, named: Shape) -> None:
    client.peer.receive(json.dumps(request("wait", 1, token="mine")).encode())
    client.begun.acquire(timeout=30)
    (reply,) = client.send(note("$/cancelRequest", **named))
    assert (reply["id"], reply["error"]["code"]) == (1, -32800)


def test_a_request_cancelled_before_it_starts_gets_its_one_reply(client: Client) -> None:
    client.peer.receive(json.dumps(request("wait", 1)).encode())
    client.begun.acquire(timeout=30)
    client.peer.receive(json.dumps(request("wait", 2)).encode())
    client.peer.receive(json.dumps(note("$/cancelRequest", id=2)).encode())
    assert [(each["id"], each["error"]["code"]) for each in client.got] == [(2, -32800)]
    client.go.set()
    assert client.peer.drain(30)
    assert client.got[1:] == [{"jsonrpc": "2.0", "id": 1, "result": {"waited": True}}]
    assert not client.begun.acquire(blocking=False)


def test_a_full_queue_says_when_to_come_back_and_other_work_goes_on(client: Client) -> None:
    for key in (1, 2, 3):
        client.peer.receive(json.dumps(request("wait", key)).encode())
    client.peer.receive(json.dumps(request("ping", 4)).encode())
    busy, pong = client.got
    assert (busy["id"], busy["error"]["code"], busy["error"]["data"]["retry_after"]) == (3, -32000, 1.0)
    assert pong["id"] == 4


def test_a_client_that_goes_has_its_work_stopped_and_answered(client: Client) -> None:
    for key in (1, 2):
        client.peer.receive(json.dumps(request("wait", key)).encode())
    client.peer.stop()
    assert client.peer.drain(30)
    assert {each["id"]: each["error"]["code"] for each in client.got} == {1: -32800, 2: -32800}


def test_two_calls_of_one_id_are_two_answers(client: Client) -> None:
    assert len(client.send(request("tell", 5, count=0), request("tell", 5, count=0))) == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
MEMBERS = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | JSON,
        "id": JSON,
        "method": st.sampled_from(["ping", "tell", "nope", "$/cancelRequest", "$/x"]) | JSON,
        "params": JSON | st.fixed_dictionaries({}, optional={"count": JSON, "token": JSON, "text": JSON}),
        "result": JSON,
    },
)


@settings(deadline=None)  # a busy machine is no failure
@given(MEMBERS | JSON)
def test_every_message_has_at_most_one_answer_and_a_request_exactly_one(message: object) -> None:
    client = Client()
    replies = [each for each in client.send(message) if not isinstance(each, dict) or "method" not in each]
    asked = isinstance(message, dict) and "id" in message and "method" in message
    assert len(replies) == 1 if asked else len(replies) <= 1


def test_a_lane_forgets_what_was_cancelled() -> None:
    go, lane = threading.Event(), Lane("x", workers=1, room=1)

    def work() -> Shape:
        go.wait(30)
        return {}

    first: Future[Shape] = lane.submit(work)
    waiting = lane.submit(work)
    with pytest.raises(Busy):
        lane.submit(work)
    assert waiting.cancel()
    last = lane.submit(work)
    go.set()
    assert first.result(30) == last.result(30) == {}
    assert lane.state() == {"running": 0, "waiting": 0, "workers": 1, "room": 1}
