"""A GC trace is read whatever stands between its lines, and the guide's formula gives the guide's numbers."""

from __future__ import annotations

import contextlib
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ragmacs_srv.errors import InvalidParams
from ragmacs_srv.golang import gctrace, plot, whatif
from ragmacs_srv.golang.canvas import Theme
from ragmacs_srv.golang.gctrace import MIB
from ragmacs_srv.golang.whatif import Program, what_if
from tests.golang import recorded

LINE = (
    "gc 7 @12.5s 3%: 0.5+40+0.25 ms clock, 2.0+10/60/5.0+1.0 ms cpu, 60->66->33 MB, 64 MB goal, "
    "1 MB stacks, 2 MB globals, 4 P"
)
# As Go 1.17 wrote it.
OLD = "gc 1 @0.013s 5%: 0.021+0.56+0.003 ms clock, 0.17+0.29/0.80/0+0.028 ms cpu, 4->4->0 MB, 5 MB goal, 8 P"


# Traces


def test_every_number_of_a_line_is_read() -> None:
    (cycle,) = gctrace.cycles(LINE)
    assert (cycle.number, cycle.at, cycle.percent, cycle.procs) == (7, 12.5, 3, 4)
    assert (cycle.clock, cycle.cpu) == ((0.5, 40, 0.25), (2, 10, 60, 5, 1))
    assert (cycle.before, cycle.peak, cycle.live, cycle.goal) == (60, 66, 33, 64)
    assert (cycle.stacks, cycle.globals, cycle.forced, cycle.leaks) == (1, 2, False, False)
    assert (cycle.stopped, cycle.marking) == (0.75, 70)


def test_a_line_of_an_old_go_has_no_roots() -> None:
    (cycle,) = gctrace.cycles(OLD)
    assert (cycle.live, cycle.stacks, cycle.globals) == (0, None, None)


def test_forced_cycles_and_leak_checks_are_told() -> None:
    line = LINE.replace("3%:", "3% (checking for goroutine leaks):") + " (forced)"
    (cycle,) = gctrace.cycles(line)
    assert (cycle.forced, cycle.leaks) == (True, True)
    assert "by runtime.GC" in gctrace.line(cycle)


def test_the_recorded_trace_is_read_whole() -> None:
    (trace,) = gctrace.read(recorded.text("trace.txt"))
    shape = trace.as_json()
    assert (shape["cycles"], shape["forced"], shape["peak_mib"]) == (13, 3, 87)
    assert [cycle["gc"] for cycle in shape["list"]] == [*range(1, 13), 139]
    assert trace.cost is not None


@pytest.mark.shared
def test_the_trace_beside_the_checkout_is_read_whole(shared: Path) -> None:
    (trace,) = gctrace.read((shared / "go-truth/samples/gctrace_go1.27.3.txt").read_text())
    assert [each.number for each in trace.cycles] == [1, 2, 3, 4, 5, 6, 7]
    assert [each.leaks for each in trace.cycles] == [False] * 5 + [True] * 2


def test_lines_of_the_program_are_passed_over_even_on_the_same_line() -> None:
    text = f"starting\ngc bogus\nprogress 50%{LINE}\r\nscvg: 1 MB\n{LINE.replace('gc 7 @12.5', 'gc 8 @13.5')}\n"
    (trace,) = gctrace.read(text)
    assert [each.number for each in trace.cycles] == [7, 8]
    assert trace.allocated == 27  # MiB/s: 60 less 33 in a second
    assert trace.busy == pytest.approx(0.0175)  # 70 ms of 4 CPU seconds
    assert trace.cost == pytest.approx(70e6 / (36 * MIB))


def test_numbers_that_begin_again_are_another_process() -> None:
    first, second = gctrace.read("\n".join([OLD, LINE, OLD]))
    assert (len(first.cycles), len(second.cycles)) == (2, 1)


def test_a_trace_without_lines_says_how_to_get_some() -> None:
    with pytest.raises(InvalidParams) as raised:
        gctrace.read("no trace")
    assert "GODEBUG=gctrace=1" in raised.value.hint


def test_what_is_worth_a_look_is_said() -> None:
    def trace(lives: list[int], percent: int = 3, goal: int = 0) -> str:
        lines = [
            f"gc {n} @{n}.0s {percent}%: 0+1+0 ms clock, 0+9/1/0+0 ms cpu, {live}->{live}->{live} MB, "
            f"{goal or 2 * live} MB goal, 4 P"
            for n, live in enumerate(lives, 1)
        ]
        return gctrace.told(gctrace.read("\n".join(lines))[0])

    assert "the live heap grew from 10 to 90 MiB" in trace([10, 10, 20, 40, 60, 80, 90, 90])
    assert "25 % is much" in trace([10] * 4, percent=25)
    assert "the goal is hardly above what is live" in trace([100] * 10, goal=102)
    assert "(assists)" in trace([10] * 4)
    assert "note:" not in gctrace.told(gctrace.read(LINE)[0])


@given(st.lists(st.one_of(st.sampled_from([LINE, OLD, LINE[:60], "gc 1 @"]), st.text(max_size=40))).map("\n".join))
def test_no_text_makes_it_fail_otherwise(text: str) -> None:
    try:
        for each in gctrace.read(text):
            gctrace.told(each)
            each.as_json()
    except InvalidParams:
        assert LINE not in text


# What if


@pytest.mark.parametrize(("gogc", "new", "goal"), [(50, 5, 13), (100, 10, 18), (200, 20, 28)])
def test_the_example_of_the_guide_comes_out(gogc: int, new: int, goal: int) -> None:
    found = what_if(Program(8 * MIB, MIB, MIB), gogc)
    assert (found.new, found.goal, found.bound) == (new * MIB, goal * MIB, "gogc")


@pytest.mark.parametrize(("gogc", "goal"), [(50, 2), (100, 4), (200, 8), (400, 16)])
def test_the_goal_has_a_floor_that_grows_with_gogc(gogc: int, goal: int) -> None:
    found = what_if(Program(1000), gogc)
    assert (found.goal, found.bound) == (goal * MIB, "floor")


def test_the_memory_limit_ends_the_heap_even_without_gogc() -> None:
    program = Program(64 * MIB, stacks=2 * MIB, other=6 * MIB)
    for gogc in (100, None):
        found = what_if(program, gogc, 100 * MIB)
        assert (found.goal, found.memory, found.bound, found.spiral) == (92 * MIB, 100 * MIB, "limit", False)


def test_a_limit_below_what_is_live_is_a_death_spiral_at_half_the_cpu() -> None:
    found = what_if(Program(64 * MIB, rate=10.0 * MIB, cost=1.0, procs=2), 100, 60 * MIB)
    assert (found.spiral, found.new, found.cpu) == (True, 0, pytest.approx(0.5))
    assert "DEATH SPIRAL" in whatif.told(Program(64 * MIB), what_if(Program(64 * MIB), 100, 60 * MIB))


def test_a_collector_that_cannot_keep_up_is_told() -> None:
    program = Program(8 * MIB, rate=500.0 * MIB, cost=2.0)
    tight, wide = what_if(program, 100, 9 * MIB), what_if(program, 800)
    assert (tight.spiral, tight.cpu) == (False, pytest.approx(0.5))
    assert any("cannot keep up" in note for note in whatif.notes(program, tight))
    assert not any("cannot keep up" in note for note in whatif.notes(program, wide))


def test_without_gogc_and_limit_there_is_no_end() -> None:
    found = what_if(Program(64 * MIB, rate=1.0), None)
    assert (found.goal, found.cycles, found.bound) == (None, 0, "nothing")
    assert "until the machine has no more" in whatif.told(Program(64 * MIB), found)


def test_twice_gogc_is_half_the_work() -> None:
    program = Program(100 * MIB, rate=50.0 * MIB, cost=2.0, procs=4)
    low, high = what_if(program, 100), what_if(program, 200)
    assert low.cycles == pytest.approx(0.5)
    assert low.cpu == pytest.approx(0.5 * 100 * MIB * 2e-9 / 4)
    assert high.cpu == pytest.approx((low.cpu or 0) / 2)
    assert high.relative == pytest.approx(0.5)


def test_what_is_not_known_is_not_guessed() -> None:
    program = Program(100 * MIB)
    found = what_if(program, 200)
    assert (found.cycles, found.cpu, found.relative) == (None, None, 0.5)
    assert any("relative to GOGC=100" in note for note in whatif.notes(program, found))


def test_a_trace_says_what_the_program_is_like() -> None:
    trace = gctrace.read("\n".join([LINE, LINE.replace("gc 7 @12.5", "gc 8 @13.5")]))[0]
    program = whatif.given(trace, live="", stacks="", globals_="", other="1MiB", rate="", cost=0)
    assert program == Program(33 * MIB, MIB, 2 * MIB, MIB, 27.0 * MIB, trace.cost, 4)


@pytest.mark.parametrize(
    ("text", "made"),
    [("64MiB", 64 * MIB), ("1.5GiB", 3 << 29), ("500MB", 500_000_000), ("1048576", MIB), ("0", 0), (" 2 KiB ", 2048)],
)
def test_sizes_are_read_with_their_units(text: str, made: int) -> None:
    assert whatif.size(text, "live") == made


@pytest.mark.parametrize("text", ["64", "MiB", "-5MiB", "1e9", "64mib", "", "9" * 15 + "TiB", "٣MiB"])
def test_a_size_that_could_mean_something_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidParams):
        whatif.size(text, "live")


@pytest.mark.parametrize(("text", "made"), [("100", 100), (" OFF ", None), ("-1", None), ("1", 1)])
def test_gogc_is_a_percentage_or_off(text: str, made: int | None) -> None:
    assert whatif.gogc(text) == made


@pytest.mark.parametrize("text", ["0", "-5", "50%", "fast", "", "99999999"])
def test_gogc_is_nothing_else(text: str) -> None:
    with pytest.raises(InvalidParams, match="GOGC cannot be"):
        whatif.gogc(text)


def test_a_limit_in_units_that_go_refuses_is_refused_with_the_right_ones() -> None:
    with pytest.raises(InvalidParams) as raised:
        whatif.limit("460MB")
    assert raised.value.hint == "GOMEMLIMIT=460MiB, or 438MiB for the same bytes"
    assert whatif.limit("460MiB") == 460 * MIB
    assert whatif.limit("off") is None


@given(st.text(max_size=12))
def test_no_size_makes_it_fail_otherwise(text: str) -> None:
    for read in (whatif.gogc, whatif.limit, lambda each: whatif.size(each, "live")):
        with contextlib.suppress(InvalidParams):
            read(text)


# The plot

SIZES = st.integers(0, 1 << 45)


@pytest.mark.parametrize("theme", ["auto", "light", "dark"])
@given(
    program=st.builds(
        Program,
        live=SIZES,
        stacks=SIZES,
        rate=st.none() | st.floats(0, 1e12),
        cost=st.none() | st.floats(0, 1e4),
        procs=st.integers(1, 512),
    ),
    gogc=st.none() | st.integers(1, 100_000),
    limit=st.none() | st.integers(1, 1 << 50),
)
@example(program=Program(1, rate=2.2e-309, cost=1.0), gogc=100, limit=None)
def test_any_program_can_be_drawn_and_told(theme: Theme, program: Program, gogc: int | None, limit: int | None) -> None:
    chosen = what_if(program, gogc, limit)
    root = ElementTree.fromstring(plot.svg(program, chosen, theme))
    for each in root.iter("{http://www.w3.org/2000/svg}path"):
        assert "nan" not in each.get("d", "") and "inf" not in each.get("d", "")
    assert whatif.told(program, chosen)
    assert whatif.as_json(program, chosen)["bound_by"] == chosen.bound


def test_a_plot_tells_its_curves_without_colour() -> None:
    program = Program(100 * MIB, rate=50.0 * MIB, cost=2.0)
    drawn = plot.svg(program, what_if(program, 100, 250 * MIB))
    curves = [line for line in drawn.splitlines() if 'class="curve"' in line]
    assert len({line.partition("stroke-dasharray=")[2][:6] for line in curves}) == len(curves) == 3
    for name in ("heap at its peak", "live heap", "GC CPU", "memory limit 250 MiB", "GOGC=100: 200 MiB, 10.5 % CPU"):
        assert f">{name}<" in drawn
    assert "prefers-color-scheme: dark" in drawn
