"""Pages saved from the web are cited where they came from, however they were saved; what does not tell is named."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ragmacs_srv import pipeline
from ragmacs_srv.errors import AddressRefused, FetchError, NoContent
from ragmacs_srv.events import Cancel
from ragmacs_srv.ingest.fetch import Fetcher
from ragmacs_srv.ingest.kinds import Means, saved
from ragmacs_srv.ingest.worker import Extractor
from ragmacs_srv.model import Source
from ragmacs_srv.pipeline import Reader, Report
from ragmacs_srv.search.embed import Words
from ragmacs_srv.search.store import Store
from tests.servers import Answer, Visit, serve

Crawl = Callable[[], Report]


def page(about: str, *, top: str = "", head: str = "", more: str = "") -> str:
    text = f"These words are about {about}, and about nothing else. " * 6
    body = f"<body><h1>{about}</h1>{text}{more}</body>"
    return f"<!DOCTYPE html>\n{top}<html><head><title>{about}</title>{head}</head>{body}"


CHROME = page("Chrome", top="<!-- saved from url=(0031)https://docs.test/chrome?x=1#part -->\n")
SINGLE = page("SingleFile").replace(
    "<html>", "<html lang=en><!--\n Page saved with SingleFile \n url: https://docs.test/single \n saved date: Mon -->"
)
CANONICAL = page("Canonical", head='<link href="https://docs.test/canonical?a=1&amp;b=2" rel=canonical>')
OPEN = page("Open Graph", head="<meta property='og:url' content='https://docs.test/graph'>")
NOWHERE = page("Nowhere", top="<!-- saved from url=(0014)about:internet -->", head="<link rel=canonical href='/x'>")


def written(folder: Path, **pages: str) -> Path:
    """FOLDER with these pages by their path, `__` for a slash."""
    for name, text in pages.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def address(folder: Path) -> str:
    return folder.as_uri().replace("file:", "saved:")


def origins(folder: Path) -> dict[str, str]:
    """Each file that was listed, by its name in FOLDER, and the page that it was; "" where it does not tell."""
    found = {}
    for url in saved.pages(address(folder), None, Cancel()):  # type: ignore[arg-type]
        try:
            response = saved.read(url, None, Cancel())  # type: ignore[arg-type]
        except NoContent:
            found[url.rpartition("/")[2]] = ""
            continue
        found[response.fetched_from.removeprefix(folder.as_uri() + "/")] = response.url
    return found


def test_a_page_tells_where_it_was_saved_from(tmp_path: Path) -> None:
    pages = {"a.html": CHROME, "b.htm": SINGLE, "sub__c.html": CANONICAL, "d.html": OPEN, "e.html": NOWHERE}
    assets = {"a_files__frame.html": CANONICAL, "notes.txt": "words", "x.css": "p {}"}
    assert origins(written(tmp_path / "in", **pages, **assets)) == {
        "a.html": "https://docs.test/chrome?x=1",
        "b.htm": "https://docs.test/single",
        "sub/c.html": "https://docs.test/canonical?a=1&b=2",
        "d.html": "https://docs.test/graph",
        "e.html": "",
    }


MIRRORED = {
    "docs.test__index.html": "https://docs.test/",
    "docs.test__build__index.html": "https://docs.test/build/",
    "docs.test__guide.html": "https://docs.test/guide.html",
    "docs.test__old.php.html": "https://docs.test/old.php",
    "docs.test__find?q=a b.html": "https://docs.test/find?q=a%20b",
    "docs.test__go1.21": "https://docs.test/go1.21",
    "docs.test__book.md": "https://docs.test/book.md",
    "x.test:8080__a.html": "http://x.test:8080/a.html",
}


def test_a_mirror_of_wget_tells_it_by_its_folders(tmp_path: Path) -> None:
    folder = written(tmp_path / "in", **{name: page(name) for name in MIRRORED})
    written(
        folder, **{"docs.test__robots.txt": "User-agent: *", "docs.test__x.js": "x()", "docs.test__i.png": "\x89PNG"}
    )
    assert origins(folder) == {
        (folder / name.replace("__", "/")).as_uri()[len(folder.as_uri()) + 1 :]: url for name, url in MIRRORED.items()
    }
    assert origins(folder / "docs.test")["guide.html"] == "https://docs.test/guide.html"


@pytest.mark.parametrize(
    "text",
    [
        page("A menu", more='<nav><a href="/doc/guide">Guide</a></nav>'),
        page("A whole link", more="<a href='https://docs.test/doc/guide#top'>Guide</a>"),
        page("Canonical", head='<link rel="canonical" href="https://docs.test/doc/guide">'),
    ],
)
def test_what_wget_added_to_a_name_is_taken_off_where_the_page_itself_says_so(text: str, tmp_path: Path) -> None:
    written(tmp_path / "in", **{"docs.test__doc__guide.html": text})
    assert origins(tmp_path / "in")["docs.test/doc/guide.html"] == "https://docs.test/doc/guide"


def test_a_folder_with_a_dot_above_the_one_that_was_named_is_no_host(tmp_path: Path) -> None:
    written(tmp_path / "jane.doe" / "in", **{"a.html": page("Nothing")})
    assert origins(tmp_path / "jane.doe" / "in") == {"a.html": ""}


@pytest.mark.parametrize(
    ("given", "spelling"),
    [
        ("saved:///a/b/../größe/", "saved:///a/gr%C3%B6%C3%9Fe"),
        ("SAVED://localhost/a/./b.html", "saved:///a/b.html"),
        ("saved:///a/./docs.test/x//y.html", "saved:///a/./docs.test/x/y.html"),
        ("saved:///./docs.test/x.html", "saved:///./docs.test/x.html"),
        ("saved:///a/./docs.test/../x/y.html", "saved:///a/x/y.html"),
    ],
)
def test_an_address_has_one_spelling(given: str, spelling: str) -> None:
    assert saved.canonical(given) == spelling
    assert saved.canonical(spelling) == spelling


def test_what_is_no_folder_here_is_refused_or_said_to_be_gone(tmp_path: Path) -> None:
    with pytest.raises(AddressRefused, match="names no file here"):
        saved.canonical("saved://other.test/x")
    with pytest.raises(FetchError, match="does not exist"):
        list(saved.pages(address(tmp_path / "none"), None, Cancel()))  # type: ignore[arg-type]


# In a crawl


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def crawl(tmp_path: Path, store: Store, page_reader: Extractor) -> Crawl:
    (tmp_path / "in").mkdir()
    source = Source("saved", "Saved", (address(tmp_path / "in"),), depth=2)

    def run() -> Report:
        with Fetcher(only=lambda _: False) as fetcher:
            return pipeline.crawl(store, Reader(Means(fetcher), page_reader, Words()), source)

    return run


def test_a_saved_page_is_stored_under_its_own_address_and_its_links_stay_alone(
    tmp_path: Path, crawl: Crawl, store: Store
) -> None:
    folder = written(tmp_path / "in", **{"a.html": CHROME.replace("</body>", "<a href='https://docs.test/b'>b</a>")})
    assert crawl().outcomes == {"new": 1}
    stored = store.page("https://docs.test/chrome?x=1")
    assert stored.fetched_from == (folder / "a.html").as_uri()
    assert crawl().outcomes == {"unchanged": 1}
    (folder / "a.html").unlink()
    written(folder, **{"b.htm": SINGLE})
    assert crawl().outcomes == {"new": 1, "left": 1}
    assert crawl().outcomes == {"unchanged": 1}
    assert store.urls() == ["https://docs.test/single"]


def test_of_a_page_that_was_saved_twice_the_newest_is_taken_and_the_other_told(
    tmp_path: Path, crawl: Crawl, store: Store
) -> None:
    folder = written(tmp_path / "in", **{"a.html": CHROME, "b.html": CHROME.replace("words", "newer words")})
    os.utime(folder / "a.html", (1, 1))
    for outcomes in ({"new": 1, "alias": 1}, {"unchanged": 1, "alias": 1}):
        assert crawl().outcomes == outcomes
        assert "newer" in store.page("https://docs.test/chrome?x=1").page.sections[0].text


def test_a_file_that_does_not_tell_is_a_failure_with_the_remedy(tmp_path: Path, crawl: Crawl) -> None:
    folder = written(tmp_path / "in", **{"a.html": CHROME, "e.html": NOWHERE})
    (failed,) = crawl().failed
    assert (folder / "e.html").as_uri() in failed.reason
    assert failed.reason.startswith(f"{folder / 'e.html'} does not tell which page it was")


# Pages that claim the address of another collection's


@contextmanager
def crawled(
    store: Store, page_reader: Extractor, text: str, etag: str = ""
) -> Iterator[tuple[str, Callable[[], Report]]]:
    """A site whose one page says TEXT, and what crawls it."""

    def answer(visit: Visit) -> Answer:
        same = etag and visit.headers["If-None-Match"] == etag
        return Answer(b"", 304) if same else Answer(text.encode(), headers={"ETag": etag} if etag else {})

    with serve({"/page": answer}) as site, Fetcher(allow=[site.origin]) as fetcher:
        url = f"{site.origin}/page"
        reader = Reader(Means(fetcher), page_reader, Words())
        yield url, lambda: pipeline.crawl(store, reader, Source("docs", "Docs", (url,)))


def claiming(url: str, text: str) -> str:
    return text.replace("<html>", f"<!-- saved from url=(0001){url} -->\n<html>")


def said(store: Store, url: str) -> str:
    return store.page(url).page.sections[0].text


def test_a_saved_page_replaces_none_that_another_collection_has_from_its_site(
    tmp_path: Path, crawl: Crawl, store: Store, page_reader: Extractor
) -> None:
    with crawled(store, page_reader, page("the truth")) as (url, update):
        update()
        written(tmp_path / "in", **{"a.html": claiming(url, page("a lie"))})
        for _ in range(2):
            assert crawl().outcomes == {"alias": 1}
            assert "the truth" in said(store, url)
        assert store.page(url).collections == ("docs", "saved")
        assert update().outcomes == {"unchanged": 1}
        store.remove_collection("docs")
        assert crawl().outcomes == {"changed": 1}
        assert "a lie" in said(store, url)


def test_what_a_file_here_is_known_by_says_nothing_of_what_its_site_has(
    tmp_path: Path, crawl: Crawl, store: Store, page_reader: Extractor
) -> None:
    folder = written(tmp_path / "in", **{"a.html": page("nothing yet")})
    with crawled(store, page_reader, page("the truth"), etag='"200-1"') as (url, update):
        text = claiming(url, page("a lie"))
        (folder / "a.html").write_text(text.ljust(0x200))  # a form of ETag that servers have, too
        os.utime(folder / "a.html", ns=(1, 1))
        assert crawl().outcomes == {"new": 1}
        assert store.validators(url).etag == '"200-1"'  # type: ignore[union-attr]
        assert update().outcomes == {"changed": 1}
        assert "the truth" in said(store, url)


def test_a_page_of_a_site_is_no_copy_of_a_saved_one(
    tmp_path: Path, crawl: Crawl, store: Store, page_reader: Extractor
) -> None:
    written(tmp_path / "in", **{"a.html": claiming("https://evil.test/", page("the truth"))})
    crawl()
    with crawled(store, page_reader, page("the truth")) as (url, update):
        assert update().outcomes == {"new": 1}
        assert store.urls() == [url, "https://evil.test/"]


def test_saved_pages_take_no_lines_from_those_of_a_site(
    tmp_path: Path, crawl: Crawl, store: Store, page_reader: Extractor
) -> None:
    with crawled(store, page_reader, page("the truth").replace("<h1>", "<p>A line of its own.</p><h1>")) as (
        url,
        update,
    ):
        update()
        origin = url.removesuffix("/page")
        known = store.unmarked(origin)
        more = {f"{n}.html": claiming(f"{origin}/{n}", page(f"lie {n}")) for n in range(3)}
        written(tmp_path / "in", **more)
        assert crawl().outcomes == {"new": 3}
        assert store.unmarked(origin) == known
