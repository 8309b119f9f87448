"""The subscriptions of a reading list become their newest entries, several sites at a time.

Who keeps a list of feeds means what they bring, not the feeds. A feed that cannot be read leaves its site in the list,
or what it brought the last time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Final

from ..errors import IngestError, InvalidParams
from ..events import Cancel, Progress, Sink
from ..ingest import lists
from ..ingest.lists import Entry
from ..model import Item, Response
from .batch import SITES
from .journal import Journal

NEWEST: Final = 5  # entries of a feed


def brought(
    entries: Sequence[Entry], journal: Journal, fetch: Callable[[str], Response], *, sink: Sink, cancel: Cancel
) -> list[Entry]:
    """ENTRIES with the newest entries of a feed in the place of each that subscribes to one; raises Cancelled."""
    feeds = list(dict.fromkeys(entry.feed for entry in entries if entry.feed))
    found: dict[str, list[Item]] = {}
    with ThreadPoolExecutor(max_workers=SITES, thread_name_prefix="feeds") as pool:
        for n, (feed, items) in enumerate(zip(feeds, pool.map(lambda feed: _newest(feed, fetch), feeds), strict=True)):
            sink(Progress("feeds", n, len(feeds), feed))
            if items:
                journal.remember(f"feed {feed}", json.dumps([asdict(each) for each in items]))
            found[feed] = items or [_item(each) for each in json.loads(journal.fact(f"feed {feed}") or "[]")]
    cancel.check()
    return lists.refolded(each for entry in entries for each in _in_place_of(entry, found.get(entry.feed, [])))


def _newest(feed: str, fetch: Callable[[str], Response]) -> list[Item]:
    with suppress(IngestError, InvalidParams):
        response = fetch(feed)
        return lists.parse(response.body, base=response.url, charset=response.charset)[:NEWEST]
    return []


def _item(shape: dict[str, object]) -> Item:
    tags = shape["tags"]
    assert isinstance(tags, list)
    return Item(**(shape | {"tags": tuple(tags)}))  # type: ignore[arg-type]


def _in_place_of(entry: Entry, items: Sequence[Item]) -> list[Entry]:
    """What ENTRY stands for: ITEMS with its tags and its title as one more, or itself."""
    tags = tuple(filter(None, (entry.title, *entry.tags)))
    return lists.fold(replace(each, tags=tags, feed="") for each in items) or [entry]
