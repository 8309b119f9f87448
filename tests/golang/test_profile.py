"""A profile says without Go what `go tool pprof` says of it, and one that lies cannot do harm."""

from __future__ import annotations

import contextlib
import gzip
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ragmacs_srv.errors import InvalidParams
from ragmacs_srv.golang import costs, profile, received
from ragmacs_srv.golang.costs import Costs, amount, matcher
from ragmacs_srv.golang.profile import Frame, Measure, Profile, Sample
from ragmacs_srv.golang.toolchain import Toolchain
from tests.golang import recorded

BYTES = Measure("space", "bytes")


def number(value: int) -> bytes:
    """VALUE as protocol buffers write it."""
    value &= (1 << 64) - 1
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])


def field(key: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return number(key << 3) + number(value)
    return number(key << 3 | 2) + number(len(value)) + value


def written(places: Iterable[bytes], samples: Iterable[bytes], lines: bytes = b"") -> bytes:
    """A profile of one function with the fields of PLACES and SAMPLES; LINES is more of it."""
    head = field(1, field(1, 1) + field(2, 2)) + field(5, field(1, 1) + field(2, 3))
    strings = b"".join(field(6, each) for each in (b"", b"space", b"bytes", b"main.f"))
    return (
        head
        + strings
        + b"".join(field(4, each) for each in places)
        + b"".join(field(2, each) for each in samples)
        + lines
    )


def stacks(*samples: tuple[str, int], base: str = "") -> Profile:
    """A profile of stacks written as `leaf<caller<root`, each with a value."""
    frames: dict[int, tuple[Frame, ...]] = {}
    made = []
    for stack, value in samples:
        places = []
        for name in stack.split("<"):
            places.append(len(frames) + 1)
            frames[places[-1]] = (Frame(name, f"{name}.go", 1),)
        made.append(Sample(tuple(places), (value,)))
    return Profile((BYTES,), tuple(made), frames, "", BYTES, 1, 0, 0)


def flat_and_cum(found: Costs) -> recorded.Rows:
    return {row.function: (row.flat, row.cum) for row in found.rows}


# The same as pprof


@pytest.mark.parametrize("measure", ["alloc_space", "inuse_objects"])
def test_rows_are_those_of_pprof(measure: str) -> None:
    found = costs.costs(recorded.taken("heap.pb.gz"), measure)
    assert flat_and_cum(found) == recorded.rows(recorded.text(f"heap.{measure}.top.txt"))


def test_a_difference_is_that_of_pprof_with_its_percentages_of_the_base() -> None:
    base = recorded.taken("before.pb.gz")
    found = costs.costs(recorded.taken("heap.pb.gz"), "inuse_space", base=base)
    assert flat_and_cum(found) == recorded.rows(recorded.text("heap.diff.top.txt"))
    assert found.total == 8_987_664
    assert round(found.percent(found.rows[0].flat), 2) == 124.11


@pytest.mark.go
@pytest.mark.parametrize(
    ("name", "measure", "more"),
    [
        ("heap.pb.gz", "inuse_space", []),
        ("cpu.pb.gz", "samples", []),
        ("heap.pb.gz", "alloc_objects", ["-focus=main.even"]),
        ("goroutine.pb.gz", "goroutine", []),
    ],
)
def test_the_installed_pprof_says_the_same(name: str, measure: str, more: list[str], go: Toolchain) -> None:
    flags = ["-symbolize=none", "-top", "-nodefraction=0", "-nodecount=100000", f"-sample_index={measure}", *more]
    unit = [] if measure == "samples" else ["-unit=bytes"]
    command = [str(go.program), "tool", "pprof", *flags, *unit, str(recorded.FOLDER / name)]
    said = subprocess.run(command, env=dict(go.environ), capture_output=True, text=True, timeout=120, check=True).stdout
    focus = "main.even" if more else ""
    assert flat_and_cum(costs.costs(recorded.taken(name), measure, focus=focus)) == recorded.rows(said)


def test_a_heap_profile_is_scaled_by_go_and_not_once_more() -> None:
    """The program kept 300 times 64 KiB; to scale the estimate again would make it eight times as large."""
    found = costs.costs(recorded.taken("heap.pb.gz"), "alloc_space", focus="main.keep")
    assert found.rows[0].flat == pytest.approx(300 * 65536, rel=0.3)
    assert any("about one allocation in 512 KiB" in note for note in found.notes)


def test_what_was_inlined_has_rows_of_its_own() -> None:
    names = flat_and_cum(costs.costs(recorded.taken("heap.pb.gz"), "alloc_space"))
    assert {"main.keep", "main.odd", "strings.(*Builder).Grow"} <= names.keys()


def test_a_recursion_counts_once() -> None:
    rows = flat_and_cum(costs.costs(stacks(("f<g<f<main", 10), ("main", 1))))
    assert rows == {"f": (10, 10), "g": (0, 10), "main": (1, 11)}


def test_rows_of_lines_say_which_line_costs() -> None:
    found = costs.costs(recorded.taken("heap.pb.gz"), "alloc_space", by="line")
    keep = next(row for row in found.rows if row.function == "main.keep")
    source = recorded.text("heap.go.txt").splitlines()
    assert keep.file.endswith("heap/main.go")
    assert "make([]byte, 64<<10)" in source[keep.line - 1]


def test_the_measure_is_the_one_asked_for_or_the_default() -> None:
    taken = recorded.taken("heap.pb.gz")
    assert costs.costs(taken).measure.type == "inuse_space"
    assert costs.costs(recorded.taken("cpu.pb.gz")).measure.type == "cpu"
    with pytest.raises(InvalidParams) as raised:
        costs.costs(taken, "bogus")
    assert raised.value.hint == "one of alloc_objects, alloc_space, inuse_objects, inuse_space"


# What is shown


def test_peek_shows_callers_above_and_callees_below() -> None:
    found = costs.costs(stacks(("f<g<main", 30), ("f<main", 10), ("h<g<main", 5)), focus="^g$")
    lines = costs.peek(found).splitlines()
    at = next(n for n, line in enumerate(lines) if "  g (" in line)
    assert lines[at - 1].split() == ["35", "B", "from", "main"]
    assert [line.split()[-1] for line in lines[at + 1 : at + 3]] == ["f", "h"]


def test_a_tree_grows_from_the_root() -> None:
    found = costs.costs(stacks(("f<g<main", 300), ("h<main", 100), ("rare<main", 1)))
    lines = [line for line in costs.tree(found).splitlines() if " B " in line]
    assert [line.split(" B ")[1] for line in lines[1:]] == ["main", "  g", "    f", "  h"]


def test_a_tree_of_a_deep_recursion_ends() -> None:
    assert costs.tree(costs.costs(stacks(("<".join(["f"] * 5000), 1))))


def test_a_focus_that_matches_nothing_says_so() -> None:
    found = costs.costs(stacks(("f", 1)), focus="nowhere")
    assert "no function and no file matches 'nowhere'" in costs.top(found)
    assert (found.rows, found.shown, found.total) == ((), 0, 1)


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("even", "main.even", True),
        ("main.odd|even", "main.even", True),
        ("^main.even$", "main.even", True),
        ("^even", "main.even", False),
        ("main$", "main.even", False),
        ("main.*en$", "main.even", True),
        ("^m.*n.*n$", "main.even", True),
        ("^main.*main$", "main", False),
        ("(*Buffer).Write", "bytes.(*Buffer).Write", True),
        (r"\(\*Buffer\)\.Write", "bytes.(*Buffer).Write", True),
        (r"a\|b", "a|b", True),
        ("a||b", "b", True),
    ],
)
def test_a_pattern_matches_names(pattern: str, name: str, matches: bool) -> None:
    assert matcher(pattern)(name) is matches


@pytest.mark.parametrize("pattern", ["main.(a|b)", "", "|", "x" * 2000])
def test_a_pattern_that_would_mean_something_else_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidParams):
        matcher(pattern)


@given(st.text(max_size=30), st.text(max_size=60))
def test_no_pattern_fails_otherwise(pattern: str, name: str) -> None:
    with contextlib.suppress(InvalidParams):
        assert matcher(pattern)(name) in (True, False)


def test_a_pattern_made_to_be_slow_is_not() -> None:
    """As a regular expression it would not end."""
    slow = matcher(".*".join("a" * 200) + "b")
    assert not slow("a" * 100_000)


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0, "bytes", "0 B"),
        (1536, "bytes", "1.5 KiB"),
        (-(3 << 20), "bytes", "-3 MiB"),
        (5 << 50, "bytes", "5,120 TiB"),
        (1_500_000, "nanoseconds", "1.5 ms"),
        (90e9, "nanoseconds", "90 s"),
        (1234, "count", "1,234"),
    ],
)
def test_amounts_are_written_for_people(value: float, unit: str, shown: str) -> None:
    assert amount(value, unit) == shown


# What is no profile


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no sample types"),
        (b"\x1f\x8b\x08junk", "is damaged"),
        (gzip.compress(b"x" * 100, mtime=0)[:-9], "ends too early"),
        (gzip.compress(b"hello", mtime=0), "is no pprof profile"),
        (b"heap profile: 1: 144 [1: 144] @ heap/1048576", "is the text form"),
        (written([], [field(1, 1)]), "a sample with 0 values"),
        (written([], [field(2, b"\x01" * 30_000)]), "more than 20,000 numbers"),
        (written([field(1, 1) + field(4, b"") * 30_000], []), "more than 20,000 fields"),
        (field(6, 5) * 3, "a number where a message should be"),
        (b"\xff" * 30, "a number is too long"),
    ],
)
def test_what_is_no_profile_is_refused_with_its_name(content: bytes, says: str) -> None:
    with pytest.raises(InvalidParams) as raised:
        profile.read(content, "it.pb.gz")
    assert raised.value.message.startswith("it.pb.gz ")
    assert says in raised.value.message


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "RAW", 1 << 20)
    with pytest.raises(InvalidParams, match="more than 1 MB unpacked"):
        profile.read(gzip.compress(bytes(2 << 20)))


def test_few_bytes_cannot_stand_for_a_billion_frames() -> None:
    place = field(1, 1) + field(4, field(1, 1)) * 10_000
    sample = field(1, b"\x01" * 10_000) + field(2, 1)
    with pytest.raises(InvalidParams, match="more than 4,000,000 frames"):
        profile.read(written([place], [sample]))


def test_a_place_without_functions_is_called_by_its_address() -> None:
    taken = profile.read(written([field(1, 7) + field(3, 0xABC)], [field(1, 7) + field(2, -5)]))
    assert flat_and_cum(costs.costs(taken)) == {"0xabc": (-5, -5)}


def test_numbers_may_be_packed_or_not() -> None:
    place = field(1, 300) + field(4, field(1, 1) + field(2, 12))
    packed = profile.read(written([place], [field(1, number(300) * 2) + field(2, number(9))]))
    plain = profile.read(written([place], [field(1, 300) * 2 + field(2, 9)]))
    assert packed == plain
    assert packed.samples == (Sample((300, 300), (9,)),)


def no_crash(read: Callable[[bytes], object], content: bytes) -> None:
    with contextlib.suppress(InvalidParams):
        read(content)


@given(st.binary(max_size=200))
@example(b"\x0a\x80")
def test_no_bytes_make_it_fail_otherwise(content: bytes) -> None:
    no_crash(profile.read, content)
    no_crash(profile.read, gzip.compress(content))


@given(st.data())
def test_no_damage_makes_it_fail_otherwise(data: st.DataObject) -> None:
    raw = bytearray(gzip.decompress((recorded.FOLDER / "heap.pb.gz").read_bytes()))
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    no_crash(lambda content: costs.tree(costs.costs(profile.read(content))), bytes(raw))


# Files


def test_only_plain_files_of_a_bearable_size_are_read(tmp_path: Path) -> None:
    import os

    (tmp_path / "small").write_bytes(b"12345")
    os.mkfifo(tmp_path / "pipe")
    assert received.content(tmp_path / "small") == b"12345"
    for name, says in [("nothing", "cannot be read"), ("pipe", "is no file"), ("", "is no file")]:
        with pytest.raises(InvalidParams, match=says):
            received.content(tmp_path / name)
    with pytest.raises(InvalidParams, match="more than 0 MB"):
        received.content(tmp_path / "small", most=4)
