"""Tell which citations of an answer show pages as they were long ago, and what reads them again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from ..model import Citation
from ..search.roster import State, age, days_since


def notes(
    cited: Iterable[Citation],
    collections: Mapping[str, Sequence[str]],
    states: Mapping[str, State],
    *,
    days: int,
    now: datetime | None = None,
) -> list[str]:
    """A line for each collection with pages among CITED that nobody has confirmed for more than DAYS (0: none).

    COLLECTIONS of each page by its address. A page is as fresh as the crawl that last confirmed one of them, or as the
    day it was read; where the state of a collection is unknown, its pages may be fresh.
    """
    old: dict[str, list[tuple[int, float]]] = {}
    for each in cited if days else ():
        names = [name for name in collections.get(each.url, ()) if name in states and states[name].confirmed]
        if not names or len(names) < len(collections[each.url]):
            continue
        freshest = max(names, key=lambda name: states[name].confirmed)
        known = (days_since(when, now) for when in (each.fetched_at, states[freshest].confirmed))
        since = min((found for found in known if found is not None), default=0.0)
        if since > days:
            old.setdefault(freshest, []).append((each.n, since))
    return [
        f"{', '.join(f'[{n}]' for n, _ in pages)} as of {age(max(since for _, since in pages))} ago:"
        f" ragmacs update {name} reads what has changed since"
        for name, pages in old.items()
    ]
