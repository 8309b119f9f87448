"""The addresses of a reading list become records: each read and summarized once, several sites at a time.

Of one site one page is under way at a time, and it is in the journal before the next is asked for. So a kill costs
at most a page per site, and a run that goes on asks for nothing that the journal records.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import AddressRefused, FetchError, NoContent, RobotsDenied
from ..events import Cancel, Progress, Sink, ignore
from ..ingest.address import Unreachable
from ..ingest.lists import Entry
from ..ingest.urls import origin, shown
from ..model import Page
from .journal import Journal, Kept, Record, State
from .prompt import Message
from .summarize import LENGTH, STYLES, Style, Summary

if TYPE_CHECKING:
    from .llm import Chat

SITES = 8  # asked at the same time
WRITERS = 2  # summaries that an LLM writes at the same time: a laptop gets slower with each
PACE = 200  # words that are read in a minute: technical prose with code in it
CHARS_A_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Options:
    """What a run is to do: LENGTH in words of a summary, STYLE and LANGUAGE as `summarize` takes them; budgets of
    tokens and seconds, 0 for none."""

    length: int = LENGTH
    retry_failed: bool = False
    max_tokens: int = 0
    max_seconds: float = 0.0
    style: Style = STYLES[0]
    language: str = ""

    @property
    def recipe(self) -> str:
        """Names how summaries are made; those made otherwise are made anew, from the pages that were kept."""
        form = [self.style] if self.style != STYLES[0] else []
        return ", ".join([f"{self.length} words", *form, *([self.language] if self.language else [])])


@dataclass(frozen=True, slots=True)
class Row:
    """An address of the list with what became of it; `also`: what else of the list, and on the way, it stands for."""

    entry: Entry
    record: Record
    also: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return self.record.title or self.entry.title or self.entry.url

    @property
    def url(self) -> str:
        """Where to read it."""
        return self.record.page or self.entry.url

    @property
    def minutes(self) -> int:
        """How long reading the page takes; 0 when there is none."""
        return max(1, round(self.record.words / PACE)) if self.record.words else 0

    @property
    def text(self) -> str:
        return "\n".join(text for text, _ in self.record.points)

    def as_json(self) -> dict[str, Any]:
        """One of the `items` of a batch, on every transport."""
        made = asdict(self.record)
        return {
            "url": self.entry.url,
            "page": self.record.page,
            "title": self.title,
            "state": self.record.state,
            "reason": self.record.reason,
            "hint": self.record.hint,
            "tags": list(self.entry.tags),
            "note": self.entry.note,
            "read": self.entry.read,
            "also": list(self.also),
            "summary": self.text,
            "points": [{"text": text, "link": link} for text, link in self.record.points],
            "words": self.record.words,
            "minutes": self.minutes,
            **{key: made[key] for key in ("model", "notes", "from_cache", "at")},
        }


class Reading(Protocol):
    """What a run needs to have done, from any thread."""

    def fetch(self, url: str) -> Kept | Page:
        """The page at URL, as it was fetched, or as it is indexed."""
        ...

    def summarize(self, page: Page, chat: Chat | None) -> Summary:
        """PAGE in few words."""
        ...


def run(
    entries: Sequence[Entry],
    journal: Journal,
    reading: Reading,
    options: Options,
    *,
    chat: Metered | None = None,
    sink: Sink = ignore,
    cancel: Cancel | None = None,
) -> None:
    """Have every one of ENTRIES recorded in JOURNAL, but those that a budget left; what is recorded is not done again.

    Raises Cancelled, with what was done until then in the journal.
    """
    _Run(entries, journal, reading, options, chat, sink, cancel or Cancel()).go()


def rows(entries: Sequence[Entry], records: Mapping[str, Record]) -> list[Row]:
    """What became of each of ENTRIES, in their order; those that are the same page in the end are one."""
    owners = {record.page: record for record in records.values() if record.points}
    found: dict[str, Row] = {}
    for entry in entries:
        record = records.get(entry.url) or _unread(entry)
        if record.state == "done" and not record.points:
            record = owners.get(record.page) or _without(record, records)
        key = record.page if record.state == "done" else entry.url
        known = found.get(key)
        if known is None:
            found[key] = Row(entry, record, entry.also)
        else:
            merged = replace(
                known.entry,
                tags=tuple(dict.fromkeys((*known.entry.tags, *entry.tags))),
                note=known.entry.note or entry.note,
                read=known.entry.read or entry.read,
            )
            found[key] = Row(merged, known.record, (*known.also, entry.url, *entry.also))
    return list(found.values())


def counts(made: Iterable[Row]) -> dict[str, int]:
    """How many of the rows are done, failed, refused and pending, and how many addresses were folded into others."""
    rows = list(made)
    states = Counter(row.record.state for row in rows)
    known = {state: states[state] for state in ("done", "failed", "refused", "pending")}
    return {"urls": len(rows), **known, "duplicates": sum(len(row.also) for row in rows)}


def _without(record: Record, records: Mapping[str, Record]) -> Record:
    """What became of the page that RECORD was to share with another address, which did not get it."""
    other = records.get(record.page)
    if other and other.state in ("failed", "refused"):
        return replace(record, state=other.state, reason=other.reason)
    return replace(record, state="pending", reason="it was not its turn yet: run the same command again")


def _unread(entry: Entry) -> Record:
    if entry.refused:
        return Record(entry.url, "refused", entry.refused)
    return Record(entry.url, "pending", "it was not its turn yet: run the same command again")


class _Run:
    """One run under way."""

    def __init__(
        self,
        entries: Sequence[Entry],
        journal: Journal,
        reading: Reading,
        options: Options,
        chat: Metered | None,
        sink: Sink,
        cancel: Cancel,
    ) -> None:
        self._entries = [entry for entry in entries if not entry.refused]
        self._journal = journal
        self._reading = reading
        self._options = options
        self._chat = chat
        self._sink = sink
        self._cancel = cancel
        self._records = journal.records()
        self._claims = {each.page: each.url for each in self._records.values() if each.points}
        self._until = time.monotonic() + options.max_seconds if options.max_seconds else float("inf")
        self._lock = threading.Lock()
        self._writers = threading.Semaphore(WRITERS)
        self._stopped = False
        self._taken: dict[str, deque[Entry]] = {}

    def go(self) -> None:
        left = [entry for entry in self._entries if not self._is_settled(self._records.get(entry.url))]
        self._done, self._total = len(self._entries) - len(left), len(self._entries)
        self._tell("")
        sites: dict[str, deque[Entry]] = {}
        for entry in left:
            sites.setdefault(origin(entry.url), deque()).append(entry)
        self._sites = deque(sites.values())
        workers = min(SITES, len(sites))
        if workers:
            with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="batch") as pool:
                working = [pool.submit(self._work) for _ in range(workers)]
            for each in working:
                each.result()
        self._cancel.check()

    def _is_settled(self, record: Record | None) -> bool:
        """Whether nothing is to be done for the address of RECORD."""
        if record is None or record.again:
            return False
        if record.state != "done":
            return not self._options.retry_failed
        if not record.points:  # it is another's page
            return record.page in self._claims
        return record.recipe == self._options.recipe and not (
            record.short and self._chat and self._options.retry_failed
        )

    def _work(self) -> None:
        """Take the next page of the site that has waited longest, until there is none; sites take turns."""
        sound = False
        try:
            while entry := self._next():
                self._do(entry)
                self._return_site(entry)
            sound = True
        finally:
            self._stopped = self._stopped or not sound  # the others need not go on

    def _next(self) -> Entry | None:
        with self._lock:
            over = self._stopped or self._cancel.cancelled or time.monotonic() > self._until
            return None if over or not self._sites else self._take(self._sites.popleft())

    def _take(self, site: deque[Entry]) -> Entry:
        """The next of SITE, which nobody else takes from until it is returned."""
        entry = site.popleft()
        self._taken[origin(entry.url)] = site
        return entry

    def _return_site(self, entry: Entry) -> None:
        with self._lock:
            if site := self._taken.pop(origin(entry.url)):
                self._sites.append(site)

    def _do(self, entry: Entry) -> None:
        """Have ENTRY in the journal, whatever becomes of it."""
        record, page = self._made(entry)
        if record is not None:
            self._journal.put(record, page)
        with self._lock:
            self._done += 1
            self._tell(entry.url)

    def _made(self, entry: Entry) -> tuple[Record | None, Kept | None]:
        before = self._records.get(entry.url)
        if not self._claim(entry.url, entry):  # another address led here
            return self._same(entry, entry.url), None
        try:
            known = self._journal.page(before.page) if before and before.page else None
            found = known or self._reading.fetch(entry.url)
            page = found.page if isinstance(found, Kept) else found
            if not self._claim(page.url, entry):
                return self._same(entry, page.url), None
            return self._summarized(entry, page, from_cache=not isinstance(found, Kept)), (
                found if isinstance(found, Kept) and not known else None
            )
        except (AddressRefused, RobotsDenied) as exc:
            self._release(entry)
            unasked = isinstance(exc, AddressRefused) and exc.data.get("url") == shown(
                entry.url
            )  # and the next run may allow it
            return replace(self._record(entry, "refused", exc.message), again=unasked, hint=exc.hint), None
        except (FetchError, NoContent) as exc:
            self._release(entry)
            again = isinstance(exc, Unreachable)
            return replace(self._record(entry, "failed", exc.message), again=again, hint=exc.hint), None

    def _claim(self, page: str, entry: Entry) -> bool:
        """Whether PAGE is no other entry's already; from now on it is ENTRY's."""
        with self._lock:
            return self._claims.setdefault(page, entry.url) == entry.url

    def _release(self, entry: Entry) -> None:
        """What ENTRY claimed is anybody's: it came to nothing."""
        with self._lock:
            self._claims = {page: url for page, url in self._claims.items() if url != entry.url}

    def _same(self, entry: Entry, page: str) -> Record:
        return replace(self._record(entry, "done"), page=page)

    def _summarized(self, entry: Entry, page: Page, *, from_cache: bool) -> Record:
        chat = self._chat if self._chat and not self._chat.spent else None
        with self._writing(chat):
            summary = self._reading.summarize(page, chat)
        notes = summary.notes
        if self._chat and not chat:
            notes = (*notes, f"the budget of {self._options.max_tokens:,} tokens was used up: in the page's own words")
        return replace(
            self._record(entry, "done"),
            page=page.url,
            title=summary.title,
            points=tuple((point.text, point.link) for point in summary.points),
            words=sum(len(section.text.split()) for section in page.sections),
            model=summary.model,
            notes=notes,
            from_cache=from_cache,
            short=self._chat is not None and not (summary.model and summary.complete),
        )

    @contextmanager
    def _writing(self, chat: Metered | None) -> Iterator[None]:
        if chat is None:
            yield
        else:
            with self._writers:
                yield

    def _record(self, entry: Entry, state: State, reason: str = "") -> Record:
        at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return Record(entry.url, state, reason, recipe=self._options.recipe, at=at)

    def _tell(self, url: str) -> None:
        self._sink(Progress("batch", self._done, self._total, url))


class Metered:
    """A `Chat` that counts what it costs: in tokens, four characters each, as no server tells all of them."""

    def __init__(self, chat: Chat, most: int) -> None:
        self.model = chat.model
        self._chat = chat
        self._most = most
        self._used = 0

    @property
    def spent(self) -> bool:
        return bool(self._most) and self._used >= self._most

    def stream(self, messages: Sequence[Message], *, max_tokens: int, cancel: Cancel) -> Iterator[str]:
        self._used += sum(len(each.content) for each in messages) // CHARS_A_TOKEN
        for delta in self._chat.stream(messages, max_tokens=max_tokens, cancel=cancel):
            self._used += len(delta) // CHARS_A_TOKEN + 1
            yield delta

    def relay(self, body: Mapping[str, object], *, cancel: Cancel) -> Iterator[bytes]:
        return self._chat.relay(body, cancel=cancel)
