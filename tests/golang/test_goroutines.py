"""Goroutines are grouped alike from a profile, from its texts, and from what a crash printed."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragmacs_srv.errors import InvalidParams
from ragmacs_srv.golang import goroutines
from ragmacs_srv.golang.goroutines import Goroutines
from tests.golang import recorded


def taken(name: str) -> Goroutines:
    return goroutines.read((recorded.FOLDER / name).read_bytes(), name)


def dump(*lines: str) -> Goroutines:
    return goroutines.read("\n".join(lines).encode())


def test_a_leak_is_found_and_the_goroutine_that_a_variable_holds_is_not() -> None:
    leaked, all_of_them = taken("goroutineleak.pb.gz"), taken("goroutine.pb.gz")
    assert (leaked.kind, leaked.total, all_of_them.total) == ("goroutineleak", 5, 7)
    assert [(each.top.function, each.count, each.state) for each in leaked.groups] == [
        ("main.leaky.func1", 5, "chan send")
    ]
    assert "main.heldGlobally.func1" in {each.top.function for each in all_of_them.groups}


def test_the_text_says_what_the_profile_does() -> None:
    text = taken("leak.txt")
    assert (text.kind, text.total, [each.kind for each in text.others]) == ("goroutine", 7, ["goroutineleak"])
    assert text.others[0].total == 5
    of_profile = {(each.top.function, each.count) for each in taken("goroutine.pb.gz").groups}
    assert {(each.top.function, each.count) for each in text.groups} == of_profile


@pytest.mark.shared
def test_the_recorded_text_beside_the_checkout_has_its_totals(shared: Path) -> None:
    found = goroutines.read((shared / "go-truth/samples/goroutine_profiles_debug1.txt").read_bytes())
    assert [(each.total, each.groups[0].top.function, each.groups[0].count) for each in (found, *found.others)] == [
        (7, "main.leaky.func1", 5),
        (5, "main.leaky.func1", 5),
    ]


def test_a_deadlock_names_its_reason_and_who_waits_where() -> None:
    found = taken("deadlock.txt")
    assert found.reason == "fatal error: all goroutines are asleep - deadlock!"
    first, *others = found.groups
    assert (first.count, first.state, first.top.function) == (3, "chan receive", "main.(*server).wait")
    assert first.created_by == "main.main at example.com/leak/dl/main.go:13"
    assert {(each.state, each.top.function) for each in others} == {
        ("sync.WaitGroup.Wait", "main.main"),
        ("select (no cases)", "main.main.func1"),
    }
    assert "3 at main.(*server).wait [chan receive]" in goroutines.told(found)


@pytest.mark.parametrize(
    ("head", "state", "minutes"),
    [
        ("goroutine 18 [chan send, 5 minutes, locked to thread]:", "chan send", 5),
        ("goroutine 1 gp=0xc0000061c0 m=0 mp=0x5b [running]:", "running", 0),
        ("goroutine 7 [chan receive (leaked)]:", "chan receive (leaked)", 0),
        ('goroutine 9 [select, 61 minutes] {job: "a b"}:', "select", 61),
        ("goroutine 5 [sleep (durable), synctest bubble 1]:", "sleep (durable)", 0),
    ],
)
def test_every_form_of_a_head_is_read(head: str, state: str, minutes: int) -> None:
    found = dump(
        head, "main.f(0x1, {0x2, 0x3})", "\t/src/x y/main.go:7 +0x1d", "created by main.main", "\t/m.go:3 +0x1"
    )
    (group,) = found.groups
    assert (group.state, group.minutes, group.created_by) == (state, minutes, "main.main at /m.go:3")
    assert (group.top.function, group.top.file, group.top.line) == ("main.f", "/src/x y/main.go", 7)


def test_a_stack_that_was_cut_is_read_as_far_as_it_goes() -> None:
    found = dump("goroutine 1 [running]:", "main.f(...)", "\t/m.go:7", "...additional frames elided...", "main.g()")
    assert [frame.function for frame in found.groups[0].stack] == ["main.f"]


def test_between_two_snapshots_what_grew_comes_first_and_what_went_is_told() -> None:
    def stacks(**counts: int) -> Goroutines:
        text = [f"goroutine profile: total {sum(counts.values())}"]
        for name, count in counts.items():
            text += [f"{count} @ 0x1", f"#\t0x1\tmain.{name}+0x1\t/m.go:{len(name)}", ""]
        return dump(*text)

    found = goroutines.grown(stacks(busy=9, leak=30), stacks(busy=10, leak=3, gone=2))
    assert [(each.top.function, each.count, each.growth) for each in found.groups] == [
        ("main.leak", 30, 27),
        ("main.busy", 9, -1),
        ("main.gone", 0, -2),
    ]
    told = goroutines.told(found)
    assert "39 goroutines at 2 places, +24 since the earlier snapshot" in told
    assert "30 (+27) at main.leak" in told


def test_no_leak_means_none_that_could_be_proven() -> None:
    told = goroutines.told(dump("goroutineleak profile: total 0"))
    assert told.startswith("0 leaks: none that could be proven")
    assert "0 means none provable" in told


@pytest.mark.parametrize("content", [b"", b"hello", b"goroutine 1 without a state", b"\x1f\x8b", b"\x00" * 50])
def test_what_names_no_goroutines_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidParams):
        goroutines.read(content)


def test_a_profile_of_something_else_is_refused_by_its_name() -> None:
    with pytest.raises(InvalidParams, match=r"heap.pb.gz is a profile of alloc_objects"):
        taken("heap.pb.gz")


PIECES = st.sampled_from(
    [
        "goroutine 1 [running]:",
        "goroutine profile: total 3",
        "3 @ 0x1 0x2",
        "#\t0x1\tmain.f+0x1\t/m.go:1",
        "",
        "main.f()",
        "\t/m.go:1 +0x1",
        "created by main.f in goroutine 1",
        "[",
        "goroutine ",
        "\t",
        "#\t0x",
    ]
)


@given(
    st.one_of(st.binary(max_size=200), st.lists(st.one_of(PIECES, st.text(max_size=20))).map("\n".join).map(str.encode))
)
def test_no_text_makes_it_fail_otherwise(content: bytes) -> None:
    with contextlib.suppress(InvalidParams):
        goroutines.told(goroutines.read(content))


@pytest.mark.parametrize(
    "line",
    ["\t" * 300_000 + "x", "#\t0x1\t" + "\t+0x1" * 100_000, "goroutine " * 50_000, ":1 +0x" * 80_000, "[" * 300_000],
)
def test_a_line_made_to_be_slow_is_not(line: str) -> None:
    """In quadratic time the suite would stop it."""
    dump(
        "goroutine 1 [running]:", "main.f()", line, "main.g()", line, "", "goroutine profile: total 1", "1 @ 0x1", line
    )
