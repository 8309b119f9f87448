"""A goroutine profile, or the text of one, or of a crash, becomes groups of goroutines that are at the same place.

Texts are what `?debug=1` and `?debug=2` of net/http/pprof give, and what a crashing program prints.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from ..errors import InvalidParams
from . import profile
from .profile import Frame

HINT: Final = "a goroutine profile, its text (?debug=1 or 2), or what a crashing program printed"
LEAK: Final = "goroutineleak"
LONGEST: Final = 64 << 20  # bytes of a text
RUNTIME: Final = ("runtime.", "internal/runtime/", "sync.runtime_", "internal/poll.runtime_", "internal/poll.(*")
# What a goroutine waits for, by the function of the runtime that it called: profiles do not say it otherwise.
WAITS: Final[Mapping[str, str]] = {
    "runtime.chansend": "chan send",
    "runtime.chanrecv": "chan receive",
    "runtime.selectgo": "select",
    "runtime.block": "select (no cases)",
    "runtime.netpollblock": "IO wait",
    "runtime.timeSleep": "sleep",
    "sync.runtime_SemacquireMutex": "sync.Mutex.Lock",
    "internal/sync.runtime_SemacquireMutex": "sync.Mutex.Lock",
    "sync.runtime_SemacquireRWMutexR": "sync.RWMutex.RLock",
    "sync.runtime_SemacquireRWMutex": "sync.RWMutex.Lock",
    "sync.runtime_SemacquireWaitGroup": "sync.WaitGroup.Wait",
    "sync.runtime_notifyListWait": "sync.Cond.Wait",
    "sync.runtime_Semacquire": "semacquire",
}
_HEAD: Final = re.compile(r"goroutine (\d+)(?: [^\[\n]{0,200})? \[([^\]\n]{1,200})\][^\n]{0,2000}:$")
_COUNT: Final = re.compile(r"(\d{1,9}) @((?: 0x[0-9a-f]+)*)$")
_PLACE: Final = re.compile(r"#\t0x[0-9a-f]+\t+([^\t]+)\t+([^\t]+):(\d{1,9})$")
_LINE: Final = re.compile(r"(.*):(\d{1,9})(?: \+0x[0-9a-f]{1,16})?$")
_TOTAL: Final = re.compile(r"^(\w{1,40}) profile: total (\d{1,12})", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Group:
    """Goroutines with the same stack: the innermost frame first, without the runtime's own above it.

    `state` is what they wait for, "" where the text does not say; MINUTES is how long the longest has.
    """

    state: str
    stack: tuple[Frame, ...]
    count: int
    created_by: str = ""
    minutes: int = 0
    growth: int = 0  # since an earlier snapshot

    @property
    def top(self) -> Frame:
        """The innermost frame that is no part of the standard library, if there is one."""
        ours = (each for each in self.stack if is_users(each.function))
        return next(ours, self.stack[0] if self.stack else Frame("(no stack)"))

    @property
    def started(self) -> Frame:
        """The function that the goroutine was started with."""
        return self.stack[-1] if self.stack else Frame("(no stack)")

    def as_json(self) -> dict[str, Any]:
        frames = [{"func": each.function, "file": each.file, "line": each.line} for each in self.stack]
        return {
            "state": self.state,
            "count": self.count,
            "growth": self.growth,
            "minutes": self.minutes,
            "top_frame": self.top.function,
            "file": self.top.file,
            "line": self.top.line,
            "created_by": self.created_by,
            "stack": frames,
        }


@dataclass(frozen=True, slots=True)
class Goroutines:
    """All groups, the largest first; `kind` is `goroutine`, `goroutineleak`, or `dump`."""

    kind: str
    total: int
    groups: tuple[Group, ...]
    reason: str = ""  # why the program crashed
    before: int | None = None  # the total of the earlier snapshot
    others: tuple[Goroutines, ...] = ()  # that stand behind it in the same text

    def as_json(self, limit: int = 100) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "total": self.total,
            "before": self.before,
            "reason": self.reason,
            "groups": [each.as_json() for each in self.groups[:limit]],
            "group_count": len(self.groups),
            "others": [each.as_json(limit) for each in self.others],
        }


def read(content: bytes, name: str = "this") -> Goroutines:
    """The goroutines in CONTENT, a profile or a text; raises InvalidParams, with NAME, for anything else."""
    text = content[: LONGEST + 1].decode("utf-8", "replace")
    if content[:2] != b"\x1f\x8b" and (_TOTAL.search(text[:4000]) or "goroutine " in text):
        return _text(text, name)
    taken = profile.read(content, name)
    kind = taken.measures[0].type
    if kind not in ("goroutine", LEAK):
        raise InvalidParams(f"{name} is a profile of {kind}, not of goroutines", hint="ragmacs go pprof reads it")
    groups = (_group(tuple(taken.stack(each)), each.values[0]) for each in taken.samples if each.values[0] > 0)
    return _made(kind, groups)


def grown(after: Goroutines, before: Goroutines) -> Goroutines:
    """AFTER, where each group knows by how much it grew since BEFORE; what grew most comes first.

    Groups that have gone are there with a count of 0.
    """
    earlier: Counter[tuple[tuple[str, int], ...]] = Counter()
    for each in before.groups:
        earlier[_place(each)] += each.count
    groups = []
    for each in after.groups:
        then = earlier.pop(_place(each), 0)
        groups.append(replace(each, growth=each.count - then))
    gone = [replace(each, count=0, growth=-each.count) for each in before.groups if earlier.pop(_place(each), 0)]
    ranked = sorted([*groups, *gone], key=lambda each: (-each.growth, -each.count))
    return replace(after, groups=tuple(ranked), before=before.total)


def _place(group: Group) -> tuple[tuple[str, int], ...]:
    """What a group is the same by in two snapshots, which may be of different forms."""
    return tuple((each.function, each.line) for each in group.stack)


def _made(kind: str, groups: Iterator[Group], reason: str = "") -> Goroutines:
    """The Goroutines of GROUPS, those that are alike as one."""
    merged: dict[tuple[object, ...], Group] = {}
    for each in groups:
        key = (each.state, each.stack, each.created_by)
        same = merged.get(key)
        merged[key] = (
            replace(same, count=same.count + each.count, minutes=max(same.minutes, each.minutes)) if same else each
        )
    ranked = tuple(sorted(merged.values(), key=lambda each: -each.count))
    return Goroutines(kind, sum(each.count for each in ranked), ranked, reason)


def _group(frames: Sequence[Frame], count: int, state: str = "", created_by: str = "", minutes: int = 0) -> Group:
    """A group, without the frames of the runtime that say only that it waits."""
    waits = next((WAITS[each.function] for each in frames if each.function in WAITS), "")
    own = next((n for n, each in enumerate(frames) if not each.function.startswith(RUNTIME)), 0)
    last = len(frames) - (frames[-1].function == "runtime.goexit" if frames else 0)
    return Group(state or waits, tuple(frames[own:last]), count, created_by, minutes)


def is_users(function: str) -> bool:
    """Whether FUNCTION is of no package of the standard library: those have no dot in the first part of their path."""
    path, slash, _ = function.partition("/")
    return "." in path if slash else function.startswith("main.")


# Texts


def _text(text: str, name: str) -> Goroutines:
    if len(text) > LONGEST:
        raise InvalidParams(f"{name} is longer than {LONGEST >> 20} MB", hint="take the profile without debug=2")
    heads = list(_TOTAL.finditer(text))
    if heads:
        ends = [each.start() for each in heads[1:]] + [len(text)]
        first, *others = (
            replace(_made(head[1], _counted(text[head.start() : end])), total=int(head[2]))
            for head, end in zip(heads, ends, strict=True)
        )
        return replace(first, others=tuple(others))
    made = _made("dump", _dumped(text), _reason(text))
    if not made.groups:
        raise InvalidParams(f"{name} names no goroutines", hint=HINT)
    return made


def _reason(text: str) -> str:
    """Why a program crashed, as it says itself."""
    found = re.search(r"^(?:fatal error|panic|SIG[A-Z]+|runtime): .*$", text[:20_000], re.MULTILINE)
    return found[0] if found else ""


def _counted(text: str) -> Iterator[Group]:
    """The groups of the form debug=1: a count, the addresses, and a line for each frame."""
    count = 0
    frames: list[Frame] = []
    for line in [*text.splitlines(), ""]:
        if found := _COUNT.match(line):
            count, frames = int(found[1]), []
        elif found := _PLACE.match(line):
            frames.append(Frame(found[1].rpartition("+0x")[0], found[2], int(found[3])))
        elif not line.strip() and count:
            yield _group(frames, count)
            count, frames = 0, []


def _dumped(text: str) -> Iterator[Group]:
    """The groups, of one each, of the form debug=2: a head, and two lines for each frame."""
    lines = text.splitlines()
    starts = [(n, found) for n, line in enumerate(lines) if (found := _HEAD.match(line))]
    for number, (start, found) in enumerate(starts):
        end = starts[number + 1][0] if number + 1 < len(starts) else len(lines)
        state, _, more = found[2].partition(", ")
        minutes = re.search(r"(\d+) minutes", more)
        frames, created_by = _stack(lines[start + 1 : end])
        yield _group(frames, 1, state, created_by, int(minutes[1]) if minutes else 0)


def _stack(lines: Sequence[str]) -> tuple[list[Frame], str]:
    """(frames, who created the goroutine) of the LINES behind a head, up to the first that is empty."""
    frames: list[Frame] = []
    created_by = ""
    for line, after in zip(lines, [*lines[1:], ""], strict=False):
        if not line.strip():
            break
        place = _LINE.fullmatch(after.strip()) if not line[0].isspace() and after[:1].isspace() else None
        if place is None:
            continue
        if line.startswith("created by "):
            function = line.removeprefix("created by ").partition(" in goroutine ")[0]
            created_by = f"{function} at {place[1]}:{place[2]}"
        else:
            frames.append(Frame(_called(line), place[1], int(place[2])))
    return frames, created_by


def _called(line: str) -> str:
    """The function in LINE, without the arguments that stand behind it."""
    return line[: line.rfind("(")] if line.endswith(")") and "(" in line else line


# As text


def told(found: Goroutines, limit: int = 12) -> str:
    """How many there are, where they are and who started them."""
    return "\n\n".join("\n".join(_told(each, limit)).rstrip() for each in (found, *found.others))


def _told(found: Goroutines, limit: int) -> Iterator[str]:
    if found.reason:
        yield f"The program stopped: {found.reason}"
    yield _total(found)
    yield ""
    for each in found.groups[:limit]:
        changed = f" ({each.growth:+d})" if found.before is not None else ""
        state = f" [{each.state}{f', up to {each.minutes} min' if each.minutes else ''}]" if each.state else ""
        yield f"{each.count}{changed} at {each.top.function}{state}  {_where(each.top)}"
        for frame in [frame for frame in each.stack[:4] if frame != each.top]:
            yield f"      in {frame.function}  {_where(frame)}"
        if each.created_by:
            yield f"      created by {each.created_by}"
        elif each.started != each.top:
            yield f"      started as {each.started.function}  {_where(each.started)}"
    if len(found.groups) > limit:
        rest = found.groups[limit:]
        yield f"… {sum(each.count for each in rest)} more in {len(rest)} groups"
    if found.kind == LEAK:
        yield ""
        yield LEAKS
    elif found.kind == "goroutine" and found.before is None:
        yield ""
        yield "note: one snapshot shows no leak; take a second one later and compare: what grows, and does not shrink"


LEAKS: Final = (
    "note: these can never go on, as the collector could prove: nothing that runs can reach what they wait for. One "
    "that waits for something a package variable or a live object still holds is not found: 0 means none provable"
)


def _total(found: Goroutines) -> str:
    noun = f"goroutine{'' if found.total == 1 else 's'}"
    if found.kind == LEAK:
        return f"{found.total} leaked {noun}" if found.total else "0 leaks: none that could be proven"
    change = f", {found.total - found.before:+d} since the earlier snapshot" if found.before is not None else ""
    places = len([each for each in found.groups if each.count])
    return f"{found.total} {noun} at {places} place{'' if places == 1 else 's'}{change}"


def _where(frame: Frame) -> str:
    return f"{'/'.join(frame.file.rsplit('/', 2)[-2:])}:{frame.line}" if frame.file else ""
