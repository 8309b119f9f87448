"""A sitemap or an llms.txt stands for the pages that it lists, within the collection; a broken one loses nothing."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ragmacs_srv import pipeline
from ragmacs_srv.errors import FetchError, IngestError, NoContent
from ragmacs_srv.events import Cancel
from ragmacs_srv.ingest import sitemaps
from ragmacs_srv.ingest.fetch import Fetcher
from ragmacs_srv.ingest.kinds import Means, web
from ragmacs_srv.ingest.worker import Extractor
from ragmacs_srv.model import Source
from ragmacs_srv.pipeline import Reader, Report
from ragmacs_srv.search.embed import Words
from ragmacs_srv.search.store import Store
from tests.servers import Answer, Site, Visit, serve

XMLNS = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'
BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


def urlset(*paths: str, head: str = "", more: str = "") -> str:
    locs = "".join(f"<url><loc> {{origin}}{each}\n</loc><lastmod>2026-01-01</lastmod></url>" for each in paths)
    return f'<?xml version="1.0"?>{head}<urlset {XMLNS}>{locs}{more}</urlset>'


def index(*paths: str) -> str:
    locs = "".join(f"<s:sitemap><s:loc>{{origin}}{each}</s:loc></s:sitemap>" for each in paths)
    return f'<s:sitemapindex xmlns:s="http://www.sitemaps.org/schemas/sitemap/0.9">{locs}</s:sitemapindex>'


@contextmanager
def serving(**lists: str | bytes) -> Iterator[tuple[Site, Means]]:
    """A site with these lists, by name with `_` for a dot; every other address is a page."""
    made = {name.replace("_", "."): text for name, text in lists.items()}

    def answer(visit: Visit) -> Answer:
        found = made.get(visit.path.rpartition("/")[2])
        if found is None:
            body = f"<title>T</title><main><h1>{visit.path}</h1><p>" + f"Words about {visit.path} here. " * 9
            return Answer(body.encode())
        body = found.replace("{origin}", visit.site.origin).encode() if isinstance(found, str) else found
        if visit.path.endswith(".gz"):
            kind, body = "application/gzip", gzip.compress(body.replace(b"{origin}", visit.site.origin.encode()))
        else:
            kind = "text/plain" if visit.path.endswith(".txt") else "application/xml"
        return Answer(body, headers={"Content-Type": kind})

    with serve(answer) as site, Fetcher(allow=[site.origin]) as fetcher:
        yield site, Means(fetcher)


def listed(site: Site, means: Means, path: str) -> list[str]:
    found = web.pages(site.origin + path, means, Cancel())
    return [each.removeprefix(site.origin) for each in found]


def test_a_sitemap_stands_for_its_pages_and_for_nothing_else_in_it() -> None:
    image = '<url><loc>ftp://x.test/</loc><i:image xmlns:i="urn:i"><i:loc>http://x.test/a.png</i:loc></i:image></url>'
    with serving(sitemap_xml=urlset("/a", "/b?x=1&amp;y=2", "/a#again", more=image)) as (site, means):
        assert listed(site, means, "/sitemap.xml") == ["/a", "/b?x=1&y=2"]
        assert listed(site, means, "/page.xml") == ["/page.xml"]


def test_an_index_names_more_sitemaps_packed_or_not_and_itself_in_vain() -> None:
    lists = {"sitemap_xml": index("/docs/sitemap-1.xml.gz", "/docs/sitemap-2.xml", "/sitemap.xml")}
    lists |= {"sitemap-1_xml_gz": urlset("/a"), "sitemap-2_xml": urlset("/b")}
    with serving(**lists) as (site, means):
        assert listed(site, means, "/sitemap.xml") == ["/a", "/b"]
        assert len([each for each in site.asked if "sitemap" in each]) == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<urlset><url>", "is no sitemap: no element found"),
        ("<html><body>Not found</body></html>", "is no sitemap: it is a html"),
        (urlset("/a", head=BOMB, more="<url><loc>&b;</loc></url>"), "declares entities"),
        (f"<urlset {XMLNS}></urlset>", "lists no pages"),
        (f"<urlset {XMLNS}>" + "<url>" * 1000, "more than 50 elements within each other"),
        ('<?xml version="1.0" encoding="nonsense"?><urlset></urlset>', "is no sitemap: unknown encoding"),
    ],
)
def test_what_is_no_sitemap_says_so(text: str, says: str) -> None:
    with serving(sitemap_xml=text) as (site, means), pytest.raises(IngestError, match=says):
        listed(site, means, "/sitemap.xml")


def test_a_sitemap_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sitemaps, "MAX_BYTES", 1 << 20)
    with serving(sitemap_xml_gz=b" " * (2 << 20)) as (site, means), pytest.raises(NoContent, match="1 MiB when"):
        listed(site, means, "/sitemap.xml.gz")


def test_sitemaps_without_end_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "MOST_SITEMAPS", 5)
    lists = {f"sitemap{n}_xml": index(f"/sitemap{n + 1}.xml") for n in range(20)}
    with serving(**lists) as (site, means):
        with pytest.raises(FetchError, match="more than 5 sitemaps"):
            listed(site, means, "/sitemap0.xml")
        assert len([each for each in site.asked if "sitemap" in each]) == 5


LLMS = """# Site

> What it is, see [home](/home).

## Docs

- [Guide](guide.md): how to
- [Absolute]({origin}/b.md)

## Optional

- [More](/more.md)
"""


def test_an_llms_txt_stands_for_its_links_the_optional_ones_only_alone() -> None:
    alone = "# Site\n\n## Optional\n\n- [More](/more.md)\n"
    with serving(llms_txt=LLMS) as (site, means):
        assert listed(site, means, "/docs/llms.txt") == ["/home", "/docs/guide.md", "/b.md"]
        assert listed(site, means, "/llms-full.txt") == ["/llms-full.txt"]
    with serving(llms_txt=alone) as (site, means):
        assert listed(site, means, "/llms.txt") == ["/more.md"]
    with serving(llms_txt="# Site\n\nNothing here.\n") as (site, means), pytest.raises(FetchError, match="no pages"):
        listed(site, means, "/llms.txt")


# In a crawl

Crawl = Callable[..., Report]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def crawl(store: Store, page_reader: Extractor) -> Crawl:
    def run(site: Site, means: Means, **changes: object) -> Report:
        source = Source("demo", "Demo", (f"{site.origin}/docs/sitemap.xml",))
        return pipeline.crawl(store, Reader(means, page_reader, Words()), replace(source, **changes))  # type: ignore[arg-type]

    return run


def test_a_collection_takes_of_a_sitemap_what_it_wants(crawl: Crawl) -> None:
    with serving(sitemap_xml=urlset("/docs/a", "/docs/b", "/docs/private/c", "/blog/d")) as (site, means):
        report = crawl(site, means, deny=("*/private/*",))
        assert report.outcomes == {"new": 2}
        assert report.failed == []  # nobody named the others
        assert crawl(site, means, allow=("*",), max_pages=3).cut == 1


@pytest.mark.parametrize("broken", ["<urlset>", "<html/>", ""], ids=["cut", "page", "empty"])
def test_a_list_that_fails_keeps_every_page(broken: str, crawl: Crawl, store: Store) -> None:
    with serving(sitemap_xml=urlset("/docs/a", "/docs/b")) as (site, means):
        crawl(site, means)
        before = store.urls()
        assert len(before) == 2
        site.routes = serve_broken(broken)
        for _ in range(3):
            report = crawl(site, means)
            assert report.failed[0].url == f"{site.origin}/docs/sitemap.xml"
            assert store.urls() == before


def serve_broken(text: str) -> Callable[[Visit], Answer]:
    return lambda _: Answer(text.encode(), headers={"Content-Type": "application/xml"})


@pytest.mark.shared
def test_the_sitemap_of_the_saved_site_lists_its_pages(shared: Path) -> None:
    saved = list((shared / "site" / "pages").rglob("*.html"))
    with Fetcher(allow=["http://127.0.0.1:8737"]) as fetcher:
        try:
            found = list(web.pages("http://127.0.0.1:8737/sitemap.xml", Means(fetcher), Cancel()))
        except FetchError as exc:
            pytest.skip(f"the saved pages are not served: {exc.message}")
    assert len(found) == len(saved) > 100
