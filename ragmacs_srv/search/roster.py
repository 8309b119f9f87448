"""What became of every collection, in a small file beside `crawl.db`: it can be read while a writer holds that.

The writer replaces the file as a whole. It says nothing that `crawl.db` does not: one that is absent or damaged means
that nothing is known, and is never an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

FILE: Final = "collections.json"
FORMAT: Final = 1
ANSWERED: Final = {"new", "changed", "unchanged", "alias"}  # what an address is that gave what it should


@dataclass(frozen=True, slots=True)
class State:
    """A collection as its last crawl left it; times are RFC 3339, "" for never.

    `outcomes` counts its addresses by the status of their receipts, `failed` those that failed or were refused.
    `confirmed` is when a whole crawl last had an answer for most of its pages. `bytes` are those of its text.
    """

    name: str
    title: str
    licence: str = ""
    started: str = ""
    finished: str = ""
    confirmed: str = ""
    pages: int = 0
    chunks: int = 0
    bytes: int = 0
    failed: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)


def read(folder: Path) -> dict[str, State]:
    """Name to state of the collections in the store in FOLDER, as far as it is known."""
    try:
        held = json.loads((folder / FILE).read_bytes())
        if held["format"] != FORMAT:
            return {}
        return {row["name"]: _state(row) for row in held["collections"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def write(folder: Path, states: Mapping[str, State]) -> None:
    """Replace what FOLDER says; where that cannot be written, it says nothing."""
    text = json.dumps({"format": FORMAT, "collections": [asdict(each) for each in states.values()]}, indent=1)
    made = folder / f"{FILE}.new"
    try:
        made.write_text(text, "utf-8")
        made.replace(folder / FILE)
    except OSError:  # a full disk, which who writes more than this has to tell of
        for path in (made, folder / FILE):
            with suppress(OSError):
                path.unlink(missing_ok=True)


def standing(
    state: State | None, *, pages: int, writing: bool = False, old_days: int = 0, now: datetime | None = None
) -> str:
    """In a word or two how well a collection is, that readers have so many PAGES of; WRITING: somebody is reading."""
    if state is None:
        return "unknown" if pages else "never read"
    if state.started > state.finished:
        return "being read" if writing else "stopped"
    if state.pages != pages:  # its crawl is over, and readers do not have it yet
        return "being indexed" if writing else "not indexed"
    days = days_since(state.confirmed, now)
    old = old_days and (days is None or days > old_days)
    failed = [f"{state.failed:,} failed"] if state.failed else []
    return ", ".join([*(["old"] if old else []), *failed]) or "fresh"


def is_confirmed(with_page: Mapping[str, int]) -> bool:
    """Whether most of the addresses that have a page answered, given their number by status."""
    good = sum(number for status, number in with_page.items() if status in ANSWERED)
    return 2 * good >= sum(with_page.values())


def days_since(when: str, now: datetime | None = None) -> float | None:
    """Days from WHEN, RFC 3339, until NOW; None for what is no time. None are negative, whatever clocks say."""
    try:
        then = datetime.fromisoformat(when)
    except ValueError:
        return None
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return max(0.0, ((now or datetime.now(UTC)) - then).total_seconds() / 86400)


def age(days: float) -> str:
    """DAYS in words: 40 minutes, 3 days, 5 months."""
    for size, unit in ((365.25, "year"), (30.44, "month"), (7.0, "week"), (1.0, "day"), (1 / 24, "hour")):
        if days >= (2 * size if unit in {"month", "week"} else size):
            return _count(int(days / size), unit)
    return _count(int(days * 1440), "minute")


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'}"


def _state(row: Mapping[str, object]) -> State:
    kinds = {each.name: type(each.default) for each in fields(State)} | {"name": str, "title": str, "outcomes": dict}
    for name, kind in kinds.items():
        if not isinstance(row[name], kind):
            raise TypeError(name)
    return State(**{name: row[name] for name in kinds})  # type: ignore[arg-type]
