"""What `go tool pprof -top` prints becomes rows; percentages are as it printed them, and values keep their units."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from .costs import MEANINGS
from .goroutines import is_users

_HEAD: Final = re.compile(r"^\s*flat\s+flat%\s+sum%\s+cum\s+cum%\s*$", re.MULTILINE)
_TYPE: Final = re.compile(r"^Type: (\w+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Row:
    """One line: the function, and its cost by itself and with what it calls."""

    function: str
    flat: str
    flat_percent: float
    cum: str
    cum_percent: float
    inlined: bool

    def as_json(self) -> dict[str, Any]:
        return {
            "func": self.function,
            "flat": self.flat,
            "flat_pct": self.flat_percent,
            "cum": self.cum,
            "cum_pct": self.cum_percent,
            "inline": self.inlined,
        }


@dataclass(frozen=True, slots=True)
class Top:
    """The rows in their order, and which measure they are of: "" where the text does not say."""

    measure: str
    rows: tuple[Row, ...]

    def as_json(self) -> dict[str, Any]:
        return {"type": self.measure, "rows": [each.as_json() for each in self.rows]}


def read(text: str) -> Top | None:
    """The rows in TEXT; None where there are none under their heading."""
    head = _HEAD.search(text)
    if head is None:
        return None
    rows = tuple(row for line in text[head.end() :].splitlines() if (row := _row(line)))
    kind = _TYPE.search(text)
    return Top(kind[1] if kind else "", rows) if rows else None


def _row(line: str) -> Row | None:
    """The row that LINE is: flat, flat%, sum%, cum, cum%, function."""
    words = line.split(None, 5)
    if len(words) < 6 or not all(words[n].endswith("%") for n in (1, 2, 4)):
        return None
    try:
        flat, cum = float(words[1][:-1]), float(words[4][:-1])
    except ValueError:
        return None
    function = words[5].rstrip()
    plain = function.removesuffix(" (inline)").removesuffix(" (partial-inline)")
    return Row(plain, words[0], flat, words[3], cum, plain != function)


def told(top: Top) -> str:
    """What the rows say: who costs most, and on whose behalf."""
    meaning = f" ({MEANINGS[top.measure]})" if top.measure in MEANINGS else ""
    lines = [f"A profile of {top.measure or 'some measure'}{meaning}, {len(top.rows)} functions."]
    dearest = [each for each in top.rows if each.flat_percent >= 5][:5] or list(top.rows[:1])
    lines += [f"- {each.function}: {each.flat} itself, {each.flat_percent:g} % of all" for each in dearest]
    on_behalf = [each for each in top.rows if is_users(each.function) and each.cum_percent > each.flat_percent][:5]
    if on_behalf:
        lines.append("With what they call:")
        lines += [f"- {each.function}: {each.cum}, {each.cum_percent:g} %" for each in on_behalf]
    lines.append("flat is what a function costs by itself, cum with what it calls: change code where flat is high, or")
    lines.append("call it less from where cum is.")
    return "\n".join(lines)
