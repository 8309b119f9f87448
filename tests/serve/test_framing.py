"""Bytes in any pieces are the same messages; what is no message is refused within its limits."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragmacs_srv.serve.framing import MAX_BODY, MAX_DEPTH, MAX_HEADER, Broken, Frames, Malformed, frame, parse

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    borders = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(borders)]


@given(st.lists(VALUES, min_size=1, max_size=4), st.lists(st.integers(0, 10_000), max_size=12))
def test_any_split_of_the_bytes_gives_the_same_messages(messages: list[object], cuts: list[int]) -> None:
    frames = Frames()
    data = b"".join(map(frame, messages))
    found = [parse(body) for piece in pieces(data, cuts) for body in frames.feed(piece)]
    assert found == messages
    frames.end()


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=6))
def test_garbage_is_refused_or_waited_for_alike_in_any_split(garbage: bytes, cuts: list[int]) -> None:
    def outcome(parts: list[bytes]) -> tuple[list[bytes], bool]:
        frames, bodies = Frames(), []
        try:
            for part in parts:
                bodies += frames.feed(part)
            frames.end()
        except Broken:
            return bodies, True
        return bodies, False

    assert outcome([garbage]) == outcome(pieces(garbage, cuts))


@given(VALUES, st.integers(1, 10_000))
def test_a_truncated_message_is_noticed(message: object, missing: int) -> None:
    data = frame(message)
    frames = Frames()
    cut = data[: max(len(data) - missing, 1)]
    assert list(frames.feed(cut)) == []
    with pytest.raises(Broken):
        frames.end()


@given(st.binary(max_size=200))
def test_a_body_is_json_or_malformed(body: bytes) -> None:
    try:
        value = parse(body)
    except Malformed:
        return
    assert parse(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    "head",
    [
        b"X-Thing: 1",
        b"Content-Length: -5",
        b"Content-Length: ten",
        b"Content-Length: " + b"9" * 5000,
        b"Content-Length: %d" % (MAX_BODY + 1),
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: 2\r\nContent-Type: x; charset=utf-16",
        b"POST / HTTP/1.1\r\nContent-Length: 2",
    ],
    ids=["none", "negative", "words", "digits", "too long", "two", "charset", "http"],
)
def test_a_header_that_says_no_length_breaks_the_stream(head: bytes) -> None:
    with pytest.raises(Broken):
        list(Frames().feed(head + b"\r\n\r\n{}"))


@pytest.mark.parametrize("head", [b"content-length:2", b"Content-Type: a/b; charset=utf8\r\nContent-Length: 2"])
def test_other_ways_to_write_a_header_are_read(head: bytes) -> None:
    assert list(Frames().feed(head + b"\r\n\r\n{}")) == [b"{}"]


def test_a_header_without_end_is_refused_at_its_limit() -> None:
    frames = Frames()
    assert list(frames.feed(b"X: " + b"a" * (MAX_HEADER - 4))) == []
    with pytest.raises(Broken):
        list(frames.feed(b"a"))


def test_nesting_has_a_limit() -> None:
    assert parse(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    for depth in (MAX_DEPTH + 2, 100_000):
        with pytest.raises(Malformed, match="deeper"):
            parse(b"[" * depth + b"]" * depth)


@pytest.mark.parametrize("body", [b"NaN", b"[-Infinity]", b"1e999", b"9" * 401, b'"\xff"', b""])
def test_what_json_cannot_say_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        parse(body)


def test_a_reply_has_the_one_header_that_emacs_reads() -> None:
    head, _, body = frame({"text": "é\ud800"}).partition(b"\r\n\r\n")
    assert head == b"Content-Length: %d" % len(body)
    assert json.loads(body)["text"] == "é\ud800"
    with pytest.raises(ValueError, match="JSON compliant"):
        frame(float("nan"))


@pytest.mark.parametrize("around", ["", "\\", "\\\\", "\\u0000"])
def test_a_nul_which_emacs_cannot_read_is_a_sign_for_it(around: str) -> None:
    said = json.loads(frame(f"{around}\0\0{around}").partition(b"\r\n\r\n")[2])
    assert said == f"{around}\ufffd\ufffd{around}"
