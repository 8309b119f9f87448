"""A live heap, GOGC and a memory limit become the memory and the collector's work that follow, by the guide's formulas.

Nothing is run. The formulas are those of https://go.dev/doc/gc-guide#GOGC for a program in a steady state:

    target = live + (live + stacks + globals) × GOGC / 100
    cycles per second = allocation rate / (goal - live)
    CPU of a cycle = (live + stacks + globals) × cost of a byte
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from ..errors import InvalidParams
from .costs import amount
from .gctrace import MIB, Trace

FLOOR: Final = 4 * MIB  # bytes, × GOGC / 100: the runtime's least goal
CAP: Final = 0.5  # of the CPU time: more the collector never takes, whatever the memory limit says
LEAST_COST: Final = 1e-6  # nanoseconds: less is no measurement
STEPS: Final = (25, 50, 100, 200, 400, 800)
LARGEST: Final = 1 << 62  # bytes
UNITS: Final = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
DECIMAL: Final = {"kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


@dataclass(frozen=True, slots=True)
class Program:
    """A program in a steady state; sizes in bytes, RATE in bytes a second, COST in nanoseconds of CPU a byte.

    OTHER is what the runtime needs beside heap and stacks. A rate or a cost of None is not known.
    """

    live: int
    stacks: int = 0
    globals: int = 0
    other: int = 0
    rate: float | None = None
    cost: float | None = None
    procs: int = 1

    @property
    def marked(self) -> int:
        """Bytes that a cycle goes through."""
        return self.live + self.stacks + self.globals


@dataclass(frozen=True, slots=True)
class Outcome:
    """What GOGC and a limit make of a program; sizes in bytes, None where there is no end, or it is not known.

    `bound` says what decided the goal. `relative` is the work of the collector, in that of GOGC=100 without a limit.
    """

    gogc: int | None  # None: off
    limit: int | None
    target: int | None
    goal: int | None
    new: int | None  # allocated from one cycle to the next
    memory: int | None  # of heap, stacks and what else the runtime needs
    bound: Literal["gogc", "floor", "limit", "nothing"]
    spiral: bool
    cycles: float | None  # in a second
    cpu: float | None  # part of the CPU time
    relative: float | None

    def as_json(self) -> dict[str, Any]:
        return {
            "gogc": "off" if self.gogc is None else self.gogc,
            "memory_limit": self.limit,
            "target": self.target,
            "goal": self.goal,
            "new_heap": self.new,
            "memory": self.memory,
            "bound_by": self.bound,
            "death_spiral": self.spiral,
            "cycles_per_s": _rounded(self.cycles),
            "gc_cpu_fraction": _rounded(self.cpu),
            "gc_work_relative": _rounded(self.relative),
        }


def what_if(program: Program, gogc: int | None = 100, limit: int | None = None) -> Outcome:
    """What follows for PROGRAM from GOGC, None for off, and a memory LIMIT in bytes, None for none."""
    target = None if gogc is None else program.live + program.marked * gogc // 100
    floor = None if gogc is None else FLOOR * gogc // 100
    goal = None if target is None or floor is None else max(target, floor)
    bound: Literal["gogc", "floor", "limit", "nothing"] = (
        "nothing" if goal is None else "gogc" if goal == target else "floor"
    )
    spiral = False
    if limit is not None:
        room = limit - program.stacks - program.other
        spiral = program.marked + program.other >= limit
        if goal is None or room < goal:
            goal, bound = max(room, program.live), "limit"
    new = None if goal is None else goal - program.live
    cycles, cpu = _work(program, new, spiral)
    return Outcome(
        gogc=gogc,
        limit=limit,
        target=target,
        goal=goal,
        new=new,
        memory=None if goal is None else goal + program.stacks + program.other,
        bound=bound,
        spiral=spiral,
        cycles=cycles,
        cpu=cpu,
        relative=_relative(program, new),
    )


def curve(program: Program, limit: int | None = None, steps: Sequence[int] = STEPS) -> list[Outcome]:
    """The outcomes of GOGC at STEPS."""
    return [what_if(program, each, limit) for each in steps]


def measured(trace: Trace) -> Program:
    """The program that left TRACE, as it was at the end."""
    last = trace.cycles[-1]
    late = trace.cycles[-max(1, len(trace.cycles) // 4) :]
    return Program(
        live=max(each.live for each in late) * MIB,
        stacks=(last.stacks or 0) * MIB,
        globals=(last.globals or 0) * MIB,
        rate=None if trace.allocated is None else trace.allocated * MIB,
        cost=trace.cost,
        procs=last.procs,
    )


def _work(program: Program, new: int | None, spiral: bool) -> tuple[float | None, float | None]:
    """(cycles a second, part of the CPU time that they take), None for what is not known."""
    if new is None:
        return 0.0, 0.0
    each = None  # seconds of CPU of a cycle
    if program.cost is not None:
        each = max(program.marked, 1) * max(program.cost, LEAST_COST) / 1e9
    most = CAP * program.procs / each if each else None
    wanted = program.rate / new if program.rate is not None and new > 0 else None
    if spiral or (most and wanted and wanted > most):
        return most, CAP
    if wanted is None or each is None:
        return wanted, None
    return wanted, wanted * each / program.procs


def _relative(program: Program, new: int | None) -> float | None:
    usual = max(program.live + program.marked, FLOOR) - program.live
    if new is None:
        return 0.0
    return usual / new if new > 0 else None


# What people write


def size(text: str, what: str) -> int:
    """The bytes that TEXT is: 64MiB, 1.5GiB, 500MB (of a million), or a plain number; WHAT names it in errors.

    Raises InvalidParams, for a small number without a unit too: it is rarely meant as bytes.
    """
    found = re.fullmatch(r"\s*(\d{1,18}(?:\.\d{1,9})?)\s*([A-Za-z]*)\s*", text, re.ASCII)
    units = UNITS | DECIMAL
    if not found or (found[2] and found[2] not in units):
        raise InvalidParams(f"{what} cannot be {text[:40]!r}", hint="for example 64MiB, 1.5GiB or 500MB")
    if not found[2] and 0 < float(found[1]) < 1 << 16:
        raise InvalidParams(f"{what} of {found[1]} bytes", hint=f"with a unit: {found[1]}MiB")
    made = int(float(found[1]) * units[found[2] or "B"])
    if made > LARGEST:
        raise InvalidParams(f"{what} of {text.strip()} is more than any machine has", hint="for example 64GiB")
    return made


def limit(text: str) -> int | None:
    """The memory limit that GOMEMLIMIT=TEXT is, None for "" and "off"; raises InvalidParams for what Go refuses."""
    if text.strip().lower() in ("", "off"):
        return None
    found = re.fullmatch(r"\s*\d+\s*([A-Za-z]*)\s*", text, re.ASCII)
    if found and found[1] in DECIMAL:
        number = text.strip()[: -len(found[1])].strip()
        made = size(text, "the memory limit") // MIB
        hint = f"GOMEMLIMIT={number}{found[1][0].upper()}iB, or {made}MiB for the same bytes"
        raise InvalidParams(f"Go does not take GOMEMLIMIT={text.strip()}: malformed", hint=hint)
    made = size(text, "the memory limit")
    if made == 0:
        raise InvalidParams("a memory limit of nothing", hint="off, or for example 460MiB")
    return made


def gogc(text: str) -> int | None:
    """GOGC, None for "off" and -1; raises InvalidParams for what is neither that nor a whole number above 0."""
    text = text.strip().lower()
    if text in ("off", "-1"):
        return None
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or not 0 < int(text) <= 1_000_000:
        hint = "a percentage such as 100, or off; 0 would collect without a pause"
        raise InvalidParams(f"GOGC cannot be {text[:40] or 'empty'}", hint=hint)
    return int(text)


def given(trace: Trace | None, *, live: str, stacks: str, globals_: str, other: str, rate: str, cost: float) -> Program:
    """The program of TRACE, with the sizes that are given in place of its own: "" and 0 for those that are not.

    Raises InvalidParams where neither says what is live.
    """
    if trace is None and not live:
        raise InvalidParams("the live heap is not known", hint="give it, such as 64MiB, or a GC trace")
    sizes = {"live": live, "stacks": stacks, "globals": globals_, "other": other}
    made: dict[str, Any] = {name: size(text, name) for name, text in sizes.items() if text}
    if rate:
        made["rate"] = float(size(rate.removesuffix("/s"), "the allocation rate"))
    if not 0 <= cost <= 1e6:
        raise InvalidParams(f"marking a byte cannot cost {cost} ns", hint="for example 1.5, as a GC trace says")
    if cost:
        made["cost"] = cost
    return replace(measured(trace) if trace else Program(0), **made)


def as_json(program: Program, chosen: Outcome) -> dict[str, Any]:
    """CHOSEN, what it was calculated from, and the curve of other GOGC; sizes in bytes."""
    inputs = {
        "live": program.live,
        "stacks": program.stacks,
        "globals": program.globals,
        "other": program.other,
        "rate": program.rate,
        "cost_ns_per_byte": program.cost,
        "procs": program.procs,
    }
    others = [each.as_json() for each in curve(program, chosen.limit)]
    return {"program": inputs, **chosen.as_json(), "curve": others, "notes": list(notes(program, chosen))}


# As text


def told(program: Program, chosen: Outcome) -> str:
    """CHOSEN for PROGRAM in words, and a table of what other GOGC would do."""
    return "\n".join([*_head(program, chosen), "", *_table(program, chosen), "", *_noted(program, chosen)]).rstrip()


def _noted(program: Program, chosen: Outcome) -> Iterator[str]:
    return (f"note: {each}" for each in notes(program, chosen))


def _head(program: Program, chosen: Outcome) -> Iterator[str]:
    name = "off" if chosen.gogc is None else str(chosen.gogc)
    limited = f", GOMEMLIMIT={amount(chosen.limit, 'bytes').replace(' ', '')}" if chosen.limit is not None else ""
    roots = (
        f" with {amount(program.stacks + program.globals, 'bytes')} of roots" if program.marked > program.live else ""
    )
    yield f"GOGC={name}{limited}, a live heap of {amount(program.live, 'bytes')}{roots}:"
    if chosen.goal is None or chosen.new is None:
        yield "no collection, ever: the heap grows until the machine has no more"
        return
    why = {"gogc": "by GOGC", "floor": "the least there is", "limit": "by the memory limit", "nothing": ""}[
        chosen.bound
    ]
    yield f"the heap grows to {amount(chosen.goal, 'bytes')} ({why}), of it {amount(chosen.new, 'bytes')} new or dead"
    if chosen.spiral:
        yield "DEATH SPIRAL: what is live does not fit below the limit; the collector takes up to half of the CPU time"


def _table(program: Program, chosen: Outcome) -> Iterator[str]:
    cells: list[tuple[str, ...]] = [("GOGC", "heap", "memory", "cycles/s", "GC CPU")]
    rows = curve(program, chosen.limit, sorted({*STEPS, *([chosen.gogc] if chosen.gogc else [])}))
    rows += [what_if(program, None, chosen.limit)] if chosen.limit is not None or chosen.gogc is None else []
    cells += [_cells(each) for each in rows]
    widths = [max(len(cell[column]) for cell in cells) for column in range(5)]
    for cell, mark in zip(cells, [None, *(each.gogc == chosen.gogc for each in rows)], strict=True):
        line = "  ".join(cell[n].rjust(widths[n]) for n in range(5))
        yield f"{line}  <- this" if mark else line


def _cells(each: Outcome) -> tuple[str, ...]:
    memory = ["no end" if value is None else amount(value, "bytes") for value in (each.goal, each.memory)]
    cycles = "?" if each.cycles is None else f"{each.cycles:.2f}"
    cpu = (
        f"{100 * each.cpu:.1f} %" if each.cpu is not None else "?" if each.relative is None else f"{each.relative:.2f}x"
    )
    return ("off" if each.gogc is None else str(each.gogc), *memory, cycles, cpu)


def notes(program: Program, chosen: Outcome) -> Iterator[str]:
    """What should be known of these numbers."""
    if chosen.cpu is None:
        yield "GC CPU is relative to GOGC=100; for shares, give a GC trace, or an allocation rate and a cost"
    elif chosen.cpu >= 0.99 * CAP and not chosen.spiral:
        yield "the collector is at its most, half of the CPU time: it cannot keep up, and memory grows beyond this"
    if chosen.bound == "floor":
        yield "the goal is never below 4 MiB × GOGC / 100"
    if chosen.limit is not None:
        yield "of the memory limit the runtime keeps 3 %, at least 1 MiB, free; the table does not"
        if not (program.stacks or program.other):
            yield "the limit counts stacks and what the runtime needs, too: `stacks` and `other` are 0 here"
    if chosen.gogc is None and chosen.limit is None:
        yield "GOGC=off is for programs with a memory limit, or that end before they fill the machine"
    yield "a steady state is assumed; large allocations, and a live heap that grows, go beyond the goal"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
