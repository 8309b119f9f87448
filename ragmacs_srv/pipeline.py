"""The loops: crawl a source into the store, embed what has no vector yet, publish what readers see."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from .answer.journal import Kept
from .errors import AddressRefused, FetchError, NoContent, RagmacsError, RobotsDenied
from .events import Cancel, Progress, Sink, ignore
from .ingest import chunk, doubt, kinds, walls
from .ingest.crawl import Frontier, Visit
from .ingest.kinds import Means
from .ingest.sections import block_texts, repeated, without
from .ingest.sources import in_scope
from .ingest.urls import origin
from .model import Chunk, Page, Response, Section, Source
from .search import generation
from .search.embed import Embedder, Named, TokenEmbedder, space
from .search.generation import Dense, Late, Manifest
from .search.history import KEPT_DAYS, Change, compared, whole
from .search.store import Receipt, Store, passage_hash
from .search.tokens import COMPACT, DIM, SAMPLE, Projection, train

if TYPE_CHECKING:  # a search reads no page: httpx and what comes with it take 0.1 CPU-seconds
    import numpy as np
    from numpy.typing import NDArray

    from .ingest.worker import Extractor

EXTRACTION = 1  # raise it when extraction would give other sections: pages are then read again
SAME_TEXT = "the same text"  # why an address is an alias, when it is not a redirect
UNLINKED = "nothing leads to it any more"
EMBED_WINDOW = 2048  # chunks sorted by length together, so that a batch holds little padding
EMBED_BATCH = 32  # chunks committed together: what a kill can cost


class TokenCounter(Protocol):
    """Counts tokens as the embedding model does."""

    name: str
    limit: int

    def count(self, text: str) -> int: ...


@dataclass(frozen=True)
class Reader:
    """What turns an address into chunks: what it is read with, the extraction worker, the model's tokenizer."""

    means: Means
    extractor: Extractor
    tokens: TokenCounter

    @property
    def recipe(self) -> str:
        """Names extraction and chunking; pages read by another recipe are read again."""
        return f"{EXTRACTION}.{chunk.VERSION}:{self.tokens.name}"

    def read(self, url: str, cancel: Cancel, *, etag: str = "", last_modified: str = "") -> Response:
        """The document at the canonical address URL, as its kind reads it: see `kinds.Kind`."""
        return kinds.of(url).read(url, self.means, cancel, etag=etag, last_modified=last_modified)

    def split(self, sections: Iterable[Section]) -> list[list[Chunk]]:
        """The chunks of each section."""
        return [list(chunk.split(each, limit=self.tokens.limit, count=self.tokens.count)) for each in sections]


@dataclass
class Report:
    """What a crawl did: how many addresses ended how, and every one that gave no page, with its reason."""

    collection: str
    outcomes: Counter[str] = field(default_factory=Counter)
    failed: list[Receipt] = field(default_factory=list)
    cut: int = 0

    def add(self, receipt: Receipt) -> None:
        self.outcomes[receipt.status] += 1
        if receipt.status in {"failed", "refused", "gone"}:
            self.failed.append(receipt)

    def as_json(self) -> dict[str, Any]:
        """One of the `crawls` of a crawl or an update, on every transport."""
        failed = [asdict(receipt) for receipt in self.failed]
        return {"collection": self.collection, "outcomes": dict(self.outcomes), "cut": self.cut, "failed": failed}


def nothing_read(reports: Sequence[Report]) -> FetchError | None:
    """What to raise after crawls that met addresses, and not one of them gave a page."""
    failed = [receipt for each in reports for receipt in each.failed]
    if not failed or len(failed) < sum(each.outcomes.total() for each in reports):
        return None
    hint = "check the address and the network; --mirror FROM=TO reads the pages from elsewhere"
    return FetchError(f"no page could be read: {failed[0].reason}", hint=hint)


def now() -> str:
    """The time as it is stored: RFC 3339, UTC, to the microsecond."""
    return datetime.now(UTC).isoformat()


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
    walk = _Walk(store, reader, source, Frontier(source), last, cancel or Cancel(), narrowed=narrowed, again=again)
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
    walk = _Walk(store, reader, source, Frontier(source), last, cancel or Cancel(), only_failed=True)
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
    text_hash = _text_hash(kept.page)
    twin = store.page_with_text(text_hash)
    if held and (held.body_hash, held.chunker) == (kept.digest, reader.recipe):
        store.record(receipt)
    elif twin and twin != receipt.page:
        receipt = replace(receipt, status="alias", page=twin, reason=SAME_TEXT)
        store.record(receipt)
    else:
        receipt = replace(receipt, status="changed" if held else "new")
        _put(store, reader, kept.response, kept.page, receipt, text_hash)
    return receipt


def plan(source: Source) -> Iterator[tuple[str, str]]:
    """(address, reason against it or "") of everything a crawl of SOURCE knows before its first request."""
    frontier = Frontier(source)
    for seed in source.seeds:
        frontier.start(seed)
    for visit in frontier:
        yield visit.url, ""
    yield from frontier.refused.items()


@dataclass(frozen=True, slots=True)
class _Known:
    """What an address gave last time, and what it is when it gives that again."""

    page: str
    status: str
    reason: str
    etag: str
    last_modified: str
    body_hash: str


class _Kept(Exception):
    """What an address gave now stands in the place of its page, which is kept; TEXT is the hash of it, or ""."""

    def __init__(self, message: str, text: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.text = text


@dataclass(frozen=True)
class _Walk:
    """One crawl under way: the parts every step needs.

    LAST is what the crawl before left. NARROWED: the collection is not what it was, so that what it does not lead to
    goes at once. With ONLY_FAILED it meets again what failed, and drops nothing.
    """

    store: Store
    reader: Reader
    source: Source
    frontier: Frontier
    last: tuple[Receipt, ...]
    cancel: Cancel
    narrowed: bool = False
    only_failed: bool = False
    again: bool = True  # the collection was read before: what is new in it is a change

    def run(self, started: str, report: Report, sink: Sink, grown: Callable[[], None]) -> None:
        """Visit every address of the frontier; what has a receipt since STARTED is not asked again."""
        name, frontier = self.source.name, self.frontier
        listed = self.start(report, sink)
        for visit in frontier:
            self.cancel.check()
            sink(Progress(f"crawl {name}", frontier.taken - 1, frontier.total, visit.url))
            receipt = self.store.receipt(name, visit.url)
            if receipt is None or receipt.at < started:
                receipt = self.visit(visit, receipt)
                grown()
            report.add(receipt)
            if receipt.page and (known := self.store.validators(receipt.page)):
                frontier.add(known.links, visit.depth)
        for status, addresses in (("refused", frontier.refused), ("skipped", frontier.traps)):
            for url, reason in addresses.items():
                report.add(self.note(Visit(url, 0), status, self.kept(self.store.receipt(name, url)), reason))
        report.cut = frontier.cut
        if listed and not self.only_failed:
            self.settle_departed(started, report, sink)
        sink(Progress(f"crawl {name}", frontier.taken, frontier.taken))

    def start(self, report: Report, sink: Sink) -> bool:
        """Meet the documents that the seeds stand for; False when one of them could not tell its own."""
        seeds = self.meet_failed() if self.only_failed else self.source.seeds
        complete = True
        for n, seed in enumerate(seeds):
            self.cancel.check()
            sink(Progress(f"list {self.source.name}", n, len(seeds), seed))
            before = self.store.receipt(self.source.name, seed)
            try:
                own = kinds.canonical(seed)
            except AddressRefused as exc:
                complete = False
                self.frontier.refused[seed] = exc.message
                continue
            itself = False
            try:
                for url in self.listed(seed):  # those before an error are read all the same
                    itself = itself or url == seed
                    self.frontier.start(url, listed=url != own)
            except (FetchError, RobotsDenied, AddressRefused, NoContent) as exc:
                complete = False
                report.add(self.do_without(Visit(seed, 0), exc, before))
            else:
                if before and not itself:  # it could not be listed the last time
                    self.store.remove_receipts(self.source.name, [seed])
        return complete

    def listed(self, seed: str) -> Iterable[str]:
        """The documents that SEED stands for; of endlessly many, enough to tell that there are too many."""
        found = kinds.of(seed).pages(seed, self.reader.means, self.cancel)
        return islice(found, 2 * self.source.max_pages + 1) if kinds.is_partial(seed) else found

    def meet_failed(self) -> Sequence[str]:
        """Meet again the addresses that failed or were refused, and nothing else known; returns the seeds to list.

        An address that robots.txt denies costs no request: that file is asked for once for all of them.
        """
        seeds = set(self.source.seeds)
        failed = [each for each in self.last if each.status in {"failed", "refused"}]
        for url in {each.url for each in self.last} - {each.url for each in failed}:
            self.frontier.count(url)
        for receipt in failed:
            if receipt.url not in seeds:
                self.frontier.again(Visit(receipt.url, receipt.depth))
        return [each.url for each in failed if each.url in seeds]

    def visit(self, visit: Visit, before: Receipt | None) -> Receipt:
        """Read one address; what comes of it is committed before this returns."""
        known = self.known(visit, before)
        etag, last_modified = (known.etag, known.last_modified) if known else ("", "")
        try:
            response = self.reader.read(visit.url, self.cancel, etag=etag, last_modified=last_modified)
            if response.status == 304 and known and response.url not in {visit.url, known.page}:
                response = self.reader.read(visit.url, self.cancel)  # unchanged, but elsewhere
            return self.take(visit, response, known, before)
        except (FetchError, RobotsDenied, AddressRefused, NoContent) as exc:
            return self.do_without(visit, exc, before)
        except _Kept as exc:
            assert before
            return self.note(visit, "failed", before.page, exc.message, digest=exc.text)

    def known(self, visit: Visit, before: Receipt | None) -> _Known | None:
        """What we hold of an address: its page, or that it had the text of another one."""
        if before and before.reason == SAME_TEXT and self.store.validators(before.page):
            if self.is_gone(before.page):
                return None  # the text is still to be had here: the bytes are needed
            return _Known(before.page, "alias", SAME_TEXT, before.etag, "", before.body_hash)
        page = before.page if before and before.page else visit.url
        held = self.store.validators(page)
        if held is None or not held.chunker.startswith(f"{EXTRACTION}."):
            return None  # never read, or by an older recipe: the bytes are needed
        return _Known(page, "unchanged", "", held.etag, held.last_modified, held.body_hash)

    def take(self, visit: Visit, response: Response, known: _Known | None, before: Receipt | None) -> Receipt:
        """Decide what RESPONSE means: nothing new, another name of a known page, or a page to store."""
        if response.url != visit.url:
            if reason := self.redirect_refused(visit, response.url):
                raise AddressRefused(f"redirects to {response.url}, {reason}")
            if self.frontier.knows(response.url) and self.store.validators(response.url):
                self.check(before, self.store.page(response.url).page)
                return self.note(visit, "alias", response.url, "redirect")
        digest = _sha256(response.body)
        same = known and (response.status == 304 or digest == known.body_hash)
        if known and same and response.url in {visit.url, known.page}:
            self.frontier.count(response.url)
            etag = response.etag or known.etag
            return self.note(visit, known.status, known.page, known.reason, digest=known.body_hash, etag=etag)
        page = self.reader.extractor.extract(response, cancel=self.cancel)
        if page.url.startswith("http") and visit.url.startswith("http"):
            walls.check(visit.url, page)
        return self.keep(visit, response, page, digest, before)

    def keep(self, visit: Visit, response: Response, page: Page, digest: str, before: Receipt | None) -> Receipt:
        """Store PAGE, unless its text is known."""
        text_hash = _text_hash(page)
        twin = self.store.page_with_text(text_hash)
        is_moved = before is not None and before.url == before.page == twin != page.url
        is_copy = twin not in {"", page.url} and not self.is_gone(twin) and not is_moved
        self.check(before, page, copy=is_copy)
        self.frontier.count(page.url)
        if is_copy:
            return self.note(visit, "alias", twin, SAME_TEXT, digest=digest, etag=response.etag)
        page = _cleaned(self.store, page)
        status = "changed" if self.store.validators(page.url) else "new"
        receipt = self.receipt(visit, status, page.url, digest=digest, etag=response.etag)
        if status == "changed" and self.says_the_same(page):
            receipt = replace(receipt, status="unchanged")
            self.store.revalidate(page.url, response, page.links, receipt)
        else:
            changes = self.changes(page, receipt, before)
            _put(self.store, self.reader, response, page, receipt, text_hash, changes)
        if is_moved:
            self.follow(twin, page.url)
        return receipt

    def check(self, before: Receipt | None, page: Page, *, copy: bool = False) -> None:
        """Raise _Kept when PAGE stands where another one did, and may not be meant to stay there.

        It is a COPY when another address has its text. What may be meant to stay is taken at the second look, but
        not where much of the collection says the same now: that is a login, a home page, or an error. What is on this
        machine is as it is meant to be.
        """
        held = before.page if before else ""
        if not before or not self.store.validators(held) or kinds.is_local(before.url):
            return
        old = self.store.page(held).page
        moved = page.url != held
        if not (moved or copy or doubt.is_error(page) or doubt.is_less(old, page)) or doubt.alike(old, page):
            return
        where = f"it leads to {page.url}, which is something else" if moved else "it says something else now"
        if doubt.is_error(page):
            raise _Kept(f"{where}: an error, by its words; the earlier copy is kept")
        text = _text_hash(page)
        if doubt.is_crowd(self.doubts[text], self.pages):
            many = f", as {self.doubts[text]} addresses do" if self.doubts[text] > 1 else ""
            raise _Kept(f"{where}{many}; the earlier copy is kept, until it is removed with `ragmacs remove`", text)
        if self.only_failed or before.status != "failed" or not before.body_hash:
            raise _Kept(f"{where}; the earlier copy is kept until the next update finds the same", text)

    @cached_property
    def doubts(self) -> Counter[str]:
        """Hash of a text to how many addresses gave it in the place of their pages, the last time."""
        return Counter(each.body_hash for each in self.last if each.status == "failed" and each.body_hash)

    @cached_property
    def pages(self) -> int:
        """How many pages the collection had."""
        return len({each.page for each in self.last if each.page})

    def follow(self, old: str, new: str) -> None:
        """Lead the addresses that had the text of the page OLD to NEW, where it is now."""
        for receipt in [each for each in self.store.receipts(self.source.name) if each.page == old]:
            status, reason = ("new", "") if receipt.url == new else (receipt.status, receipt.reason)
            self.store.record(replace(receipt, page=new, status=status, reason=reason))

    def changes(self, page: Page, receipt: Receipt, before: Receipt | None) -> list[Change]:
        """What PAGE says otherwise than what RECEIPT's address had BEFORE; nothing where only our reading changed."""
        seen = {"at": receipt.at, "collection": receipt.collection}
        old = page.url if receipt.status == "changed" else before.page if before else ""
        held = self.store.validators(old)
        if held is None:
            return [whole("new", page, **seen)] if self.again else []
        if not held.chunker.startswith(f"{EXTRACTION}."):
            return []
        return compared(self.store.page(old).page.sections, page.sections, url=page.url, **seen)

    def says_the_same(self, page: Page) -> bool:
        """Whether the page that is stored at the address of PAGE is as good as this one."""
        held = self.store.validators(page.url)
        if held is None or held.chunker != self.reader.recipe:
            return False
        stored = self.store.page(page.url).page
        return (stored.title, stored.sections) == (page.title, page.sections)

    def is_gone(self, url: str) -> bool:
        """Whether the page at URL was not there any more when it was last asked for."""
        receipt = self.store.receipt(self.source.name, url)
        return receipt is not None and receipt.status == "gone"

    def do_without(self, visit: Visit, exc: RagmacsError, before: Receipt | None) -> Receipt:
        """Note that an address gave no page; the last good copy stays, unless the address is gone twice."""
        page = before.page if before else ""
        status = "refused" if isinstance(exc, RobotsDenied | AddressRefused) else "failed"
        if isinstance(exc, FetchError) and exc.status in {404, 410}:
            page = "" if before and before.status == "gone" else page
            status = "gone"
        return self.note(visit, status, page, exc.message)

    def kept(self, before: Receipt | None) -> str:
        """The page that an address which is not read any more keeps."""
        return before.page if before and not self.narrowed else ""

    def note(self, visit: Visit, status: str, page: str, reason: str = "", **validators: str) -> Receipt:
        """Commit a receipt for an address that brought no new text."""
        receipt = self.receipt(visit, status, page, reason, **validators)
        self.store.record(receipt)
        return receipt

    def receipt(
        self, visit: Visit, status: str, page: str, reason: str = "", *, digest: str = "", etag: str = ""
    ) -> Receipt:
        return Receipt(self.source.name, visit.url, status, page, reason, etag, digest, visit.depth, now())

    def redirect_refused(self, visit: Visit, url: str) -> str:
        """Why the end of a redirect is not wanted; a seed may lead anywhere that is not denied."""
        reason = in_scope(self.source, url)
        return "" if visit.depth == 0 and reason.startswith("outside") else reason

    def settle_departed(self, started: str, report: Report, sink: Sink) -> None:
        """Decide about what a crawl did not meet any more: what may be there still is asked for."""
        frontier = self.frontier
        unread = {*frontier.refused, *frontier.traps}
        receipts = list(self.store.receipts(self.source.name))
        departed = [each for each in receipts if each.url not in unread and not frontier.knows(each.url)]
        asked = [each for each in departed if each.page and kinds.outlasts(each.url, self.source.seeds)]
        due = {each.url for each in asked if each.at < started}
        self.reader.means.ahead[:] = sorted(due)
        for n, receipt in enumerate(asked):
            self.cancel.check()
            sink(Progress(f"crawl {self.source.name}", frontier.taken + n, frontier.taken + len(asked), receipt.url))
            report.add(self.visit(Visit(receipt.url, 0), receipt) if receipt.url in due else receipt)
        if not frontier.cut:
            self.take_leave([each for each in departed if each not in asked], report)

    def take_leave(self, departed: Iterable[Receipt], report: Report) -> None:
        """Mark what nothing leads to any more; what was marked before leaves the collection."""
        gone = []
        for receipt in departed:
            if self.narrowed or not receipt.page or receipt.status in {"gone", "left"}:
                gone.append(receipt.url)
                continue
            reason = SAME_TEXT if receipt.reason == SAME_TEXT else UNLINKED
            left = replace(receipt, status="left", reason=reason, at=now())
            self.store.record(left)
            report.add(left)
        self.store.remove_receipts(self.source.name, gone, at=now())


def _put(
    store: Store,
    reader: Reader,
    response: Response,
    page: Page,
    receipt: Receipt,
    text_hash: str,
    changes: Sequence[Change] = (),
) -> None:
    chunks = reader.split(page.sections)
    options: dict[str, Any] = {"text_hash": text_hash, "chunker": reader.recipe, "changes": changes}
    store.put_page(response, page, chunks, receipt, **options)


def _cleaned(store: Store, page: Page) -> Page:
    """PAGE without the lines that are known to stand on most pages of its site; see `drop_repeats`."""
    drop = set() if page.marked or not page.url.startswith("http") else store.repeats(origin(page.url))
    return replace(page, sections=tuple(without(each, drop) for each in page.sections)) if drop else page


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _text_hash(page: Page) -> str:
    """What two pages share that are one document under two addresses."""
    digest = hashlib.sha256()
    for section in page.sections:
        digest.update(f"{section.anchor}\0{section.text}\0".encode())
    return digest.hexdigest()


def drop_repeats(store: Store, reader: Reader, origins: Iterable[str]) -> int:
    """Remove the lines that stand on most pages of a site without semantic markup; returns pages changed.

    Only pages whose content element was guessed are looked at. What was found once is remembered, so
    that a page read again later is cleaned alike.
    """
    changed = 0
    for site in origins:
        pages = [store.page(url).page for url in store.unmarked(site)]
        found = repeated([block_texts(page) for page in pages]) - store.repeats(site)
        if found:
            store.add_repeats(site, found)
        drop = store.repeats(site)
        for page in pages:
            sections = [without(each, drop) for each in page.sections]
            if sections != list(page.sections):
                store.rewrite_page(page.url, sections, reader.split(sections), chunker=reader.recipe)
                changed += 1
    return changed


def rechunk(store: Store, reader: Reader) -> int:
    """Split pages again that another chunker split; returns how many."""
    stale = store.other_chunkers(reader.recipe)
    for url in stale:
        sections = store.page(url).page.sections
        store.rewrite_page(url, sections, reader.split(sections), chunker=reader.recipe)
    return len(stale)


def missing(store: Store, model: Named | None, *, rerank: bool = False) -> int:
    """How many chunks in STORE lack a vector of MODEL, or with RERANK those of their tokens."""
    dense, late = _dense(store, model), _late(store, model) if rerank else None
    if dense is None:
        return store.count()[1]
    passages = map(passage_hash, _chunks(store))
    return sum(each not in dense.known or (late is not None and each not in late.known) for each in passages)


def embed(
    store: Store,
    embedder: Embedder,
    *,
    rerank: bool = False,
    compact: bool = False,
    sink: Sink = ignore,
    cancel: Cancel | None = None,
    grown: Callable[[int], None] = lambda known: None,
) -> int:
    """Give every chunk in STORE a vector of EMBEDDER's; returns how many were missing.

    With RERANK its tokens get theirs in the same pass, where EMBEDDER can tell them: half as large when COMPACT,
    and all of them anew when that was otherwise before. Each batch is committed, so that a kill costs one batch,
    or the tokens of the sample that a new projection is trained on; GROWN is then told how many there are.
    Vectors nothing needs any more are dropped.
    """
    cancel = cancel or Cancel()
    kept = space(embedder)
    wanted = {passage_hash(each): each.passage for each in _chunks(store)}
    known = store.known_vectors(kept)
    if known - wanted.keys():
        store.drop_vectors(kept, keep=set(wanted))
    if known and wanted.keys() - known and store.dim(kept) != embedder.dim:  # a server's model of the same name
        store.drop_vectors(kept, keep=set())
        known = set()
    step, done = partial(_embed_batch, store, embedder), 0
    if rerank and wanted and isinstance(embedder, TokenEmbedder):
        projection = store.projection(kept)
        dim = COMPACT if compact else DIM
        if projection is None or projection.outgrown(len(wanted)) or not projection.keeps(dim):
            projection, done = _train(store, kept, embedder, wanted, dim, sink, cancel)
        step = partial(_encode_batch, store, embedder, projection)
        known = store.known_vectors(kept) & store.known_tokens(projection)
    missing = [item for item in wanted.items() if item[0] not in known]
    total = done + len(missing)
    for batch in _alike(missing):
        cancel.check()
        sink(Progress("embed", done, total, "chunks"))
        step(batch)
        done += len(batch)
        grown(len(wanted) - total + done)
    if total:
        sink(Progress("embed", done, total, "chunks"))
    return done


_Batch = Sequence[tuple[str, str]]  # passage hashes with their passages


def _embed_batch(store: Store, embedder: Embedder, batch: _Batch) -> None:
    store.put_vectors(space(embedder), [key for key, _ in batch], embedder.embed([text for _, text in batch]))


def _encode_batch(store: Store, embedder: TokenEmbedder, projection: Projection, batch: _Batch) -> None:
    keys = [key for key, _ in batch]
    encoded = embedder.encode([text for _, text in batch])
    store.put_vectors(projection.model, keys, encoded.vectors)
    store.put_tokens(projection, keys, encoded.tokens)


def _train(
    store: Store, kept: str, embedder: TokenEmbedder, wanted: Mapping[str, str], dim: int, sink: Sink, cancel: Cancel
) -> tuple[Projection, int]:
    """A projection to DIM directions for what is WANTED, and how many passages were encoded for it; all are kept."""
    sample: list[tuple[list[str], list[NDArray[np.float32]]]] = []
    done = tokens = 0
    for batch in _windows(sorted(wanted.items()), EMBED_BATCH):  # in the order of their hashes: any passages
        cancel.check()
        sink(Progress("embed", done, len(wanted), "chunks"))
        keys, encoded = [key for key, _ in batch], embedder.encode([text for _, text in batch])
        store.put_vectors(kept, keys, encoded.vectors)
        sample.append((keys, encoded.tokens))
        done += len(batch)
        tokens += sum(map(len, encoded.tokens))
        if tokens >= SAMPLE:
            break
    made = train(kept, [each for _, part in sample for each in part], passages=len(wanted), dim=dim)
    store.put_projection(made)
    for keys, part in sample:
        store.put_tokens(made, keys, part)
    return made, done


def _alike(items: _Batch) -> Iterator[_Batch]:
    """Batches of ITEMS of one length, as far as that goes: they hold little padding."""
    for window in _windows(items, EMBED_WINDOW):
        yield from _windows(sorted(window, key=lambda item: len(item[1])), EMBED_BATCH)


def publish(
    store: Store, reader: Reader, model: Named | None, *, rerank: bool = False, force: bool = False
) -> Manifest | None:
    """Make a generation of what STORE holds; None when the newest one is that already, unless FORCE.

    All of its text is in it, and the vectors of MODEL that there are by now, with RERANK those of tokens too.
    """
    dense, late = _dense(store, model), _late(store, model) if rerank else None
    revision = store.revision()
    newest = generation.newest_manifest(store.folder)
    vectors = (dense.key, dense.numeric) if dense else ("", "exact")
    made_from = (revision, *vectors, late.projection.key if late else "", reader.recipe)
    if (
        newest
        and not force
        and made_from == _made_from(newest)
        and newest.missing in {0, missing(store, model, rerank=rerank) if newest.missing else 0}
    ):
        generation.prune(store.folder)  # what a killed run left
        return None
    pages = map(store.page, store.urls())
    return generation.publish(
        store.folder, pages, revision=revision, chunker=reader.recipe, created=now(), dense=dense, late=late
    )


def _made_from(made: Manifest) -> tuple[str, ...]:
    return made.revision, made.model_key, made.numeric, made.projection, made.chunker


def _dense(store: Store, model: Named | None) -> Dense | None:
    """The vectors of MODEL that STORE has, or None."""
    if model is None:
        return None
    kept = space(model)
    known = store.known_vectors(kept)
    if not known:
        return None
    rows = partial(store.vectors, kept)
    return Dense(model.name, model.key, store.dim(kept), known, rows, model.numeric)


def _late(store: Store, model: Named | None) -> Late | None:
    """The token vectors of MODEL that STORE has, or None."""
    projection = store.projection(space(model)) if model else None
    if projection is None:
        return None
    known = store.known_tokens(projection)
    return Late(projection, known, lambda passages: _tokens(store, projection, known, passages))


def _tokens(
    store: Store, projection: Projection, known: set[str], passages: Iterable[str]
) -> Iterator[NDArray[np.int8]]:
    """What `store.tokens` gives; nothing for a passage that is not KNOWN."""
    for passage in passages:
        yield from store.tokens(projection, [passage]) if passage in known else [projection.nothing]


class Growth:
    """Calls PUBLISH each time a number has grown by half, and by LEAST: what is made anew every time costs no more."""

    def __init__(self, publish: Callable[[], object], published: int, least: int) -> None:
        self._publish = publish
        self._published = published
        self._least = least

    def __call__(self, number: int) -> None:
        if number - self._published >= max(self._least, self._published // 2):
            self._publish()
            self._published = number


def origins(store: Store) -> list[str]:
    """The sites that the stored pages come from."""
    return sorted({origin(url) for url in store.urls() if url.startswith("http")})


def _chunks(store: Store) -> Iterator[Chunk]:
    for url in store.urls():
        for chunks in store.page(url).chunks:
            yield from chunks


def _windows(items: _Batch, size: int) -> Iterator[_Batch]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
