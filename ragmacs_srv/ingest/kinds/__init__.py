"""The kinds of documents, by the scheme of their addresses: an address becomes a Response, that becomes a Page.

A kind is a module of this package that has what `Kind` lists; a line in `KINDS` registers it. Modules are
imported when an address of theirs is met.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Final, Protocol, cast

from ...errors import AddressRefused
from ...events import Cancel
from ...model import Page, Response

if TYPE_CHECKING:  # httpx comes with it
    from ..fetch import Fetcher

KINDS: Final = {  # scheme: module
    "http": "web",
    "https": "web",
    "handbook": "handbook",
    "stackexchange": "stackexchange",
    "godoc": "godoc",
    "file": "tree",
    "info": "info",
    "man": "man",
    "saved": "saved",
}
EXAMPLES: Final = (
    "https://…, a path such as ./notes, info:elisp, man:ls, godoc:sync, stackexchange:go+garbage-collection"
)
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*(?=:)", re.I)
_EXTRACTED: Final = "application/x-ragmacs-"


class GoDoc(Protocol):
    """What the Go on this machine says of its packages.

    Raises ToolchainMissing and ToolchainFailed, of kind `package_not_found` where there is no such package.
    """

    def stamp(self) -> str:
        """Another one whenever `package` may give something else."""

    def standard(self, cancel: Cancel) -> Sequence[str]:
        """The import paths of the standard library."""

    def package(self, path: str, cancel: Cancel) -> bytes:
        """The documentation of the package PATH, or of that in the folder PATH: JSON, see `godoc.page`."""


@dataclass(frozen=True)
class Means:
    """What kinds read with; what takes time to find is found when it is first called for."""

    fetcher: Fetcher
    at_hand: dict[str, Response] = field(default_factory=dict)  # what came with a list of pages, until it is read
    ahead: list[str] = field(default_factory=list)  # what is read next: a kind that can may ask for it at once
    learnt: dict[str, str] = field(default_factory=dict)  # what a kind found out about a site, while this lasts
    stackexchange_key: Callable[[], str] = str  # for its interface; "": none
    go: GoDoc | None = None


class Kind(Protocol):
    """What a module of this package has.

    LOCAL: it reads what is on this machine, so that only the person who sits at it may name its addresses.
    PARTIAL, where it is true: what `pages` lists is not all there is; what left a list may be there still.
    """

    LOCAL: bool

    def canonical(self, address: str) -> str:
        """The one spelling of ADDRESS, without a fragment; raises AddressRefused for what is none of this kind."""

    def pages(self, address: str, means: Means, cancel: Cancel) -> Iterable[str]:
        """The canonical addresses of the documents that ADDRESS stands for: often itself alone.

        Raises what `read` does.
        """

    def read(self, url: str, means: Means, cancel: Cancel, *, etag: str = "", last_modified: str = "") -> Response:
        """The document at the canonical address URL, or the word (status 304) that ETAG or LAST_MODIFIED still hold.

        Raises FetchError (with status 404 for what is gone), AddressRefused, RobotsDenied and NoContent.
        """

    def page(self, body: bytes, url: str) -> Page:
        """What `extract` makes of a body of `media_type(SCHEME)`; a kind whose bodies are HTML, say, needs none."""


def of(address: str) -> Kind:
    """The kind that reads ADDRESS; raises AddressRefused when there is none."""
    scheme = scheme_of(address)
    if scheme not in KINDS:
        from ..urls import parse  # which says what is wrong with it, and what may be meant

        parse(address)
        raise AssertionError("only http and https can be parsed")
    return _module(scheme)


def scheme_of(address: str) -> str:
    """What stands before the colon of ADDRESS, in lower case, or ""."""
    found = _SCHEME.match(address)
    return found[0].lower() if found else ""


def is_address(text: str) -> bool:
    """Whether TEXT is meant as an address; else it is the name of a collection."""
    return scheme_of(text) in KINDS or "://" in text


def canonical(address: str) -> str:
    """The one spelling of ADDRESS, whatever its kind; raises AddressRefused."""
    return of(address).canonical(address)


def is_local(address: str) -> bool:
    """Whether ADDRESS is of a kind that reads this machine; False for what is no address."""
    scheme = scheme_of(address)
    return scheme in KINDS and _module(scheme).LOCAL


def outlasts(address: str, seeds: Iterable[str]) -> bool:
    """Whether the document at ADDRESS may be there still, though nothing that SEEDS stand for is called so any more."""
    scheme = scheme_of(address)
    return is_partial(address) and any(scheme_of(seed) == scheme for seed in seeds)


def is_partial(address: str) -> bool:
    """Whether what an address of this kind stands for is not all there is."""
    scheme = scheme_of(address)
    return scheme in KINDS and getattr(_module(scheme), "PARTIAL", False)


def check_open(address: str) -> None:
    """Raise AddressRefused where ADDRESS is only for the person who sits at this machine."""
    if is_local(address):
        scheme = scheme_of(address)
        hint = f"in a shell: ragmacs add {address[:200]}"
        message = f"{scheme}: addresses are read for the command line and the configuration only"
        raise AddressRefused(message, hint=hint, data={"url": address[:200], "rule": "local"})


def media_type(scheme: str) -> str:
    """What the Responses of a kind are whose module makes the Page of them by itself."""
    return _EXTRACTED + scheme


def extractor(media_type: str) -> Callable[[bytes, str], Page] | None:
    """What makes a Page of a body of MEDIA_TYPE, if a kind does."""
    scheme = media_type.removeprefix(_EXTRACTED)
    return _module(scheme).page if scheme != media_type and scheme in KINDS else None


def _module(scheme: str) -> Kind:
    return cast(Kind, import_module(f".{KINDS[scheme]}", __name__))
