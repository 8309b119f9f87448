"""What a person types for documentation becomes the collection that is meant, and the words that say what is read.

Nothing is asked here, of no site and of no disk: what is at a path, LOOK tells.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal
from urllib.parse import unquote

from ..errors import InvalidParams
from ..model import Source
from . import kinds, sitemaps, stackapi
from .sources import scope
from .urls import Parts, parse, shown

Found = Literal["", "file", "folder", "list"]  # what is at a path: a list is one of addresses, to be read elsewhere
Look = Callable[[Path], Found]

FAR: Final = 200  # pages of a site: three minutes, and more than most manuals have
MANY: Final = 10_000  # documents of this machine
ASKED: Final = 500  # questions that a tag stands for

_INFO = re.compile(r"\(([\w.+-]+)\)\s*(.*)")
_MAN = re.compile(r"([\w.:+@-]+)\s?\((\d\w*)\)")
_HOST = re.compile(r"(?:[\w-]+\.)+[a-z]{2,}(?::\d+)?(?:[/?#].*)?", re.I)
_FILES: Final = r"html?|xhtml|md|markdown|txt|text|org|rst|adoc|asciidoc|pdf"
_FILE = re.compile(rf"\.(?:{_FILES}|php|aspx?|jsp)$", re.I)
_DOCUMENT = re.compile(rf"\.(?:{_FILES})$", re.I)
_START = re.compile(r"/(?:index|default|toc|contents)\.\w+$", re.I)
_ARTICLE = re.compile(  # an article, by where blogs and encyclopedias put theirs
    r"/(?:19|20)\d\d/|/(?:blog|blogs|posts?|articles?|p|wiki|news|stories|entry)/[^/]+/?$|/[a-z0-9]+(?:-[a-z0-9]+){4,}/?$",
    re.I,
)
_LISTS = re.compile(r"\.(?:opml|rss|atom)$|/(?:feed|rss|atom|index)\.xml$|/(?:feed|rss|atom)/?$", re.I)
_STACK_EXCHANGE: Final = "CC BY-SA, the authors of each post"
_GO: Final = "BSD-3-Clause, The Go Authors"


@dataclass(frozen=True, slots=True)
class Guess:
    """What is meant by what was typed: SOURCE, whose name may still be taken, and SCOPE, what of it is read, in words.

    `notes` is what else to know before agreeing; `site`: the address is that of a whole site, which may list its
    pages; `fixed`: where a redirect leads changes nothing.
    """

    source: Source
    scope: str
    notes: tuple[str, ...] = ()
    site: bool = False
    fixed: bool = True

    @property
    def kind(self) -> str:
        """The scheme of the addresses that are read."""
        return kinds.scheme_of(self.source.seeds[0])


def nowhere(path: Path) -> Found:
    """The LOOK of who may not know what this machine has."""
    return ""


def guess(typed: str, look: Look = nowhere) -> Guess:
    """What TYPED means: an address of any kind, a site, a path, or as Emacs and man write where they are.

    Raises InvalidParams, with what to type instead, where it means nothing that can be a collection.
    """
    text = typed.strip().removeprefix("<").removesuffix(">")
    if found := _INFO.fullmatch(text):
        return _info(f"info:{found[1]}", node=found[2])
    if found := _MAN.fullmatch(text):
        return _man(f"man:{found[1]}({found[2]})")
    scheme = kinds.scheme_of(text)
    if scheme in {"http", "https"}:
        return _web(text)
    if scheme in _BY_SCHEME:
        return _BY_SCHEME[scheme](text)
    if scheme in {"file", "saved"}:
        address = text.partition("#")[0]
        return _path(Path(unquote(address.partition(":")[2])), look, address if scheme == "saved" else "")
    return _without_scheme(text, look)


def within(guess: Guess, depth: int | None, max_pages: int | None) -> Guess:
    """GUESS, going this far instead where that is said."""
    source = guess.source
    if depth is not None and guess.kind in {"http", "https"} and not sitemaps.is_list(source.seeds[0]):
        source = replace(source, depth=depth, max_pages=FAR if depth and source.depth == 0 else source.max_pages)
        guess = replace(guess, source=source, scope=described(source), site=guess.site and depth > 0)
    return replace(guess, source=replace(source, max_pages=max_pages or source.max_pages))


def free_name(guess: Guess, taken: Collection[str]) -> str:
    """The name for the collection of GUESS that is none of TAKEN."""
    name = guess.source.name
    if name in taken and guess.kind in {"http", "https"}:
        name = _name(guess.source.seeds[0].partition("://")[2].rstrip("/"))
    numbered = (name if n == 1 else f"{name[:60]}-{n}" for n in range(1, len(taken) + 2))
    return next(each for each in numbered if each not in taken)


def merged(guesses: Sequence[Guess], name: str = "") -> list[Guess]:
    """GUESSES, those of one name, or all of them where a NAME is given, as one."""
    by_name: dict[str, list[Guess]] = {}
    for each in guesses:
        by_name.setdefault(name or each.source.name, []).append(each)
    return [_merged(given, key) for key, given in by_name.items()]


def _merged(guesses: Sequence[Guess], name: str) -> Guess:
    if len(guesses) == 1:
        return replace(guesses[0], source=replace(guesses[0].source, name=name))
    found = [each.source for each in guesses]
    uneven = len({each.depth for each in found}) > 1 or any(each.allow for each in found)
    source = Source(
        name,
        ", ".join(dict.fromkeys(each.title for each in found))[:200],
        tuple(dict.fromkeys(seed for each in found for seed in each.seeds)),
        allow=tuple(dict.fromkeys(glob for each in found for glob in _globs(each))) if uneven else (),
        depth=max(each.depth for each in found),
        max_pages=sum(each.max_pages for each in found),
        licence="; ".join(dict.fromkeys(each.licence for each in found if each.licence)),
    )
    notes = tuple(dict.fromkeys(note for each in guesses for note in each.notes))
    return Guess(source, "; ".join(dict.fromkeys(each.scope for each in guesses)), notes)


def _globs(source: Source) -> tuple[str, ...]:
    """What SOURCE reads, said so that the globs of others can stand beside it."""
    return source.seeds if source.depth == 0 and source.seeds[0].startswith("http") else scope(source)


# The web


def _web(address: str) -> Guess:
    url = parse(address)
    if site := stackapi.site_at(url.host):
        return _questions_at(url, site)
    if url.host == "pkg.go.dev" and (package := _standard(url.path)):
        return _godoc(f"godoc:{package}", note=f"your own Go tells it, instead of {url.host}")
    if url.host in {"github.com", "www.github.com"}:
        return _github(url)
    if _LISTS.search(url.path):
        hint = f"ragmacs batch {shown(url.url)} -o report.org --index summarizes and indexes its pages"
        raise InvalidParams(
            f"{shown(url.url)} looks like a news feed or a list, which is read anew each time", hint=hint
        )
    return _pages(url, ("the part behind # is left out: pages are read whole",) if "#" in address else ())


def _pages(url: Parts, notes: tuple[str, ...]) -> Guess:
    """The page at URL alone, what lies below it, or all of a site: by how the address looks."""
    host, folder = url.host.removeprefix("www."), url.path.rpartition("/")[0] + "/"
    source = Source(_name(host), f"Pages of {host}", (url.url,), depth=2, max_pages=FAR)
    if sitemaps.is_list(url.url):
        return Guess(replace(source, depth=0), f"the pages that {url.url} lists", notes)
    site = url.path == "/" and not url.query
    alone = url.query or _ARTICLE.search(url.path) or (_FILE.search(url.path) and not _START.search(url.path))
    if site:
        pass
    elif alone:
        source = replace(source, depth=0, max_pages=1)
    elif folder != "/":
        source = replace(source, title=f"Pages below {host}{folder}")
    else:  # its folder would be the whole site
        source = replace(source, title=f"Pages below {host}{url.path}", allow=(url.url, f"{url.url}/*"))
        notes = (*notes, f"for the whole site: ragmacs add {url.origin}/")
    return Guess(source, described(source), notes, site, fixed=False)


def described(source: Source) -> str:
    """What SOURCE, made of pages on the web, reads."""
    if source.depth == 0:
        return "this page alone" if len(source.seeds) == 1 else "these pages alone"
    places = [each.removesuffix("*") for each in scope(source) if each not in source.seeds]
    far = "one link" if source.depth == 1 else f"at most {source.depth} links"
    return f"this page, and what is below {' or '.join(places)} and {far} away"


def _github(url: Parts) -> Guess:
    """A repository's README as GitHub shows it, or one file as it is."""
    words = [each for each in url.path.split("/") if each]
    match words:
        case [owner, repository]:
            return _readme(f"{url.origin}/{owner}", repository.removesuffix(".git"))
        case [owner, repository, "blob", branch, *path] if path and _DOCUMENT.search(path[-1]):
            raw = f"https://raw.githubusercontent.com/{owner}/{repository}/{branch}/{'/'.join(path)}"
            source = Source(_name(f"{owner}-{repository}"), f"{path[-1]} of {owner}/{repository}", (raw,), max_pages=1)
            return Guess(source, "this file alone, as it is in the repository")
        case [owner, repository, "tree", *_]:
            hint = f"git clone {url.origin}/{owner}/{repository}, then ragmacs add ./{repository}"
            raise InvalidParams(f"{shown(url.url)} is a folder of a repository, no page to read", hint=hint)
        case [owner, repository, "wiki", *_]:
            start = f"{url.origin}/{owner}/{repository}/wiki"
            source = Source(_name(f"{owner}-{repository}-wiki"), f"Wiki of {owner}/{repository}", (start,))
            source = replace(source, allow=(start, f"{start}/*"), depth=2, max_pages=FAR)
            return Guess(source, described(source))
    source = Source("github.com", "A page of github.com", (url.url,), max_pages=1)
    return Guess(source, described(source))


def _readme(owner: str, repository: str) -> Guess:
    page = f"{owner}/{repository}"
    name = f"{owner.rpartition('/')[2]}/{repository}"
    files = f"git clone {page} && ragmacs add ./{repository}"
    notes = (f"only the README, as GitHub shows it; for the files beside it: {files}",)
    source = Source(_name(name), f"README of {name}", (page,), max_pages=1)
    return Guess(source, "the page of the repository alone", notes)


def _questions_at(url: Parts, site: str) -> Guess:
    prefix = "stackexchange:" + ("" if site == "stackoverflow" else f"{site}/")
    match [each for each in url.path.split("/") if each]:
        case ["questions", "tagged", tags, *_] | ["tags", tags, *_]:
            return _stack(prefix + "+".join(re.split(r"\+|%20", tags)))
        case ["questions" | "q", number, *_] if number.isdecimal():
            return _stack(f"{prefix}questions/{number}")
    hint = f"for example {prefix}TAG, or the address of a question"
    raise InvalidParams(f"{shown(url.url)} is neither a question nor a tag of {site}", hint=hint)


def _standard(path: str) -> str:
    """The package of the standard library that pkg.go.dev shows at PATH, or ""."""
    package = path.strip("/").partition("@")[0]
    return package if re.fullmatch(r"[a-z][\w/-]*", package) else ""


# The other kinds


def _info(address: str, *, node: str = "") -> Guess:
    manual = address.partition(":")[2].partition("#")[0]
    if not manual:
        source = Source("info", "All Info manuals of this machine", (address,), max_pages=MANY)
        return Guess(source, "every Info manual that is installed")
    notes = (f"all of it, not only {node!r}",) if node and node != "Top" else ()
    source = Source(_name(manual), f"Info manual {manual}", (f"info:{manual}",), max_pages=1)
    return Guess(source, f"the manual {manual}, as Info has it here", notes)


def _man(address: str) -> Guess:
    page = address.partition(":")[2].partition("#")[0]
    source = Source(_name(f"man-{page}"), f"Man page {page}", (f"man:{page}",), max_pages=1)
    return Guess(source, f"the man page {page}, as man has it here")


def _godoc(address: str, *, note: str = "") -> Guess:
    package = unquote(address.partition(":")[2].partition("#")[0])
    if package.startswith(("/", ".", "~")):
        folder = _absolute(Path(package))
        source = Source(_name(f"go-{folder.name}"), f"Go packages of {folder}", (f"godoc:{folder}",), max_pages=MANY)
        return Guess(source, f"the documentation of the Go packages below {folder}")
    licence = "" if "." in package.partition("/")[0] else _GO
    source = Source(_name(f"go-{package}"), f"Go package {package}", (f"godoc:{package}",), max_pages=MANY)
    return Guess(replace(source, licence=licence), f"the documentation of {package}", (note,) if note else ())


def _stack(address: str) -> Guess:
    site, _, what = address.partition(":")[2].partition("#")[0].rpartition("/")
    site = site.removesuffix("questions").rstrip("/") or "stackoverflow"
    source = Source(_name(f"{site}-{what}"), f"{site}: {what}", (address.partition("#")[0],), licence=_STACK_EXCHANGE)
    if what.isdecimal():
        return Guess(replace(source, title=f"{site}: question {what}", max_pages=1), "this question, with its answers")
    tags = ", ".join(what.split("+"))
    source = replace(source, title=f"{site}: questions tagged {tags}", max_pages=ASKED)
    return Guess(source, f"questions tagged {tags} with their answers, those with most votes first")


def _as_it_is(address: str) -> Guess:
    return Guess(Source(_name(address.replace(":", "-")), address, (address,)), f"what {shown(address)} stands for")


_BY_SCHEME: Final[dict[str, Callable[[str], Guess]]] = {
    "info": _info,
    "man": _man,
    "godoc": _godoc,
    "stackexchange": _stack,
    "handbook": _as_it_is,
}


def _without_scheme(text: str, look: Look) -> Guess:
    path = Path(text)
    if text.startswith(("/", "~", "./", "../")) or text in {".", ".."} or (text and look(_absolute(path))):
        return _path(path, look)
    if _HOST.fullmatch(text) and not ("/" not in text and _DOCUMENT.search(text)):
        return _web(f"https://{text}")
    message = f"there is no collection, file or address {shown(text)!r}" if text else "give an address"
    if (scheme := kinds.scheme_of(text)) and "://" in text:
        message = f"addresses of {scheme}: are not read, only of {', '.join(kinds.KINDS)}"
    raise InvalidParams(message, hint=kinds.EXAMPLES)


def _path(path: Path, look: Look, saved: str = "") -> Guess:
    """The file or the folder at PATH; SAVED is its address where it is meant as pages saved from the web."""
    path = _absolute(path)
    found = look(path)
    if not found and look is not nowhere:
        raise InvalidParams(f"there is no file or folder {path}", hint="check the path; ~ and .. are understood")
    if found == "list":
        hint = f"ragmacs crawl --from {path}, or with summaries: ragmacs batch {path} -o report.org --index"
        raise InvalidParams(f"{path} is a list of addresses, and they are meant, not the list", hint=hint)
    if found == "file":
        source = Source(_name(path.stem), path.name, (saved or path.as_uri(),), max_pages=1)
        return Guess(source, f"the file {path}")
    source = Source(_name(path.name or "files"), f"Files of {path}", (saved or path.as_uri(),), max_pages=MANY)
    return Guess(source, f"the {'pages saved from the web in' if saved else 'documents below'} {path}")


def _absolute(path: Path) -> Path:
    try:
        return path.expanduser().resolve()
    except (RuntimeError, ValueError, OSError) as exc:  # no such user, a NUL
        raise InvalidParams(f"{shown(str(path))} is no path: {exc}", hint="write it out, from / on") from exc


def _name(text: str) -> str:
    """TEXT as the name of a collection."""
    return re.sub(r"[^\w.-]+", "-", unquote(text))[:60].strip(".-") or "pages"
