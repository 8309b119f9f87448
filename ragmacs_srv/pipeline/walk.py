"""One crawl under way: which addresses are met, and what each of them means for what is stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

from ..errors import AddressRefused, FetchError, NoContent, RagmacsError, RobotsDenied
from ..events import Cancel, Progress, Sink
from ..ingest import doubt, kinds, walls
from ..ingest.crawl import Frontier, Visit
from ..ingest.sources import in_scope
from ..model import Page, Response, Source
from ..search.history import Change, compared, whole
from ..search.store import Receipt, Store, Validators
from .reader import EXTRACTION, SAME_TEXT, Reader, Report, cleaned, now, put, sha256, text_hash_of

UNLINKED = "nothing leads to it any more"
FROM_SITE = "another collection has it from its site"


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
class Walk:
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
        if is_foreign(visit, held):
            return None  # what validates a file here says nothing of what its site has
        return _Known(page, "unchanged", "", held.etag, held.last_modified, held.body_hash)

    def take(self, visit: Visit, response: Response, known: _Known | None, before: Receipt | None) -> Receipt:
        """Decide what RESPONSE means: nothing new, another name of a known page, or a page to store."""
        if response.url != visit.url:
            if reason := self.redirect_refused(visit, response.url):
                raise AddressRefused(f"redirects to {response.url}, {reason}")
            if self.frontier.knows(response.url) and self.store.validators(response.url):
                self.check(before, self.store.page(response.url).page)
                return self.note(visit, "alias", response.url, "redirect")
            if self.is_anothers(visit, response.url):
                return self.note(visit, "alias", response.url, FROM_SITE)
        digest = sha256(response.body)
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
        text_hash = text_hash_of(page)
        twin = self.twin(visit, text_hash)
        is_moved = before is not None and before.url == before.page == twin != page.url
        is_copy = twin not in {"", page.url} and not self.is_gone(twin) and not is_moved
        self.check(before, page, copy=is_copy)
        self.frontier.count(page.url)
        if is_copy:
            return self.note(visit, "alias", twin, SAME_TEXT, digest=digest, etag=response.etag)
        page = cleaned(self.store, page)
        status = "changed" if self.store.validators(page.url) else "new"
        receipt = self.receipt(visit, status, page.url, digest=digest, etag=response.etag)
        if status == "changed" and self.says_the_same(visit, page):
            receipt = replace(receipt, status="unchanged")
            self.store.revalidate(page.url, response, page.links, receipt)
        else:
            changes = self.changes(page, receipt, before)
            put(self.store, self.reader, response, page, receipt, text_hash, changes)
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
        text = text_hash_of(page)
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
        for receipt in self.store.receipts_with(self.source.name, old):
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

    def twin(self, visit: Visit, text_hash: str) -> str:
        """The address of the page that has this text, or "": no file here is known to be what a site has."""
        found = self.store.page_with_text(text_hash)
        held = self.store.validators(found) if found else None
        return "" if held and is_foreign(visit, held) and not kinds.is_local(visit.url) else found

    def is_anothers(self, visit: Visit, url: str) -> bool:
        """Whether VISIT, to a file here, claims the address of a page that another collection has from its site."""
        held = self.store.validators(url) if kinds.is_local(visit.url) else None
        return bool(held and is_foreign(visit, held) and {*self.store.collections_with(url)} - {self.source.name})

    def says_the_same(self, visit: Visit, page: Page) -> bool:
        """Whether the page that is stored at the address of PAGE is as good as this one."""
        held = self.store.validators(page.url)
        if held is None or held.chunker != self.reader.recipe or is_foreign(visit, held):
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
            still = {each.url for each in asked}
            self.take_leave([each for each in departed if each.url not in still], report)

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


def is_foreign(visit: Visit, held: Validators) -> bool:
    """Whether what is HELD was read on this machine, and the address of VISIT is not of it, or the other way round."""
    return kinds.is_local(held.fetched_from) != kinds.is_local(visit.url)
