from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ragmacs_srv import pipeline
from ragmacs_srv.errors import Cancelled
from ragmacs_srv.events import Cancel, Progress
from ragmacs_srv.ingest.fetch import Fetcher
from ragmacs_srv.ingest.kinds import Means
from ragmacs_srv.ingest.worker import Extractor
from ragmacs_srv.model import Source
from ragmacs_srv.pipeline import Reader, Report
from ragmacs_srv.search import generation
from ragmacs_srv.search.embed import Words
from ragmacs_srv.search.store import Store
from ragmacs_srv.search.terms import terms
from tests.fakes import HashEmbedder
from tests.servers import Answer, Site, Visit, serve

Crawl = Callable[..., Report]


def html(*paragraphs: str, title: str = "Title", links: tuple[str, ...] = (), marked: bool = True) -> bytes:
    body = "".join(f"<p>{each}</p>" for each in paragraphs)
    anchors = "".join(f'<a href="{each}">{each}</a> ' for each in links)
    tag = "article" if marked else "div"
    content = f"<{tag}><h1>{title}</h1>{body}{anchors}</{tag}>"
    return f"<html><head><title>{title}</title></head><body>{content}</body></html>".encode()


def words(about: str) -> str:
    text = f"This paragraph speaks of {about}, in just enough words to be worth reading and keeping;"
    return f"{text} {about} stands in it twice."


@pytest.fixture
def extractor(page_reader: Extractor) -> Extractor:
    return page_reader


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def crawl(store: Store, extractor: Extractor) -> Crawl:
    """Crawl the pages of a site from its root; every origin of a test is allowed."""

    def run(site: Site, **changes: object) -> Report:
        options = {key: changes.pop(key) for key in ("sink", "cancel") if key in changes}
        source = Source("demo", "Demo", (f"{site.origin}/",), depth=3)
        with Fetcher(allow=[site.origin]) as fetcher:
            reader = Reader(Means(fetcher), extractor, Words())
            return pipeline.crawl(store, reader, replace(source, **changes), **options)  # type: ignore[arg-type]

    return run


@contextmanager
def pages(**routes: Answer | bytes) -> Iterator[Site]:
    """A site whose root is `root`; other pages by their name."""
    with serve({"/" if name == "root" else f"/{name}": route for name, route in routes.items()}) as site:
        yield site


def test_a_crawl_follows_links_and_commits_each_page(store: Store, crawl: Crawl) -> None:
    with pages(root=html(words("roots"), links=("/a", "/b")), a=html(words("apples")), b=html(words("pears"))) as site:
        report = crawl(site)
        assert report.outcomes == {"new": 3}
        assert store.urls() == [site.origin + path for path in ("/", "/a", "/b")]


def test_an_unchanged_page_is_asked_for_conditionally_and_does_no_work(store: Store, crawl: Crawl) -> None:
    body = html(words("apples"))

    with serve(
        lambda visit: (
            Answer(status=304) if visit.headers.get("If-None-Match") else Answer(body, headers={"ETag": '"1"'})
        )
    ) as site:
        crawl(site)
        before = store.revision()
        assert crawl(site).outcomes == {"unchanged": 1}
        assert store.revision() == before


def test_the_same_bytes_without_validators_are_unchanged_too(store: Store, crawl: Crawl) -> None:
    with pages(root=html(words("apples"))) as site:
        crawl(site)
        assert crawl(site).outcomes == {"unchanged": 1}


def test_a_changed_page_replaces_the_old_one(store: Store, crawl: Crawl) -> None:
    with pages(root=html(words("apples"))) as site:
        crawl(site)
        site.routes = {"/": html(words("oranges"))}
        assert crawl(site).outcomes == {"changed": 1}
        (section,) = store.page(site.origin + "/").page.sections
        assert "oranges" in section.text
        assert "apples" not in section.text


def test_two_addresses_with_one_text_are_one_page(store: Store, crawl: Crawl) -> None:
    same = html(words("apples"))
    with pages(root=html(words("roots"), links=("/a", "/copy")), a=same, copy=same) as site:
        assert crawl(site).outcomes == {"new": 2, "alias": 1}
        receipt = store.receipt("demo", site.origin + "/copy")
        assert receipt is not None and receipt.page == site.origin + "/a"
        assert crawl(site).outcomes == {"unchanged": 2, "alias": 1}
        site.routes = {**site.routes, "/copy": html(words("pears"))}  # type: ignore[dict-item]
        assert crawl(site).outcomes == {"unchanged": 2, "new": 1}


def test_the_validators_of_one_address_are_not_sent_to_another(store: Store, crawl: Crawl) -> None:
    def answer(visit: Visit) -> Answer:
        text = "roots" if visit.path == "/" else "apples"
        body = html(words(text), links=("/a", "/b") if visit.path == "/" else ())
        same = visit.headers.get("If-None-Match") == '"1"'  # a server whose every page has this tag
        return Answer(status=304) if same else Answer(body, headers={"ETag": '"1"'})

    with serve(answer) as site:
        assert crawl(site).outcomes == {"new": 2, "alias": 1}
        assert crawl(site).outcomes == {"unchanged": 2, "alias": 1}


def test_a_redirect_is_an_alias_of_where_it_leads(store: Store, crawl: Crawl) -> None:
    moved = Answer(status=301, headers={"Location": "/new"})
    with pages(root=html(words("roots"), links=("/old", "/new")), old=moved, new=html(words("news"))) as site:
        crawl(site)
        receipt = store.receipt("demo", site.origin + "/old")
        assert receipt is not None and receipt.page == site.origin + "/new"
        assert len(store.urls()) == 2


@pytest.mark.parametrize(
    ("answer", "status", "says"),
    [
        (Answer(b"gone", 404), "gone", "404"),
        (Answer(b"oops", 403), "failed", "403"),
        (Answer(b""), "failed", "empty"),
        (html(""), "failed", "word"),
        (Answer(b"%PDF-1.7 ...", type="text/html"), "failed", "PDF"),
    ],
    ids=["404", "403", "empty body", "no text", "PDF"],
)
def test_a_page_that_cannot_be_had_has_a_receipt_that_says_why(
    store: Store, crawl: Crawl, answer: Answer | bytes, status: str, says: str
) -> None:
    with pages(root=html(words("roots"), links=("/bad",)), bad=answer) as site:
        report = crawl(site)
        assert report.outcomes == {"new": 1, status: 1}
        assert says.lower() in report.failed[0].reason.lower()


def test_a_stopped_crawl_goes_on_where_it_was(store: Store, crawl: Crawl) -> None:
    cancel = Cancel()

    def stop(progress: Progress) -> None:
        if progress.done == 2:
            cancel.cancel()

    parts = {f"p{n}": html(words(f"part {n}"), title=f"P{n}") for n in range(6)}
    with pages(root=html(words("roots"), links=tuple(f"/{name}" for name in parts)), **parts) as site:
        with pytest.raises(Cancelled):
            crawl(site, sink=stop, cancel=cancel)
        first = list(site.asked)
        crawl(site)
        assert first
        assert not set(first).intersection(site.asked[len(first) :])
        assert len(store.urls()) == 7


def test_lines_that_repeat_on_an_unmarked_site_are_dropped(store: Store, crawl: Crawl, extractor: Extractor) -> None:
    menu = "This is the menu of the whole site, it stands on each and every page of it, again and again."
    parts = {f"p{n}": html(words(f"part {n}"), menu, title=f"P{n}", marked=False) for n in range(8)}
    with pages(root=html(words("roots"), links=tuple(f"/{name}" for name in parts)), **parts) as site:
        crawl(site)
        with Fetcher() as fetcher:
            pipeline.drop_repeats(store, Reader(Means(fetcher), extractor, Words()), [site.origin])
        texts = [section.text for url in store.urls() for section in store.page(url).page.sections]
        assert any("part 3" in text for text in texts)
        assert not any("menu of the whole site" in text for text in texts)
        assert list(store.problems()) == []


def test_publishing_embeds_only_what_has_no_vector(store: Store, crawl: Crawl, extractor: Extractor) -> None:
    embedder = HashEmbedder()
    root = html(words("roots"), links=("/a",))
    with pages(root=root, a=html(words("apples"))) as site, Fetcher() as fetcher:
        reader = Reader(Means(fetcher), extractor, Words())
        crawl(site)
        assert pipeline.embed(store, embedder) == 2
        assert pipeline.publish(store, reader, embedder) is not None
        assert pipeline.publish(store, reader, embedder) is None
        site.routes = {"/": root, "/a": html(words("oranges"))}
        crawl(site)
        assert pipeline.embed(store, embedder) == 1
        made = pipeline.publish(store, reader, embedder)
        assert made is not None and made.number == 2


def test_readers_keep_their_generation_while_the_next_is_published(
    store: Store, crawl: Crawl, extractor: Extractor
) -> None:
    with pages(root=html(words("apples"))) as site, Fetcher() as fetcher:
        reader = Reader(Means(fetcher), extractor, Words())
        crawl(site)
        pipeline.publish(store, reader, None)
        with generation.current(store.folder) as opened:  # type: ignore[union-attr]
            site.routes = {"/": html(words("oranges"))}
            crawl(site)
            pipeline.publish(store, reader, None)
            assert opened.lexical(terms("apples"), 5)
        with generation.current(store.folder) as opened:  # type: ignore[union-attr]
            assert opened.lexical(terms("oranges"), 5)
            assert not opened.lexical(terms("apples"), 5)
        pipeline.publish(store, reader, None, force=True)
        assert [path.name for path in sorted(store.folder.glob("gen-*"))] == ["gen-000003"]
