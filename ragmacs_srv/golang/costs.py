"""The samples of a profile become who costs what: rows as `go tool pprof -top` has them, callers, a tree of calls."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from ..errors import InvalidParams
from .profile import Frame, Measure, Profile

By = Literal["function", "line"]
View = Literal["top", "peek", "tree"]
Stack = tuple[tuple[Frame, ...], int]  # the innermost first, and a value
Key = tuple[object, ...]  # of a row
SMALL: Final = 0.005  # of the total: what is less is not shown in a tree
DEEPEST: Final = 100  # calls in a tree
CALLS: Final = 10  # callers, and as many that are called, of a function
MEANINGS: Final[Mapping[str, str]] = {
    "alloc_space": "bytes allocated since the program began, freed or not: what keeps the collector busy",
    "alloc_objects": "objects allocated since the program began, freed or not: what keeps the collector busy",
    "inuse_space": "bytes that were live at the last collection: what holds memory, and where leaks show",
    "inuse_objects": "objects that were live at the last collection: what holds memory, and where leaks show",
    "cpu": "time on a CPU, of all threads together",
    "samples": "how often a thread was seen on a CPU",
    "goroutine": "goroutines that existed",
    "goroutineleak": "goroutines that can never go on, as the collector could prove",
    "delay": "time that goroutines waited",
    "contentions": "how often goroutines waited",
}


@dataclass(frozen=True, slots=True)
class Row:
    """What a function costs, or one line of it: FLAT by itself, CUM with what it calls; in the unit of the measure.

    `file` and `line` are the place in it that costs most.
    """

    function: str
    file: str
    line: int
    flat: int
    cum: int


@dataclass(frozen=True, slots=True)
class Call:
    """How much of the cost of CALLEE comes by calls from CALLER."""

    caller: str
    callee: str
    value: int


@dataclass(frozen=True, slots=True)
class Branch:
    """A function as it was called on one way from the root, what that costs, and what it called."""

    function: str
    value: int
    flat: int
    branches: tuple[Branch, ...]

    def as_json(self) -> dict[str, Any]:
        inner = [each.as_json() for each in self.branches]
        return {"func": self.function, "value": self.value, "flat": self.flat, "calls": inner}


@dataclass(frozen=True, slots=True)
class Costs:
    """All rows of one measure, the most expensive first. `total` is what percentages are of: of the base, if any."""

    measure: Measure
    measures: tuple[str, ...]
    total: int
    rows: tuple[Row, ...]
    every: Measure
    period: int
    time: int
    duration: int
    focus: str = ""
    compared: bool = False
    notes: tuple[str, ...] = ()
    stacks: tuple[Stack, ...] = field(default=(), repr=False)

    @property
    def shown(self) -> int:
        """What the rows add up to: less than the total where a focus left samples out."""
        return sum(row.flat for row in self.rows)

    def percent(self, value: int) -> float:
        return 100 * value / self.total if self.total else 0.0

    def as_json(self, limit: int, view: View = "top") -> dict[str, Any]:
        """The first LIMIT rows, and what VIEW shows; values in `unit`, times in nanoseconds, `time` since 1970."""
        more: dict[str, Any] = {}
        if view == "peek":
            more["calls"] = [{"from": c.caller, "to": c.callee, "value": c.value} for c in _calls(self.stacks)[:1000]]
        if view == "tree":
            more["tree"] = [each.as_json() for each in branches(self)]
        return {
            **more,
            "type": self.measure.type,
            "unit": self.measure.unit,
            "types": list(self.measures),
            "meaning": MEANINGS.get(self.measure.type, ""),
            "total": self.total,
            "shown": self.shown,
            "period": self.period,
            "period_type": self.every.type,
            "period_unit": self.every.unit,
            "time": self.time,
            "duration": self.duration,
            "focus": self.focus,
            "compared": self.compared,
            "sampled": self.period > 1,
            "rows": [self._row(row) for row in self.rows[:limit]],
            "row_count": len(self.rows),
            "notes": list(self.notes),
        }

    def _row(self, row: Row) -> dict[str, Any]:
        return {
            "func": row.function,
            "file": row.file,
            "line": row.line,
            "flat": row.flat,
            "flat_pct": round(self.percent(row.flat), 2),
            "cum": row.cum,
            "cum_pct": round(self.percent(row.cum), 2),
        }


def costs(
    profile: Profile, measure: str = "", *, base: Profile | None = None, focus: str = "", by: By = "function"
) -> Costs:
    """What costs how much of MEASURE in PROFILE, less what it did in BASE, in the stacks that FOCUS matches.

    Raises InvalidParams for a measure that one of them has not, and for a FOCUS that `matcher` refuses.
    """
    index = profile.index(measure)
    kind = profile.measures[index]
    sides = [(profile, index, 1)] + ([(base, base.index(kind.type), -1)] if base else [])
    stacks = [each for side in sides for each in _stacks(*side)]
    ours = len(profile.samples)
    total = sum(abs(value) for _, value in (stacks[ours:] if base else stacks))
    if base and not total:
        total = sum(abs(value) for _, value in stacks)
    if focus:
        wanted = matcher(focus)
        stacks = [each for each in stacks if any(wanted(frame.function) or wanted(frame.file) for frame in each[0])]
    stacks = [(frames, value) for frames, value in stacks if frames and value]
    return Costs(
        measure=kind,
        measures=tuple(each.type for each in profile.measures),
        total=total,
        rows=tuple(_rows(stacks, by)),
        every=profile.every,
        period=profile.period,
        time=profile.time,
        duration=profile.duration,
        focus=focus,
        compared=base is not None,
        notes=tuple(_notes(profile, kind, bool(stacks), focus)),
        stacks=tuple(stacks),
    )


def _stacks(profile: Profile, index: int, sign: int) -> Iterator[Stack]:
    """(frames, the innermost first; value) of each sample."""
    for sample in profile.samples:
        yield tuple(profile.stack(sample)), sign * sample.values[index]


def _rows(stacks: Sequence[Stack], by: By) -> list[Row]:
    """The rows, the most expensive first; in a recursion a stack counts once for each function."""
    flat: Counter[Key] = Counter()
    cum: Counter[Key] = Counter()
    weight: dict[int, list[int]] = defaultdict(lambda: [0, 0])  # of each frame: by itself, and with what it calls
    known: dict[int, tuple[Key, Frame]] = {}  # by identity: a profile has few frames, and millions of calls of them
    for frames, value in stacks:
        for frame in frames:
            number = id(frame)
            if number not in known:
                known[number] = ((frame.function,) if by == "function" else (frame.function, frame)), frame
            weight[number][1] += abs(value)
        weight[id(frames[0])][0] += abs(value)
        flat[known[id(frames[0])][0]] += value
        for key in {known[id(frame)][0] for frame in frames}:
            cum[key] += value
    heaviest: dict[Key, tuple[list[int], str, int]] = {}
    for number, (key, frame) in known.items():
        heaviest[key] = max(heaviest.get(key, ([-1, -1], "", 0)), (weight[number], frame.file, frame.line))
    rows = [Row(str(key[0]), *heaviest[key][1:], flat[key], value) for key, value in cum.items() if value or flat[key]]
    return sorted(rows, key=lambda row: (-abs(row.flat), -abs(row.cum), row.function, row.line))


def _calls(stacks: Sequence[Stack]) -> list[Call]:
    """Who calls whom, the most expensive first; a stack counts once for each pair."""
    calls: Counter[tuple[str, str]] = Counter()
    for frames, value in stacks:
        names = [frame.function for frame in frames]
        for pair in {pair for pair in zip(names[1:], names, strict=False) if pair[0] != pair[1]}:
            calls[pair] += value
    ranked = sorted(calls.items(), key=lambda each: (-abs(each[1]), each[0]))
    return [Call(*pair, value) for pair, value in ranked]


def branches(found: Costs) -> tuple[Branch, ...]:
    """The calls of FOUND from the roots on, but for those that cost next to nothing."""
    return _tree([(frames[::-1], value) for frames, value in found.stacks], int(found.total * SMALL))


def _tree(stacks: Sequence[Stack], least: int, depth: int = 0) -> tuple[Branch, ...]:
    """The calls at DEPTH of STACKS, the outermost first, and below; but for those that cost less than LEAST."""
    below: dict[str, list[Stack]] = defaultdict(list)
    for stack in stacks:
        if depth < min(len(stack[0]), DEEPEST):
            below[stack[0][depth].function].append(stack)
    found = []
    for function, inner in below.items():
        if sum(abs(value) for _, value in inner) > least:
            flat = sum(value for frames, value in inner if len(frames) == depth + 1)
            total = sum(value for _, value in inner)
            found.append(Branch(function, total, flat, _tree(inner, least, depth + 1)))
    return tuple(sorted(found, key=lambda each: (-abs(each.value), each.function)))


def _notes(profile: Profile, kind: Measure, found: bool, focus: str) -> Iterator[str]:
    if focus and not found:
        yield f"no function and no file matches {focus!r}"
    if profile.every.type == "space" and profile.period > 1:
        yield (
            f"sampled: about one allocation in {amount(profile.period, 'bytes')} was seen, and counted for those that "
            "were not; what allocated less than a few of these may be missing or far off (-memprofilerate=1 sees all)"
        )
    elif kind.unit == "nanoseconds" and profile.every.unit == "nanoseconds" and profile.period > 1:
        yield f"sampled every {amount(profile.period, 'nanoseconds')}: a few samples more or less mean nothing"
    if kind.type.startswith("inuse_"):
        yield "live at the last collection that ended before; for what was allocated at all: alloc_space, alloc_objects"


# What to look at


def matcher(pattern: str) -> Callable[[str], bool]:
    r"""Whether a name matches PATTERN, in time that grows with its length only.

    `|` stands between alternatives, `.*` for anything, `^` and `$` for the ends, `\` before a sign that stands for
    itself; every other sign does so anyway, so that `(*Buffer).Write` is what it looks like. Raises InvalidParams.
    """
    if len(pattern) > 1000:
        raise InvalidParams(f"focus has {len(pattern)} characters", hint="a part of a name, for example main.handle")
    if re.search(r"(?<!\\)\([^)]*(?<!\\)\|", pattern):
        raise InvalidParams(f"focus {pattern!r} has alternatives in parentheses", hint="write them out: main.a|main.b")
    alternatives = [each for each in re.split(r"(?<!\\)\|", pattern) if each]
    if not alternatives:
        raise InvalidParams(f"focus cannot be {pattern[:80]!r}", hint="a part of a name, for example main.handle")
    found = [_pieces(each) for each in alternatives]
    return lambda name: any(_matches(name, *each) for each in found)


def _pieces(alternative: str) -> tuple[list[str], bool, bool]:
    """(texts in their order, whether the first begins the name, whether the last ends it)."""
    first, last = alternative.startswith("^"), bool(re.search(r"(?<!\\)\$$", alternative))
    inner = alternative[first : len(alternative) - last]
    return [re.sub(r"\\(.)", r"\1", each) for each in re.split(r"(?<!\\)\.\*", inner)], first, last


def _matches(name: str, pieces: Sequence[str], first: bool, last: bool) -> bool:
    if first and not name.startswith(pieces[0]):
        return False
    at = 0
    for piece in pieces[:-1]:
        found = name.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    if not last:
        return name.find(pieces[-1], at) >= 0
    if first and len(pieces) == 1:
        return name == pieces[0]
    return name.endswith(pieces[-1]) and len(name) - len(pieces[-1]) >= at


# As text


def top(found: Costs, limit: int = 20) -> str:
    """The most expensive rows."""
    rows = found.rows[:limit]
    cells = [("flat", "flat%", "cum", "cum%", "function")]
    for row in rows:
        where = f"  {row.file.rpartition('/')[2]}:{row.line}" if row.file else ""
        numbers = (amount(row.flat, found.measure.unit), _percent(found, row.flat))
        more = (amount(row.cum, found.measure.unit), _percent(found, row.cum))
        cells.append((*numbers, *more, row.function + where))
    widths = [max(len(cell[column]) for cell in cells) for column in range(4)]
    lines = ["  ".join([*(cell[n].rjust(widths[n]) for n in range(4)), cell[4]]) for cell in cells]
    if len(found.rows) > limit:
        lines.append(f"… {len(found.rows) - limit} more")
    return _framed(found, lines)


def peek(found: Costs, limit: int = 8) -> str:
    """Of the functions that the focus matches, the most expensive ones with who calls them, and whom they call."""
    wanted = matcher(found.focus) if found.focus else lambda _: True
    lines: list[str] = []
    ranked = sorted((row for row in found.rows if wanted(row.function)), key=lambda row: -abs(row.cum))
    unit = found.measure.unit
    calls = _calls(found.stacks)
    for row in ranked[:limit]:
        callers = [each for each in calls if each.callee == row.function][:CALLS]
        called = [each for each in calls if each.caller == row.function][:CALLS]
        lines += [f"{amount(each.value, unit):>12}    from {each.caller}" for each in callers]
        own = f"{amount(row.flat, unit)} of it itself"
        lines.append(f"{amount(row.cum, unit):>12}  {row.function} ({own}, {_percent(found, row.cum)} of all)")
        lines += [f"{amount(each.value, unit):>12}    calls {each.callee}" for each in called]
        lines.append("")
    return _framed(found, lines[:-1])


def tree(found: Costs, limit: int = 60) -> str:
    """The calls from the roots on, what costs nothing worth a line left out."""
    lines: list[str] = []

    def draw(level: Sequence[Branch], depth: int) -> None:
        for each in level:
            lines.append(f"{amount(each.value, found.measure.unit):>12} {'  ' * min(depth, 30)}{each.function}")
            draw(each.branches, depth + 1)

    draw(branches(found), 0)
    more = [f"… {len(lines) - limit} more"] if len(lines) > limit else []
    return _framed(found, lines[:limit] + more)


def _framed(found: Costs, lines: Sequence[str]) -> str:
    """LINES under what they are of, and above what should be known of it."""
    kind = found.measure
    meaning = f": {MEANINGS[kind.type]}" if kind.type in MEANINGS else ""
    compared = "the change since the base, which has " if found.compared else ""
    focused = f"; {amount(found.shown, kind.unit)} in stacks with {found.focus}" if found.focus else ""
    head = [f"{kind.type}{meaning}", f"{compared}{amount(found.total, kind.unit)} in all{focused}", ""]
    others = [each for each in found.measures if each != kind.type]
    tail = [f"note: {note}" for note in found.notes] + ([f"also in it: {', '.join(others)}"] if others else [])
    return "\n".join([*head, *lines, "", *tail]).rstrip()


def _percent(found: Costs, value: int) -> str:
    return f"{found.percent(value):.1f}%"


def amount(value: float, unit: str) -> str:
    """VALUE of UNIT as people read it: 1.5 MiB, 20 ms, 3."""
    sign, left = ("-" if value < 0 else ""), abs(value)
    if unit == "bytes":
        return sign + _scaled(left, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))
    if unit == "nanoseconds":
        return sign + _scaled(left, 1000, ("ns", "µs", "ms", "s"))
    return f"{sign}{left:,.0f}"


def _scaled(value: float, step: int, units: Sequence[str]) -> str:
    number = 0
    while value >= step and number < len(units) - 1:
        value, number = value / step, number + 1
    unit = units[number]
    return f"{value:,.0f} {unit}" if value >= 100 or value == int(value) else f"{value:,.1f} {unit}"
