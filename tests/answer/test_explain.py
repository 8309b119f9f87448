"""What Go printed is named, read and explained, without Go; and what is not known is not explained."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragmacs_srv.answer import explain as explaining
from ragmacs_srv.answer.explain import Explanation
from ragmacs_srv.errors import InvalidParams, ToolchainMissing
from ragmacs_srv.events import Cancel
from ragmacs_srv.golang import crash, toptext
from ragmacs_srv.golang.toolchain import Toolchain
from ragmacs_srv.golang.workshop import Workshop
from ragmacs_srv.model import Page, Section
from tests.golang import recorded

TRACE = (
    "gc 7 @12.5s 3%: 0.5+40+0.25 ms clock, 2.0+10/60/5.0+1.0 ms cpu, 60->66->33 MB, 64 MB goal, "
    "1 MB stacks, 2 MB globals, 4 P"
)
ESCAPE = """
./esc.go:13:2: b escapes to heap in Leak:
./esc.go:13:2:   flow: ~r0 ← &b:
./esc.go:13:2:     from &b (address-of) at ./esc.go:14:9
./esc.go:13:2:     from return &b (return) at ./esc.go:14:2
./esc.go:13:2: moved to heap: b
./esc.go:28:11: make([]byte, n) does not escape
./esc.go:47:12: leaking param: p to result ~r0 level=0
"""
BENCH = "BenchmarkLeak-2   \t  234512\t       173.1 ns/op\t     288 B/op\t       2 allocs/op\n"


def without_go() -> Toolchain:
    raise ToolchainMissing("no usable go at PATH", hint="install Go", data={"kind": "go_missing"})


def nowhere(url: str) -> Page | None:
    return None


def explain(text: str, page: Callable[[str], Page | None] = nowhere) -> list[Explanation]:
    shop = Workshop(without_go, Path("/nowhere"), (), Cancel())
    found = explaining.explain(text, shop, page)
    assert all(explaining.told(each) and each.as_json() for each in found)
    return found


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        (TRACE, "gctrace", "33 MiB are live; its goal was 64 MiB. roots: 1 MiB stacks, 2 MiB globals"),
        ("./x.go:13:6: moved to heap: b", "escape", "./x.go:13: the variable b is put on the heap"),
        (ESCAPE, "escape", "from return &b (return) at ./esc.go:14:2"),
        (ESCAPE, "escape", "make([]byte, n) does not leave the call, and can be on the stack.\n    but since Go 1.25"),
        (ESCAPE, "escape", "the parameter p points to goes on to ~r0"),
        (BENCH, "benchmark", "BenchmarkLeak: 2 allocs/op, 144 bytes each"),
        (recorded.text("heap.alloc_space.top.txt"), "pprof", "main.keep: 18405369B itself, 35.06 % of all"),
        (recorded.text("deadlock.txt"), "crash", "3 at main.(*server).wait [chan receive]"),
        (recorded.text("leak.txt"), "goroutines", "5 leaked goroutines"),
        ("type T struct { A bool }", "struct", "no usable go at PATH.\ninstall Go"),
    ],
)
def test_what_go_printed_is_named_and_read(text: str, kind: str, says: str) -> None:
    (found,) = explain(text)
    assert found.kind == kind
    assert says in found.text
    assert found.sources


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("fatal error: runtime: out of memory", "no more memory"),
        ("fatal error: runtime: cannot allocate memory", "no more memory"),
        ("runtime: goroutine stack exceeds 1000000000-byte limit\nfatal error: stack overflow", "beyond its limit"),
        ("fatal error: all goroutines are asleep - deadlock!", "All goroutines wait"),
        ("fatal error: concurrent map writes", "one map at the same time"),
        ("fatal error: concurrent map read and map write", "one map at the same time"),
        ("panic: runtime error: invalid memory address or nil pointer dereference", "used that is nil"),
        ("panic: assignment to entry in nil map", "used that is nil"),
        ("panic: runtime error: index out of range [5] with length 3", "outside of its slice"),
        ("panic: send on closed channel", "after it was closed"),
        ("panic: sync: negative WaitGroup counter", "released more often"),
        ("fatal error: sync: unlock of unlocked mutex", "released more often"),
        ("panic: test timed out after 1m0s", "longer than its timeout"),
        ("panic: my own words", "nobody recovered"),
        ("signal: killed", "SIGKILL"),
        ("State: Terminated, Reason: OOMKilled", "SIGKILL"),
        ("SIGQUIT: quit", "asked to end"),
        ("fatal error: bad sweepgen in refill", "runtime stopped"),
        ("runtime: malformed GOMEMLIMIT; see `go doc runtime/debug.SetMemoryLimit`", "does not take"),
    ],
)
def test_every_way_to_die_is_known_by_name(said: str, name: str) -> None:
    died = crash.read(f"log line\n{said}\n\ngoroutine 1 [running]:\n")
    assert died is not None
    assert name in died.name
    assert died.said in said


def test_several_things_in_one_text_are_explained_one_after_the_other() -> None:
    found = explain("\n".join([TRACE, ESCAPE, "fatal error: runtime: out of memory"]))
    assert [each.kind for each in found] == ["crash", "gctrace", "escape"]


def test_a_section_that_is_indexed_is_quoted_in_its_own_words() -> None:
    words = "The heap grows to twice the live data. Half of it is garbage. It is computed so:\n\n    target = live"
    anchor = "how-to-see-what-the-garbage-collector-costs"
    section = Section("handbook:pprof-first", anchor, ("Costs",), words, ())

    def page(url: str) -> Page | None:
        return Page(section.url, "Profile", (section,)) if url.startswith(section.url) else None

    (found,) = explain(TRACE, page)
    quotes = [each.quote for each in found.sources]
    assert quotes == ["The heap grows to twice the live data. Half of it is garbage.", ""]
    assert quotes[0] in words
    assert quotes[0] in explaining.told(found)


@pytest.mark.parametrize("text", ["", "hello", "gc", "panic", "the word struct", "./x.go:1:2: undefined: y"])
def test_what_is_not_known_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(InvalidParams) as raised:
        explain(text)
    assert "gctrace=1" in raised.value.hint


def test_the_rows_of_pprof_are_read_with_their_units() -> None:
    top = toptext.read(recorded.text("heap.alloc_space.top.txt"))
    assert top is not None
    keep = next(row for row in top.rows if row.function == "main.keep")
    assert (keep.flat, keep.flat_percent, keep.cum_percent, keep.inlined) == ("18405369B", 35.06, 35.06, True)
    assert len(top.rows) == len(recorded.rows(recorded.text("heap.alloc_space.top.txt")))


SCRAPS = [TRACE, ESCAPE, BENCH, "goroutine 1 [running]:", "panic: x", "flat flat% sum% cum cum%", "type T struct {"]


@given(st.lists(st.one_of(st.sampled_from(SCRAPS), st.text(max_size=30))).map("\n".join))
def test_no_text_makes_it_fail_otherwise(text: str) -> None:
    try:
        assert explain(text)
    except InvalidParams as exc:
        assert exc.hint


@pytest.mark.parametrize("piece", ["1", " ", "x: ", "gc 1 @", "(", "make([]int, ", "1% ", "Killed ", "./x.go:1:1: "])
def test_a_line_made_to_be_slow_is_not(piece: str) -> None:
    """In quadratic time the suite would stop it."""
    text = "flat  flat%   sum%        cum   cum%\n" + piece * (500_000 // len(piece))
    with contextlib.suppress(InvalidParams):
        explain(text)
