"""A source, or pages that are at hand, become pages in the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from ..answer.journal import Kept
from ..events import Cancel, Progress, Sink, ignore
from ..ingest.crawl import Frontier
from ..model import Source
from ..search.history import KEPT_DAYS
from ..search.store import Receipt, Store
from .reader import SAME_TEXT, Reader, Report, now, put, text_hash_of
from .walk import Walk


def crawl(
    store: Store,
    reader: Reader,
    source: Source,
    *,
    options: Mapping[str, Any] | None = None,
    sink: Sink = ignore,
    cancel: Cancel | None = None,
    grown: Callable[[], None] = lambda: None,
) -> Report:
    """Read every page of SOURCE into STORE, each committed as it comes; unchanged pages do no work.

    A crawl that was stopped goes on where it was: addresses it has a receipt for are not asked again.
    OPTIONS are kept so that an update can repeat the crawl. GROWN is called after every page.
    """
    known, again = store.collection(source.name), store.was_read(source.name)
    started = store.start_crawl(source, dict(options or {}), now())
    report = Report(source.name)
    narrowed = known is not None and _narrowed(known[0], source)
    last = tuple(store.receipts(source.name))
    walk = Walk(store, reader, source, Frontier(source), last, cancel or Cancel(), narrowed=narrowed, again=again)
    walk.run(started, report, sink, grown)
    store.finish_crawl(source.name, now())
    store.forget_history((datetime.now(UTC) - timedelta(days=KEPT_DAYS)).isoformat())
    return report


def retry(
    store: Store,
    reader: Reader,
    source: Source,
    *,
    sink: Sink = ignore,
    cancel: Cancel | None = None,
    grown: Callable[[], None] = lambda: None,
) -> Report:
    """Read the addresses of SOURCE that failed or were refused the last time, and what only they lead to.

    Nothing is dropped, and no page is taken for rewritten: that needs a second look, another day.
    """
    report = Report(source.name)
    last = tuple(store.receipts(source.name))
    walk = Walk(store, reader, source, Frontier(source), last, cancel or Cancel(), only_failed=True)
    walk.run(now(), report, sink, grown)
    store.tell(source.name)
    return report


def _narrowed(old: Source, new: Source) -> bool:
    """Whether NEW is another collection than OLD: pages that it does not lead to were taken out on purpose."""
    return not set(old.seeds) <= set(new.seeds) or (old.allow, old.deny, old.depth) != (new.allow, new.deny, new.depth)


def shelve(
    store: Store,
    reader: Reader,
    source: Source,
    arrivals: Iterable[tuple[str, str, Kept | None]],
    *,
    options: Mapping[str, Any] | None = None,
    sink: Sink = ignore,
    cancel: Cancel | None = None,
) -> Report:
    """Put pages that are at hand into STORE, as the collection SOURCE; nothing is fetched.

    ARRIVALS are (address, address of its page, the page, or None for one that STORE has).
    """
    cancel = cancel or Cancel()
    store.start_crawl(source, dict(options or {}), now())
    report = Report(source.name)
    for n, (url, page, kept) in enumerate(arrivals):
        cancel.check()
        sink(Progress(f"index {source.name}", n, len(source.seeds), url))
        report.add(_shelved(store, reader, Receipt(source.name, url, "unchanged", page, "", "", "", 0, now()), kept))
    store.finish_crawl(source.name, now())
    return report


def _shelved(store: Store, reader: Reader, receipt: Receipt, kept: Kept | None) -> Receipt:
    """Put KEPT, the page of RECEIPT, into STORE, unless it is there, and return what became of it."""
    held = store.validators(receipt.page)
    if kept is None:
        receipt = receipt if held else replace(receipt, status="failed", page="", reason="it has left the index")
        store.record(receipt)
        return receipt
    receipt = replace(receipt, body_hash=kept.digest, etag=kept.response.etag)
    text_hash = text_hash_of(kept.page)
    twin = store.page_with_text(text_hash)
    if held and (held.body_hash, held.chunker) == (kept.digest, reader.recipe):
        store.record(receipt)
    elif twin and twin != receipt.page:
        receipt = replace(receipt, status="alias", page=twin, reason=SAME_TEXT)
        store.record(receipt)
    else:
        receipt = replace(receipt, status="changed" if held else "new")
        put(store, reader, kept.response, kept.page, receipt, text_hash)
    return receipt


def plan(source: Source) -> Iterator[tuple[str, str]]:
    """(address, reason against it or "") of everything a crawl of SOURCE knows before its first request."""
    frontier = Frontier(source)
    for seed in source.seeds:
        frontier.start(seed)
    for visit in frontier:
        yield visit.url, ""
    yield from frontier.refused.items()
