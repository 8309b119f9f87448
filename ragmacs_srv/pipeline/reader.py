"""What every loop needs: an address becomes chunks; what became of each address is reported."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import FetchError
from ..events import Cancel
from ..ingest import chunk, kinds
from ..ingest.kinds import Means
from ..ingest.sections import without
from ..ingest.urls import origin
from ..model import Chunk, Page, Response, Section
from ..search.history import Change
from ..search.store import Receipt, Store

if TYPE_CHECKING:  # a search reads no page: httpx and what comes with it take 0.1 CPU-seconds
    from ..ingest.worker import Extractor

EXTRACTION = 1  # raise it when extraction would give other sections: pages are then read again
SAME_TEXT = "the same text"  # why an address is an alias, when it is not a redirect


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
    return FetchError(f"no page could be read: {failed[0].reason}", hint=_way_out(failed))


def _way_out(failed: Sequence[Receipt]) -> str:
    """What to do when all of FAILED gave no page: the network matters only to what comes from there."""
    schemes = {kinds.scheme_of(receipt.url) for receipt in failed}
    if schemes & {"http", "https", "stackexchange"}:
        return "check the address and the network; --mirror FROM=TO reads the pages from elsewhere"
    if not schemes & kinds.KINDS.keys():
        return kinds.EXAMPLES
    if "godoc" in schemes:
        return "ragmacs doctor shows whether your Go is found; [go] path names it"
    return (
        f"nothing here needs the network; ragmacs collections {failed[0].collection} lists what gave no page, and why"
    )


def now() -> str:
    """The time as it is stored: RFC 3339, UTC, to the microsecond."""
    return datetime.now(UTC).isoformat()


def put(
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


def cleaned(store: Store, page: Page) -> Page:
    """PAGE without the lines that are known to stand on most pages of its site; see `drop_repeats`."""
    drop = set() if page.marked or not page.url.startswith("http") else store.repeats(origin(page.url))
    return replace(page, sections=tuple(without(each, drop) for each in page.sections)) if drop else page


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def text_hash_of(page: Page) -> str:
    """What two pages share that are one document under two addresses."""
    digest = hashlib.sha256()
    for section in page.sections:
        digest.update(f"{section.anchor}\0{section.text}\0".encode())
    return digest.hexdigest()
