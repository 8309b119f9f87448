"""The bytes of a pprof profile become its samples: gzipped protocol buffers, read without Go.

Who sent the profile may not be trusted: nothing that it names is opened, and what is read has limits.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ..errors import InvalidParams

RAW: Final = 128 << 20  # bytes, unpacked: a profile of a large service has a few millions
RECORDS: Final = 1_000_000  # samples, places, functions and strings
DEPTH: Final = 20_000  # fields of one of them: frames of a stack
FRAMES: Final = 4_000_000  # of all stacks together
HINT: Final = "a file that runtime/pprof, net/http/pprof or go test -memprofile wrote"


@dataclass(frozen=True, slots=True)
class Frame:
    """A function that was being called, and the line in it."""

    function: str  # with its package: net/http.(*conn).serve
    file: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Measure:
    """What each sample counts: `alloc_space` in `bytes`, `cpu` in `nanoseconds`."""

    type: str
    unit: str


@dataclass(frozen=True, slots=True)
class Sample:
    """A stack, as numbers of places, the innermost first, and a value for each measure."""

    places: tuple[int, ...]
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile; `frames` of a place are more than one where calls were inlined, the innermost first.

    Times are in nanoseconds, `time` since 1970. PERIOD is how much of `every` passes between two samples: in the heap
    profile of Go 524,288 bytes.
    """

    measures: tuple[Measure, ...]
    samples: tuple[Sample, ...]
    frames: Mapping[int, tuple[Frame, ...]]
    default: str
    every: Measure
    period: int
    time: int
    duration: int

    def stack(self, sample: Sample) -> Iterator[Frame]:
        """The frames of SAMPLE, the innermost first."""
        for place in sample.places:
            yield from self.frames.get(place, ())

    def index(self, measure: str = "") -> int:
        """Which of the measures MEASURE is; "" is the profile's own default, else the last.

        Raises InvalidParams that names those there are.
        """
        names = [each.type for each in self.measures]
        wanted = measure or self.default
        for name in (wanted, wanted.removeprefix("inuse_")):
            if name in names:
                return names.index(name)
        if measure:
            raise InvalidParams(f"the profile has no sample type {measure!r}", hint=f"one of {', '.join(names)}")
        return len(names) - 1


def read(content: bytes, name: str = "this") -> Profile:
    """The Profile in CONTENT, gzipped or not; raises InvalidParams, with NAME, for what is none or too large."""
    if content[:2] == b"\x1f\x8b":
        content = _unpacked(content, name)
    elif b" profile: " in content[:80]:
        raise InvalidParams(f"{name} is the text form of a profile", hint="fetch it without debug=1; " + HINT)
    try:
        return _profile(memoryview(content))
    except (IndexError, ValueError, KeyError) as exc:
        raise InvalidParams(f"{name} is no pprof profile: {exc}", hint=HINT) from exc


def _unpacked(content: bytes, name: str) -> bytes:
    engine = zlib.decompressobj(wbits=31)
    try:
        raw = engine.decompress(content, RAW)
    except zlib.error as exc:
        raise InvalidParams(f"{name} is damaged: {exc}", hint="fetch it anew") from exc
    if engine.unconsumed_tail:
        raise InvalidParams(f"{name} has more than {RAW >> 20} MB unpacked", hint="take a shorter profile")
    if not engine.eof:
        raise InvalidParams(f"{name} ends too early", hint="fetch it anew")
    return raw


# Protocol buffers, as far as profile.proto uses them. A message is fields; a field is its number with a whole number
# or with bytes, which are text, another message, or whole numbers without a space between.

Fields = dict[int, list[int | memoryview]]


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(number, value) of the fields of MESSAGE; raises ValueError or IndexError for what is none."""
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if kind == 2:
            length, at = _varint(message, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of kind {kind}")
        if at + length > end:
            raise ValueError("a field is longer than the message")
        if kind == 2:
            yield key >> 3, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """The whole number at AT, and where the next field begins."""
    byte = message[at]
    at += 1
    if byte < 0x80:
        return byte, at
    value, shift = byte & 0x7F, 7
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")


def _gathered(message: memoryview) -> Fields:
    found: Fields = defaultdict(list)
    for number, (field, value) in enumerate(_fields(message)):
        if number > DEPTH:
            raise ValueError(f"a record of more than {DEPTH:,} fields")
        found[field].append(value)
    return found


def _one(fields: Fields, number: int) -> int:
    """The last whole number of the field NUMBER, or 0."""
    found = fields.get(number)
    if not found:
        return 0
    if not isinstance(found[-1], int):
        raise ValueError("text where a number should be")
    return found[-1]


def _all(fields: Fields, number: int) -> list[int]:
    """The whole numbers of the field NUMBER, packed or one by one."""
    found: list[int] = []
    for value in fields.get(number, ()):
        if isinstance(value, int):
            found.append(value)
            continue
        at, end = 0, len(value)
        while at < end:
            one, at = _varint(value, at)
            found.append(one)
            if len(found) > DEPTH:
                raise ValueError(f"a record of more than {DEPTH:,} numbers")
    return found


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


# profile.proto


def _profile(message: memoryview) -> Profile:
    fields: Fields = defaultdict(list)
    for records, (number, value) in enumerate(_fields(message)):
        if records > RECORDS:
            raise ValueError(f"more than {RECORDS:,} records")
        fields[number].append(value)
    strings = [bytes(each).decode("utf-8", "replace") for each in _messages(fields, 6)]
    text: Callable[[int], str] = strings.__getitem__
    measures = tuple(_measure(_gathered(each), text) for each in _messages(fields, 1))
    if not measures or not strings or strings[0]:
        raise ValueError("there are no sample types in it")
    functions = dict(_function(_gathered(each), text) for each in _messages(fields, 5))
    frames = dict(_location(_gathered(each), functions) for each in _within(_messages(fields, 4)))
    samples = tuple(_samples(_messages(fields, 2), len(measures), frames))
    every = next((_measure(_gathered(each), text) for each in _messages(fields, 11)), Measure("", ""))
    numbers = (_signed(_one(fields, number)) for number in (12, 9, 10))
    return Profile(measures, samples, frames, text(_one(fields, 14)), every, *numbers)


def _within(places: Sequence[memoryview]) -> Sequence[memoryview]:
    """PLACES; raises ValueError when they are longer than any program: each line in them becomes an object."""
    if sum(map(len, places)) > RAW // 8:
        raise ValueError("its places are longer than any program")
    return places


def _messages(fields: Fields, number: int) -> Sequence[memoryview]:
    found = fields.get(number, [])
    if any(isinstance(each, int) for each in found):
        raise ValueError("a number where a message should be")
    return found  # type: ignore[return-value]


def _measure(fields: Fields, text: Callable[[int], str]) -> Measure:
    return Measure(text(_one(fields, 1)), text(_one(fields, 2)))


def _function(fields: Fields, text: Callable[[int], str]) -> tuple[int, tuple[str, str]]:
    return _one(fields, 1), (text(_one(fields, 2)) or text(_one(fields, 3)), text(_one(fields, 4)))


def _location(fields: Fields, functions: Mapping[int, tuple[str, str]]) -> tuple[int, tuple[Frame, ...]]:
    """(number, frames) of a place; one without functions is called by its address."""
    lines = [_gathered(each) for each in _messages(fields, 4)]
    known = [(functions.get(_one(line, 1)), _signed(_one(line, 2))) for line in lines]
    frames = tuple(Frame(each[0], each[1], line) for each, line in known if each)
    return _one(fields, 1), frames or (Frame(f"0x{_one(fields, 3):x}"),)


def _samples(
    messages: Sequence[memoryview], measures: int, frames: Mapping[int, tuple[Frame, ...]]
) -> Iterator[Sample]:
    """The samples; raises ValueError where few places stand for more frames than anybody can look at."""
    count = 0
    for each in messages:
        fields = _gathered(each)
        values, places = tuple(map(_signed, _all(fields, 2))), tuple(_all(fields, 1))
        if len(values) != measures:
            raise ValueError(f"a sample with {len(values)} values, not {measures}")
        count += sum(len(frames.get(place, ())) for place in places)
        if count > FRAMES:
            raise ValueError(f"more than {FRAMES:,} frames")
        yield Sample(places, values)
