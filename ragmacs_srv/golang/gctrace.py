"""What a program printed under GODEBUG=gctrace=1 becomes what its collector did: how often, how long, how much."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any, Final

from ..errors import InvalidParams

MIB: Final = 1 << 20  # what the trace calls MB
HINT: Final = "run the program with GODEBUG=gctrace=1 and keep its stderr: GODEBUG=gctrace=1 ./program 2> trace.txt"
_TIME: Final = r"(\d{1,15}(?:\.\d{1,9})?)"
_CYCLE: Final = re.compile(
    rf"gc (\d{{1,12}}) @{_TIME}s (\d{{1,4}})%(?P<leaks> \(checking for goroutine leaks\))?: "
    rf"{_TIME}\+{_TIME}\+{_TIME} ms clock, {_TIME}\+{_TIME}/{_TIME}/{_TIME}\+{_TIME} ms cpu, "
    r"(\d{1,9})->(\d{1,9})->(\d{1,9}) MB, (\d{1,9}) MB goal, "
    r"(?:(?P<stacks>\d{1,9}) MB stacks, (?P<globals>\d{1,9}) MB globals, )?(\d{1,6}) P(?P<forced> \(forced\))?"
)


@dataclass(frozen=True, slots=True)
class Cycle:
    """One collection. Times are in milliseconds but for `at`, seconds since the start; sizes in MiB."""

    number: int
    at: float
    percent: int  # of the CPU time since the start that the collector took
    clock: tuple[float, float, float]  # sweep termination, mark, mark termination; the first and last stop the world
    cpu: tuple[float, float, float, float, float]  # the same; marking is assists, dedicated workers, idle workers
    before: int  # heap when it began
    peak: int  # heap when it ended
    live: int  # of that, what was marked
    goal: int
    stacks: int | None  # None: before Go 1.18 this was not said
    globals: int | None
    procs: int
    forced: bool
    leaks: bool  # it looked for leaked goroutines

    @property
    def stopped(self) -> float:
        """Milliseconds in which nothing else ran."""
        return self.clock[0] + self.clock[2]

    @property
    def marking(self) -> float:
        """Milliseconds of CPU for marking, without workers that nobody else had a use for."""
        return self.cpu[1] + self.cpu[2]

    def as_json(self) -> dict[str, Any]:
        return {
            "gc": self.number,
            "at_s": self.at,
            "gc_cpu_pct": self.percent,
            "clock_ms": list(self.clock),
            "cpu_ms": list(self.cpu),
            "stw_ms": round(self.stopped, 6),
            "heap_before_mib": self.before,
            "heap_peak_mib": self.peak,
            "heap_live_mib": self.live,
            "goal_mib": self.goal,
            "stacks_mib": self.stacks,
            "globals_mib": self.globals,
            "procs": self.procs,
            "forced": self.forced,
            "leak_check": self.leaks,
        }


@dataclass(frozen=True, slots=True)
class Trace:
    """The cycles of one process, in their order."""

    cycles: tuple[Cycle, ...]

    @property
    def seconds(self) -> float:
        """From the first cycle to the last."""
        return self.cycles[-1].at - self.cycles[0].at

    @property
    def intervals(self) -> tuple[float, ...]:
        """Seconds from the start of each cycle to that of the next."""
        return tuple(max(0.0, b.at - a.at) for a, b in zip(self.cycles, self.cycles[1:], strict=False))

    @property
    def allocated(self) -> float | None:
        """MiB per second that the program allocates, as the heap grew between cycles; None for less than two."""
        if self.seconds <= 0:
            return None
        grown = (max(0, b.before - a.live) for a, b in zip(self.cycles, self.cycles[1:], strict=False))
        return sum(grown) / self.seconds

    @property
    def busy(self) -> float | None:
        """Part of the available CPU time that marking took, between the first cycle and the last."""
        if self.seconds <= 0:
            return None
        spent = sum(each.marking for each in self.cycles[:-1])
        return spent / (1000 * self.seconds * self.cycles[-1].procs)

    @property
    def cost(self) -> float | None:
        """Nanoseconds of CPU to mark one byte that is live, roots included; None where the trace is too coarse."""
        seen = [each for each in self.cycles if each.live >= 4]
        size = sum((each.live + (each.stacks or 0) + (each.globals or 0)) * MIB for each in seen)
        return sum(each.marking for each in seen) * 1e6 / size if size else None

    def as_json(self, limit: int = 50) -> dict[str, Any]:
        """The statistics, and the last LIMIT cycles; sizes in MiB, times as their names say."""
        last, stops = self.cycles[-1], [each.stopped for each in self.cycles]
        return {
            "cycles": len(self.cycles),
            "forced": sum(each.forced for each in self.cycles),
            "leak_checks": sum(each.leaks for each in self.cycles),
            "seconds": round(self.seconds, 3),
            "interval_s": _spread(self.intervals),
            "stw_ms": _spread(stops) | {"total": round(sum(stops), 3)},
            "live_mib": {"last": last.live, "max": max(each.live for each in self.cycles)},
            "peak_mib": max(each.peak for each in self.cycles),
            "goal_mib": {"last": last.goal, "max": max(each.goal for each in self.cycles)},
            "alloc_mib_per_s": _rounded(self.allocated),
            "mark_cpu_fraction": _rounded(self.busy, 4),
            "mark_ns_per_byte": _rounded(self.cost, 3),
            "gc_cpu_pct": last.percent,
            "procs": last.procs,
            "list": [each.as_json() for each in self.cycles[-limit:]],
        }


def read(text: str) -> list[Trace]:
    """The traces in TEXT, one for each process that wrote to it; raises InvalidParams where there is none.

    Lines of anything else are passed over.
    """
    traces: list[list[Cycle]] = []
    for each in cycles(text):
        if not traces or each.number <= traces[-1][-1].number:
            traces.append([])
        traces[-1].append(each)
    if not traces:
        raise InvalidParams("there is no line of a GC trace in it", hint=HINT)
    return [Trace(tuple(each)) for each in traces]


def cycles(text: str) -> Iterator[Cycle]:
    """Each cycle in TEXT, also where the program printed something in front of it on the same line."""
    for found in _CYCLE.finditer(text):
        part = found.groupdict()
        plain = [value for name, value in zip(_names(found), found.groups(), strict=True) if not name]
        number, at, percent, *times = plain[:11]
        before, peak, live, goal, procs = map(int, plain[11:])
        a, b, c, d, e, f, g, h = map(float, times)
        yield Cycle(
            number=int(number),
            at=float(at),
            percent=int(percent),
            clock=(a, b, c),
            cpu=(d, e, f, g, h),
            before=before,
            peak=peak,
            live=live,
            goal=goal,
            stacks=None if part["stacks"] is None else int(part["stacks"]),
            globals=None if part["globals"] is None else int(part["globals"]),
            procs=procs,
            forced=bool(part["forced"]),
            leaks=bool(part["leaks"]),
        )


def _names(found: re.Match[str]) -> list[str]:
    """The name of each group of FOUND, "" for those without."""
    by_number = {number: name for name, number in found.re.groupindex.items()}
    return [by_number.get(number, "") for number in range(1, found.re.groups + 1)]


def _spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    return {
        "min": round(min(values), 4),
        "median": round(median(values), 4),
        "mean": round(mean(values), 4),
        "max": round(max(values), 4),
    }


def _rounded(value: float | None, digits: int = 2) -> float | None:
    return None if value is None else round(value, digits)


# As text


def told(trace: Trace) -> str:
    """What the collector did, and what to think of it."""
    return "\n".join([*_told(trace), "", *(f"note: {each}" for each in verdicts(trace))]).rstrip()


def line(cycle: Cycle) -> str:
    """One cycle, its numbers named."""
    roots = f" roots: {cycle.stacks} MiB stacks, {cycle.globals} MiB globals." if cycle.stacks is not None else ""
    forced = " by runtime.GC, not by the pacer," if cycle.forced else ""
    leaks = " and looked for leaked goroutines," if cycle.leaks else ""
    return (
        f"Cycle {cycle.number} began {cycle.at:g} s after the start{forced}{leaks} with {cycle.before} MiB of heap, "
        f"and ended with {cycle.peak} MiB, of which {cycle.live} MiB are live; its goal was {cycle.goal} MiB.{roots} "
        f"It stopped the world for {cycle.clock[0]:g} + {cycle.clock[2]:g} ms, and marked for {cycle.clock[1]:g} ms "
        f"while the program ran: {cycle.cpu[1]:g} ms of CPU by the program itself (assists), {cycle.cpu[2]:g} by "
        f"workers, {cycle.cpu[3]:g} by idle ones, on {cycle.procs} processors. "
        f"Since the start the collector took {cycle.percent} % of the CPU time."
    )


def _told(trace: Trace) -> Iterator[str]:
    shape = trace.as_json(0)
    many = shape["cycles"]
    if many == 1:
        yield line(trace.cycles[0])
        return
    forced = f", {shape['forced']} forced" if shape["forced"] else ""
    yield f"{many} cycles in {shape['seconds']:g} s{forced}, one each {shape['interval_s']['median']:g} s (median)"
    yield (
        f"heap: live {shape['live_mib']['last']} MiB at the end, {shape['live_mib']['max']} at most; "
        f"peak {shape['peak_mib']} MiB; last goal {shape['goal_mib']['last']} MiB"
    )
    stops = shape["stw_ms"]
    yield f"stopped the world for {stops['median']:g} ms (median), {stops['max']:g} at most, {stops['total']:g} in all"
    if trace.allocated is not None:
        yield f"allocates about {trace.allocated:,.1f} MiB/s; marking took {100 * (trace.busy or 0):.1f} % of the CPUs"
    if trace.cost is not None:
        yield f"marking a live byte takes {trace.cost:.2f} ns of CPU"
    yield f"the collector took {shape['gc_cpu_pct']} % of the CPU time since the start, on {shape['procs']} processors"


def verdicts(trace: Trace) -> Iterator[str]:
    """What in TRACE is worth a look."""
    last, many = trace.cycles[-1], len(trace.cycles)
    forced = sum(each.forced for each in trace.cycles)
    if forced > many / 2 and many > 1:
        yield "most cycles were forced, by runtime.GC or debug.FreeOSMemory: they say little about pacing"
    elif many > 3 and last.live * 2 < 4 and last.goal <= 4:
        yield "the heap is at its least size, 4 MiB by GOGC=100: cycles cost little, a higher GOGC makes them rarer"
    if last.percent >= 20 and many > 3:
        yield f"{last.percent} % is much: allocate less (a profile of alloc_objects says where), or raise GOGC"
    if many > 9 and last.goal <= last.live * 1.1 and last.live >= 8:
        yield "the goal is hardly above what is live: a low memory limit, or a low GOGC, makes it collect on"
    quarter = max(1, many // 4)
    early, late = (mean(each.live for each in part) for part in (trace.cycles[:quarter], trace.cycles[-quarter:]))
    if many > 7 and late > 1.5 * early and late - early >= 8:
        yield f"the live heap grew from {early:.0f} to {late:.0f} MiB: two heap profiles say what is kept"
    assists = sum(each.cpu[1] for each in trace.cycles)
    if assists > 0.3 * sum(each.marking for each in trace.cycles) and assists > 5:
        yield "goroutines that allocate do a good part of the marking themselves (assists): that is latency"
