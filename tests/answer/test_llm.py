"""What comes out of a chat-completions server, good, bad or slow."""

from __future__ import annotations

import itertools
import json
import logging
import shutil
import socket
import ssl
import subprocess
import threading
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragmacs_srv.answer import llm
from ragmacs_srv.answer.llm import Message, OpenAIChat
from ragmacs_srv.errors import Cancelled, LLMRefused, LLMUnavailable, RagmacsError, SettingsError
from ragmacs_srv.events import Cancel
from tests.llm_server import (
    DONE,
    PATIENCE,
    Act,
    Reply,
    Server,
    chunk,
    delta,
    finish,
    json_reply,
    refuses,
    says,
    scripted,
)

ASKED = [Message("system", "be brief"), Message("user", "what is GOGC?")]


def chat(server: Server, **options: Any) -> OpenAIChat:
    return OpenAIChat(server.url, "m", **options)


def ask(chat: OpenAIChat, cancel: Cancel | None = None) -> list[str]:
    return list(chat.stream(ASKED, max_tokens=100, cancel=cancel or Cancel()))


def answer(*replies: Reply, **options: Any) -> list[str]:
    with scripted(*replies) as server:
        return ask(chat(server, **options))


def failure(*replies: Reply, **options: Any) -> RagmacsError:
    with scripted(*replies) as server, pytest.raises(RagmacsError) as caught:
        ask(chat(server, **options))
    return caught.value


# What is asked


def test_request_is_a_streaming_chat_completion() -> None:
    with scripted(says("x")) as server:
        ask(chat(server, key="sk-1\n"))
        (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.headers["Authorization"] == "Bearer sk-1"
    assert request.body == {
        "model": "m",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "what is GOGC?"}],
        "max_tokens": 100,
        "stream": True,
    }


def test_without_a_key_there_is_no_authorization() -> None:
    with scripted(says("x")) as server:
        ask(chat(server))
    assert "Authorization" not in server.requests[0].headers


def test_nothing_is_sent_before_the_first_piece_is_asked_for() -> None:
    with scripted() as server:
        chat(server).stream(ASKED, max_tokens=1, cancel=Cancel())
    assert server.requests == []


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("http://127.0.0.1:11434", "http://127.0.0.1:11434/v1"),
        ("http://127.0.0.1:11434/", "http://127.0.0.1:11434/v1"),
        ("http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1"),
        ("http://127.0.0.1:11434/v1/", "http://127.0.0.1:11434/v1"),
        (" http://[::1]:8080/v1\n", "http://[::1]:8080/v1"),
        ("https://openrouter.ai/api/v1", "https://openrouter.ai/api/v1"),
        ("https://example.com/v1beta/openai/", "https://example.com/v1beta/openai"),
        ("https://example.com/v1/chat/completions", "https://example.com/v1"),
    ],
)
def test_base_url_is_understood_with_and_without_its_end(given: str, used: str) -> None:
    assert OpenAIChat(given, "m").base_url == used


@pytest.mark.parametrize(
    "address",
    [
        "",
        "127.0.0.1:11434",
        "localhost/v1",
        "ftp://localhost",
        "http://",
        "http://h:99999",
        "http://h:port",
        f"http://{'h' * 64}.example",
        "http://sk-secret@h",
        "http://h/v1?key=sk-secret",
        "http://h/v1#sk-secret",
    ],
)
def test_base_url_that_is_none_is_a_settings_error_and_is_not_repeated(address: str) -> None:
    with pytest.raises(SettingsError) as caught:
        OpenAIChat(address, "m")
    assert "secret" not in str(caught.value)


def test_server_that_wants_max_completion_tokens_gets_it() -> None:
    complaint = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    with scripted(refuses(400, complaint), says("a"), says("b")) as server:
        asked = chat(server)
        assert ask(asked) + ask(asked) == ["a", "b"]
    assert ["max_tokens" in request.body for request in server.requests] == [True, False, False]
    assert server.requests[2].body["max_completion_tokens"] == 100


# Streams that end well


def test_deltas_arrive_as_they_are_sent() -> None:
    gate = threading.Event()
    with scripted(Reply([delta("one"), gate, delta(" two"), finish(), DONE])) as server:
        pieces = chat(server).stream(ASKED, max_tokens=9, cancel=Cancel())
        first = next(pieces)
        gate.set()
        assert [first, *pieces] == ["one", " two"]


STREAMS = {
    "DONE without a finish_reason": [delta("ab"), DONE],
    "a finish_reason without DONE": [delta("ab"), finish()],
    "cut by the token limit": [delta("ab"), finish("length"), DONE],
    "nothing read after DONE": [delta("ab"), DONE, delta("c"), "data: {"],
    "role only, null and empty content": [delta(None, role="assistant"), delta(""), delta("ab"), finish(), DONE],
    "usage chunk without choices": [delta("ab"), finish(), chunk(None), DONE],
    "thinking is not the answer": [delta(None, reasoning_content="hm"), delta("ab"), DONE],
    "finish_reason beside the last text": [chunk({"delta": {"content": "ab"}, "finish_reason": "stop"})],
    "comments": [": ping", delta("a"), ":", delta("b"), DONE],
    "carriage returns": [f"{delta('a')}\r\n\r\n{delta('b')}\r\n\r\n{DONE}\r\n\r\n".encode()],
    "no blank line at the end": [f"{delta('ab')}\n\n{DONE}".encode()],
    "byte order mark": ["\ufeff".encode(), delta("ab"), DONE],
    "no blank after the colon": [delta("ab").replace("data: ", "data:"), "data:[DONE]"],
    "unknown fields and events": [
        "event: ping\ndata: {}",
        "id: 7",
        "x-y: z",
        "data: [1]",
        "data: 5",
        delta("ab"),
        DONE,
    ],
    "parts of content": [delta(None, content=[{"type": "thinking"}, {"type": "text", "text": "ab"}]), DONE],
    "shapes gone wrong": ['data: {"choices":[{"delta":[]}]}', 'data: {"choices":{"0":1}}', delta("ab"), DONE],
}


@pytest.mark.parametrize("body", STREAMS.values(), ids=STREAMS.keys())
def test_stream_is_read_as_servers_write_it(body: list[Any]) -> None:
    assert "".join(answer(Reply(body))) == "ab"


def test_content_type_may_name_its_charset() -> None:
    reply = Reply([delta("héllo"), DONE], headers={"Content-Type": "Text/Event-Stream; charset=utf-8"})
    assert answer(reply) == ["héllo"]


def test_bytes_are_utf8_wherever_they_are_cut() -> None:
    line = 'data: {"choices":[{"delta":{"content":"héllo → 世界"}}]}\n\n'.encode()
    assert answer(Reply([*(bytes([byte]) for byte in line), DONE])) == ["héllo → 世界"]


def test_half_a_surrogate_pair_does_not_break_whoever_prints_it() -> None:
    assert answer(Reply(['data: {"choices":[{"delta":{"content":"a\\ud83d"}}]}', DONE])) == ["a?"]


def test_connection_that_breaks_after_the_finish_reason_takes_nothing_away() -> None:
    headers = {"Content-Type": "text/event-stream", "Content-Length": "9999"}
    assert answer(Reply([delta("ab"), finish()], headers=headers)) == ["ab"]


def test_server_that_ignores_stream_is_understood() -> None:
    message = {"role": "assistant", "content": "whole"}
    assert answer(json_reply({"choices": [{"message": message, "finish_reason": "stop"}]})) == ["whole"]


# Streams that end badly


NAMES = st.sampled_from(["choices", "delta", "content", "type", "text", "error", "message"])
JSON = st.recursive(
    st.none() | st.integers() | st.sampled_from(["text", "\ud800", ""]) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
)


BROKEN = {
    "end with neither DONE nor finish_reason": [delta("ab")],
    "malformed JSON": [delta("ab"), 'data: {"choices": [', DONE],
    "JSON nested beyond reason": [delta("ab"), "data: " + "[" * 100_000, DONE],
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN.keys())
def test_stream_that_breaks_keeps_what_had_come(body: list[Any]) -> None:
    error = failure(Reply(body))
    assert isinstance(error, LLMUnavailable)
    assert error.partial == "ab"


def test_connection_that_breaks_in_the_middle_keeps_what_had_come() -> None:
    headers = {"Content-Type": "text/event-stream", "Content-Length": "9999"}
    error = failure(Reply([delta("a"), delta("b")], headers=headers))
    assert isinstance(error, LLMUnavailable)
    assert error.partial == "ab"
    assert "broke" in error.message


@pytest.mark.parametrize(
    "line",
    [
        'data: {"error": {"message": "out of memory", "code": 500}}',
        'data: {"error": "out of memory"}',
        'event: error\ndata: {"error": {"message": "out of memory"}}',
        'data: {"object": "error", "message": "out of memory"}',
        'data: {"error": {"message": "out of memory"}, "choices": [{"delta": {}, "finish_reason": "error"}]}',
    ],
)
def test_error_inside_a_stream_is_a_refusal_in_the_server_s_words(line: str) -> None:
    error = failure(Reply([delta("ab"), line, DONE]))
    assert isinstance(error, LLMRefused)
    assert error.status == 200
    assert "out of memory" in error.message
    assert error.data == {"partial": "ab"}


def test_endless_stream_is_stopped_with_what_had_come() -> None:
    error = failure(Reply(itertools.repeat(delta("again "))), max_chars=1000)
    assert isinstance(error, LLMUnavailable)
    assert error.partial == ("again " * 200)[:1000]
    assert "1000 characters" in error.message


def test_endless_line_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llm, "MAX_BYTES", 1 << 20)
    assert "1 MiB" in failure(Reply(itertools.repeat(b"x" * 65536))).message


def test_server_that_only_keeps_the_connection_alive_is_given_up() -> None:
    ticks = itertools.count().__next__  # a second passes at each look
    pings = itertools.chain([delta("ab")], itertools.repeat(": ping"))
    error = failure(Reply(pings), timeout=60.0, clock=ticks)
    assert isinstance(error, LLMUnavailable)
    assert error.partial == "ab"
    assert "no token for 60 s" in error.message


def test_thinking_is_a_sign_of_life_but_not_for_ever() -> None:
    ticks = itertools.count().__next__
    thinking = itertools.repeat(delta(None, reasoning_content="hm"))
    error = failure(Reply(thinking), timeout=60.0, deadline=500.0, clock=ticks)
    assert "not done after 500 s" in error.message


def test_silent_server_is_given_up() -> None:
    error = failure(Reply([delta("ab"), Act.HANG]), timeout=0.05)
    assert isinstance(error, LLMUnavailable)
    assert error.partial == "ab"
    assert "sent nothing for 0.05 s" in error.message


@pytest.mark.parametrize(
    "reply",
    [
        Reply([delta(None, reasoning_content="hm"), finish("length"), DONE]),
        Reply([DONE]),
        json_reply({"choices": []}),
        json_reply([]),
    ],
    ids=["thinking only", "DONE only", "no choices", "a list"],
)
def test_answer_without_text_is_none(reply: Reply) -> None:
    error = failure(reply)
    assert isinstance(error, LLMUnavailable)
    assert "without any text" in error.message


def test_connection_that_breaks_after_the_finish_reason_excuses_no_answer_without_text() -> None:
    headers = {"Content-Type": "text/event-stream", "Content-Length": "9999"}
    assert isinstance(failure(Reply([finish()], headers=headers)), LLMUnavailable)


def test_time_that_the_caller_takes_is_not_counted_as_silence() -> None:
    now = 0.0
    gate = threading.Event()
    with scripted(Reply([delta("a"), gate, delta("b"), DONE])) as server:
        pieces = chat(server, timeout=60.0, clock=lambda: now).stream(ASKED, max_tokens=9, cancel=Cancel())
        first = next(pieces)
        now = 100.0
        gate.set()
        assert [first, *pieces] == ["a", "b"]


def test_page_for_a_browser_is_no_answer() -> None:
    error = failure(Reply([b"<html>login"], headers={"Content-Type": "text/html"}))
    assert isinstance(error, LLMUnavailable)
    assert "text/html" in error.message
    assert "base_url" in error.hint


@given(JSON)
def test_whatever_json_a_server_sends_can_be_read(value: object) -> None:
    for found in (llm._text(value), llm._text(llm._at(value, "choices", 0, "delta", "content")), llm._complaint(value)):
        assert isinstance(found, str)
    llm._text(value).encode()


# Servers that say no


def test_nobody_listening_says_where_and_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
    with pytest.raises(LLMUnavailable) as caught:
        ask(OpenAIChat(url, "m"))
    assert caught.value.message.startswith(f"cannot connect to {url}")
    assert "\n" not in caught.value.message
    assert "extractive" in caught.value.hint


@pytest.mark.parametrize(
    ("status", "hint"),
    [(401, "RAGMACS_LLM_KEY"), (403, "key_command"), (404, "[llm] model"), (413, "too long"), (400, ""), (422, "")],
)
def test_refusal_carries_status_words_and_hint(status: int, hint: str) -> None:
    error = failure(refuses(status, "no such\nthing"))
    assert isinstance(error, LLMRefused)
    assert error.status == status
    assert f"{status}: no such thing" in error.message
    assert hint in error.hint


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": "model not found"}, "model not found"),
        ({"detail": "Not Found"}, "Not Found"),
        ({"object": "error", "message": "no"}, "no"),
        ("plainly no", "plainly no"),
        ({"odd": [1]}, '{"odd": [1]}'),
        (None, "null"),
        ("", '""'),
    ],
)
def test_words_of_a_refusal_are_found_wherever_servers_put_them(body: object, said: str) -> None:
    assert failure(json_reply(body, status=404)).message.endswith(f"answered 404: {said}")


@pytest.mark.parametrize(("media_type", "said"), [("text/plain", "go\u2028 away"), ("text/html", "Bad Request")])
def test_words_of_a_refusal_need_not_be_json(media_type: str, said: str) -> None:
    error = failure(Reply(["\x1b[2Jgo\u2028 away"], status=400, headers={"Content-Type": media_type}))
    assert error.message.endswith("400: [2Jgo away" if media_type == "text/plain" else f"400: {said}")


def test_endless_refusal_is_not_read_to_its_end() -> None:
    error = failure(Reply(itertools.repeat(b"no " * 1000), status=400, headers={"Content-Type": "text/plain"}))
    assert isinstance(error, LLMRefused)
    assert len(error.message) < 500


def test_server_failure_is_unavailable() -> None:
    error = failure(refuses(500, "CUDA error"))
    assert isinstance(error, LLMUnavailable)
    assert "500: CUDA error" in error.message
    assert error.hint


def test_redirect_is_not_followed_with_the_key() -> None:
    with scripted(says("stolen")) as other:
        error = failure(Reply(status=307, headers={"Location": f"{other.url}/chat/completions"}), key="sk-1")
    assert isinstance(error, LLMRefused)
    assert error.status == 307
    assert other.requests == []


def test_proxy_of_the_environment_plays_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert answer(says("direct")) == ["direct"]


# Servers that say not now


class WatchedCancel(Cancel):
    """A clock that only notes how long it should have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)


def test_server_is_asked_again_when_it_said() -> None:
    cancel = WatchedCancel()
    with scripted(refuses(429, "slow down", Retry_After="7"), says("ok")) as server:
        assert ask(chat(server), cancel) == ["ok"]
    assert cancel.waits == [7.0]


def test_server_is_asked_again_twice_at_most() -> None:
    cancel = WatchedCancel()
    busy = refuses(429, "slow down", Retry_After="3")
    with scripted(busy, busy, busy, says("late")) as server, pytest.raises(LLMRefused) as caught:
        ask(chat(server), cancel)
    assert cancel.waits == [3.0, 3.0]
    assert caught.value.status == 429
    assert caught.value.hint == "try again in 3 s"
    assert caught.value.data == {"retry_after": 3.0}


@pytest.mark.parametrize(
    ("headers", "options", "hint"),
    [
        ({"Retry_After": "3600"}, {}, "try again in 3600 s"),
        ({"Retry_After": "5"}, {"deadline": 4.0}, "try again in 5 s"),
        ({"Retry_After": "soon"}, {}, "try again later"),
        ({}, {}, "try again later"),
    ],
    ids=["too long", "beyond the deadline", "nonsense", "unsaid"],
)
def test_server_that_wants_more_patience_than_we_have_is_not_asked_again(
    headers: dict[str, str], options: dict[str, Any], hint: str
) -> None:
    error = failure(refuses(429, "slow down", **headers), **options)
    assert isinstance(error, LLMRefused)
    assert error.status == 429
    assert error.hint == hint


NOW = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("nan", None),
        ("inf", None),
        ("", None),
        ("Wed, 01 Jan 2025 00:00:09 GMT", 9.0),
        ("Wed, 01 Jan 2025 00:00:09 -0000", 9.0),
        ("Wed, 01 Jan 2020 00:00:00 GMT", 0.0),
        ("Wed, 01 Jan 99999999999999999999 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str, seconds: float | None) -> None:
    assert llm._retry_after(header, NOW) == seconds


# Cancelling


def cancelled_when(
    server: Server, reached: Callable[[], object], got: threading.Event | None = None, **options: Any
) -> RagmacsError | None:
    """How a question ends that is cancelled from here once REACHED returns; GOT is set at its first delta."""
    cancel = Cancel()
    ended: list[RagmacsError] = []

    def run() -> None:
        try:
            for _ in chat(server, **options).stream(ASKED, max_tokens=100, cancel=cancel):
                (got or threading.Event()).set()
        except RagmacsError as exc:
            ended.append(exc)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    reached()
    began = time.monotonic()
    cancel.cancel()
    thread.join(PATIENCE)
    assert time.monotonic() - began < PATIENCE / 2, "the cancel was noticed by a timeout only"
    return ended[0] if ended else None


def test_cancel_ends_the_wait_for_the_first_byte() -> None:
    with scripted(Reply(before=[Act.HANG])) as server:
        assert isinstance(cancelled_when(server, server.next_request), Cancelled)
        assert server.hung_up.wait(PATIENCE)


def test_cancel_ends_the_wait_for_the_next_delta() -> None:
    got = threading.Event()
    with scripted(Reply([delta("ab"), Act.HANG])) as server:
        assert isinstance(cancelled_when(server, got.wait, got), Cancelled)
        assert server.hung_up.wait(PATIENCE)


def test_cancel_ends_the_wait_for_the_rest_of_an_error() -> None:
    with scripted(Reply([b"out of", Act.HANG], status=500)) as server:
        assert isinstance(cancelled_when(server, server.next_request), Cancelled)


def test_cancel_ends_the_wait_that_a_server_asked_for() -> None:
    with scripted(refuses(429, "slow down", Retry_After="20"), says("late")) as server:
        assert isinstance(cancelled_when(server, server.next_request), Cancelled)
    assert len(server.requests) == 1


def test_cancel_before_the_start_sends_nothing() -> None:
    cancel = Cancel()
    cancel.cancel()
    with scripted(says("x")) as server, pytest.raises(Cancelled):
        ask(chat(server), cancel)
    assert server.requests == []


def test_cancel_between_deltas_stops_a_stream_that_never_ends() -> None:
    cancel = Cancel()
    with scripted(Reply(itertools.repeat(delta("x")))) as server, pytest.raises(Cancelled):
        for _ in chat(server).stream(ASKED, max_tokens=1, cancel=cancel):
            cancel.cancel()


def test_after_a_cancel_not_even_what_had_come_already_is_said() -> None:
    cancel = Cancel()
    with scripted(Reply([delta("a") + "\n\n" + delta("b"), Act.HANG])) as server:
        pieces = chat(server).stream(ASKED, max_tokens=1, cancel=cancel)
        assert next(pieces) == "a"
        cancel.cancel()
        with pytest.raises(Cancelled):
            next(pieces)


def test_caller_who_stops_reading_hangs_up() -> None:
    with scripted(Reply([delta("ab"), Act.HANG])) as server:
        pieces = chat(server).stream(ASKED, max_tokens=1, cancel=Cancel())
        next(pieces)
        pieces.close()  # type: ignore[attr-defined]
        assert server.hung_up.wait(PATIENCE)


# Over TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 with its key, in one file."""
    if not (openssl := shutil.which("openssl")):
        pytest.skip("needs openssl to make a certificate")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    what = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    where = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run([openssl, *what, *where], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_private_authority_is_trusted_when_named(certificate: Path) -> None:
    with scripted(says("safe"), tls=tls(certificate)) as server:
        assert ask(chat(server, ca_file=f"{certificate}.crt")) == ["safe"]


def test_unknown_certificate_is_refused_before_the_key_is_sent(certificate: Path) -> None:
    with scripted(says("stolen"), tls=tls(certificate)) as server, pytest.raises(LLMUnavailable) as caught:
        ask(chat(server, key="sk-1"))
    assert "CERTIFICATE_VERIFY_FAILED" in caught.value.message
    assert server.requests == []


def test_missing_authority_is_a_settings_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.pem"):
        ask(OpenAIChat("https://127.0.0.1:9", "m", ca_file=str(tmp_path / "none.pem")))


def test_cancel_ends_the_wait_for_the_first_byte_over_tls(certificate: Path) -> None:
    with scripted(Reply(before=[Act.HANG]), tls=tls(certificate)) as server:
        ended = cancelled_when(server, server.next_request, ca_file=f"{certificate}.crt")
        assert isinstance(ended, Cancelled)


# The key


KEY = "sk-verysecret123"


@pytest.mark.parametrize(
    "reply",
    [
        refuses(401, f"Incorrect API key provided: {KEY}"),
        refuses(500, KEY),
        Reply([f'data: {{"error": "key {KEY}"}}']),
        Reply([f"data: not json {KEY}"]),
        Reply([delta("ab")]),
    ],
)
def test_key_appears_in_no_error_and_no_log(reply: Reply, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    error = failure(reply, key=KEY)
    shown = "".join(traceback.format_exception(error))
    assert KEY not in "".join([shown, error.message, error.hint, json.dumps(error.data), caplog.text])


def test_key_appears_in_no_repr() -> None:
    shown = repr(OpenAIChat("http://h/v1", "m", key=KEY))
    assert shown == "OpenAIChat('http://h/v1', 'm', key=…)"


@pytest.mark.parametrize("key", ["sk secret", "sk\nsecret", "sk-sécret", "sk\x00secret"])
def test_key_that_no_header_carries_is_refused_unseen(key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        OpenAIChat("http://h/v1", "m", key=key)
    assert "sk" not in str(caught.value)


# Passing a request on


TOOLS = {"messages": [{"role": "user", "content": "hi"}], "tools": [{"type": "function"}], "stream": True, "model": "x"}


def relayed(*replies: Reply, body: dict[str, Any] | None = None, **options: Any) -> bytes:
    with scripted(*replies) as server:
        return b"".join(chat(server, **options).relay(TOOLS if body is None else body, cancel=Cancel()))


def test_relayed_request_changes_in_nothing_but_the_model() -> None:
    with scripted(says("x")) as server:
        list(chat(server, key="sk-1").relay(TOOLS, cancel=Cancel()))
    assert server.requests[0].body == {**TOOLS, "model": "m"}
    assert server.requests[0].headers["Authorization"] == "Bearer sk-1"


def test_relayed_stream_arrives_byte_by_byte_as_it_was_sent() -> None:
    call = delta(None, tool_calls=[{"index": 0, "function": {"name": "f", "arguments": "ü"}}]).encode()
    lines = b": hello\r\n\r\n" + call + b"\n\n" + finish("tool_calls").encode() + b"\n\n" + DONE.encode() + b"\n\n"
    assert relayed(Reply([bytes([byte]) for byte in lines])) == lines


def test_relayed_stream_without_its_end_mark_gets_one_when_it_is_complete() -> None:
    assert relayed(Reply([delta("a"), finish("tool_calls")])).endswith(b"\n\ndata: [DONE]\n\n")


def test_relayed_stream_that_breaks_off_is_told_from_a_complete_one() -> None:
    with pytest.raises(LLMUnavailable, match="broke off"):
        relayed(Reply([delta("a")]))


def test_relayed_body_comes_whole_when_no_stream_was_asked_for() -> None:
    body = {**TOOLS, "stream": False}
    assert json.loads(relayed(json_reply({"choices": [1]}), body=body)) == {"choices": [1]}


@pytest.mark.parametrize("stream", [True, False])
def test_relayed_reply_of_another_kind_than_asked_for_is_an_error(stream: bool) -> None:
    wrong = json_reply({"choices": []}) if stream else says("x")
    with pytest.raises(LLMUnavailable, match="answered with"):
        relayed(wrong, body={**TOOLS, "stream": stream})


def test_relay_that_is_refused_says_so_before_the_first_piece() -> None:
    with scripted(refuses(400, "no tools here")) as server, pytest.raises(LLMRefused, match="no tools here") as caught:
        next(chat(server).relay(TOOLS, cancel=Cancel()))
    assert caught.value.status == 400


def test_cancel_from_another_thread_hangs_up_on_a_relay() -> None:
    cancel = Cancel()
    with scripted(Reply([delta("one"), Act.HANG])) as server:
        pieces = chat(server).relay(TOOLS, cancel=cancel)
        next(pieces)
        threading.Thread(target=cancel.cancel).start()
        with pytest.raises(Cancelled):
            list(pieces)
        assert server.hung_up.wait(PATIENCE)
