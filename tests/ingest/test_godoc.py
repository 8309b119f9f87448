"""The documentation of a Go becomes pages that name its version; it is read again only where the Go is another."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ragmacs_srv import pipeline
from ragmacs_srv.errors import AddressRefused, FetchError, ToolchainMissing
from ragmacs_srv.events import Cancel
from ragmacs_srv.ingest import kinds
from ragmacs_srv.ingest.fetch import Fetcher
from ragmacs_srv.ingest.kinds import Means, godoc
from ragmacs_srv.ingest.worker import Extractor
from ragmacs_srv.model import Source
from ragmacs_srv.search.embed import Words
from ragmacs_srv.search.store import Store
from tests.conftest import Cli
from tests.fakes import WrittenGo, go_section
from tests.golang.conftest import written

POOL = [
    go_section("", text="Package sync is about locks. " * 5),
    go_section("Pool", "type Pool", code="type Pool struct {\n\tNew func() any\n}"),
    go_section("Pool.Get", "type Pool", "func (*Pool) Get", text="Get takes one*.\u200b <b>"),
]


def means(go: kinds.GoDoc | None) -> Means:
    return Means(Fetcher(), go=go)


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("godoc:runtime/debug", "godoc:runtime/debug"),
        ("GoDoc:sync#Pool.Get", "godoc:sync"),
        ("godoc:net/http/", "godoc:net/http"),
        ("godoc:math/rand/v2", "godoc:math/rand/v2"),
        ("godoc:/home/u/my module/", "godoc:/home/u/my%20module"),
        ("godoc:/home/u/x@v1.2.3/../y", "godoc:/home/u/y"),
        ("godoc://etc", "godoc:/etc"),
    ],
)
def test_an_import_path_is_an_address(address: str, url: str) -> None:
    assert kinds.canonical(address) == url


@pytest.mark.parametrize("address", ["godoc:", "godoc:../x", "godoc:a/../b", "godoc:./...", "godoc:a b", "godoc:/a\0"])
def test_what_is_no_import_path_is_refused(address: str) -> None:
    with pytest.raises(AddressRefused):
        kinds.canonical(address)


def test_a_page_names_its_go_and_its_headings_do_not() -> None:
    body = WrittenGo(sync=POOL).package("sync", Cancel())
    page = godoc.page(body, "godoc:sync")
    assert page.title == "package sync (go1.99.1)"
    assert [each.heading for each in page.sections] == [
        ("package sync",),
        ("package sync", "type Pool"),
        ("package sync", "type Pool", "func (*Pool) Get"),
    ]
    assert [each.link for each in page.part("Pool")] == ["godoc:sync#Pool", "godoc:sync#Pool.Get"]


def test_the_text_is_what_its_authors_wrote_without_what_nobody_sees() -> None:
    page = godoc.page(WrittenGo(sync=POOL).package("sync", Cancel()), "godoc:sync")
    assert page.sections[2].text == "```go\nfunc F()\n```\n\nGet takes one*. <b>"
    assert [block.kind for block in page.sections[2].blocks] == ["code", "paragraph"]


def test_a_command_is_called_one() -> None:
    body = WrittenGo(cmd_go=POOL).package("cmd/go", Cancel())
    said = json.loads(body) | {"name": "main"}
    assert godoc.page(json.dumps(said).encode(), "godoc:cmd/go").title == "command cmd/go (go1.99.1)"


def test_a_package_is_read_again_only_by_another_go() -> None:
    go = WrittenGo(sync=POOL)
    first = godoc.read("godoc:sync", means(go), Cancel())
    again = godoc.read("godoc:sync", means(go), Cancel(), etag=first.etag)
    assert (again.status, again.body, go.asked) == (304, b"", ["sync"])
    go.version = "go1.99.2"
    assert godoc.read("godoc:sync", means(go), Cancel(), etag=first.etag).status == 200


def test_a_package_that_is_not_there_is_gone() -> None:
    with pytest.raises(FetchError, match="did you mean x") as caught:
        godoc.read("godoc:snyc", means(WrittenGo(sync=POOL)), Cancel())
    assert caught.value.status == 404


MODULE = {
    "pool.go": "package m",
    "inner/x.go": "package inner",
    "inner/testdata/y.go": "package y",
    "only_test.go": "package m",
    "tests/x_test.go": "package tests",
    "other/go.mod": "module other",
    "other/z.go": "package other",
    "vendor/v/v.go": "package v",
    ".git/g.go": "package g",
}


def test_a_folder_stands_for_the_packages_of_its_module(tmp_path: Path) -> None:
    written(tmp_path / "my module", MODULE)
    url = kinds.canonical(f"godoc:{tmp_path}/my module")
    assert list(godoc.pages(url, means(None), Cancel())) == [url, f"{url}/inner"]
    with pytest.raises(FetchError) as caught:
        list(godoc.pages(f"{url}/tests", means(None), Cancel()))
    assert caught.value.status == 404


def test_a_folder_is_read_again_only_when_a_file_of_it_is_another(tmp_path: Path) -> None:
    folder = written(tmp_path / "m", {"pool.go": "package m"})
    url, go = f"godoc:{folder}", WrittenGo()
    go.packages[str(folder)] = POOL
    first = godoc.read(url, means(go), Cancel())
    assert godoc.read(url, means(go), Cancel(), etag=first.etag).status == 304
    (folder / "pool.go").write_text("package m // changed")
    assert godoc.read(url, means(go), Cancel(), etag=first.etag).status == 200


@pytest.mark.parametrize(
    ("folder", "title"),
    [("/home/u/m", "package m"), ("/go/pkg/mod/example.com/x@v1.2.3-rc.1/y", "package m (v1.2.3-rc.1)")],
)
def test_a_dependency_names_its_own_release(folder: str, title: str) -> None:
    body = WrittenGo(m=POOL).package("m", Cancel())
    assert godoc.page(body, f"godoc:{folder}").title == title


class NoGo(WrittenGo):
    def stamp(self) -> str:
        raise ToolchainMissing("no usable go", hint="install Go", data={"kind": "go_missing"})

    def standard(self, cancel: Cancel) -> tuple[str, ...]:
        raise ToolchainMissing("no usable go", hint="install Go", data={"kind": "go_missing"})


@pytest.mark.parametrize("go", [NoGo(), None])
def test_without_go_the_remedy_is_told(go: WrittenGo | None) -> None:
    for read in (
        lambda: list(godoc.pages("godoc:std", means(go), Cancel())),
        lambda: godoc.read("godoc:sync", means(go), Cancel()),
    ):
        with pytest.raises(FetchError, match="no usable go: install Go" if go else "a command of ragmacs") as caught:
            read()
        assert caught.value.status == 0


def test_a_crawl_keeps_what_it_has_and_reads_the_rest_when_go_has_gone(tmp_path: Path, page_reader: Extractor) -> None:
    source = Source("mine", "Mine", ("godoc:std", "handbook:sync-pool"), allow=("*",))
    reader = pipeline.Reader(means(WrittenGo(sync=POOL, net_http=POOL[:1])), page_reader, Words())
    with Store(tmp_path) as store:
        assert pipeline.crawl(store, reader, source).outcomes == {"new": 3}
        gone = replace(reader, means=means(NoGo()))
        report = pipeline.crawl(store, gone, source)
        assert report.outcomes == {"failed": 1, "unchanged": 1}
        assert "install Go" in report.failed[0].reason
        assert len(list(store.urls())) == 3


def test_what_a_new_go_only_moved_keeps_its_vectors(tmp_path: Path, page_reader: Extractor) -> None:
    source = Source("mine", "Mine", ("godoc:sync",))
    passages = []
    with Store(tmp_path) as store:
        for version, place, outcome in (
            ("go1.99.1", "sync/pool.go:9", "new"),
            ("go1.99.2", "sync/pool.go:11", "changed"),
        ):
            go = WrittenGo(version, sync=[go_section("Pool", "type Pool", place=place)])
            reader = pipeline.Reader(means(go), page_reader, Words())
            assert pipeline.crawl(store, reader, source).outcomes == {outcome: 1}
            stored = store.page("godoc:sync")
            assert version in stored.page.title
            assert stored.page.sections[0].text.endswith(f"\n\nSource: {place}")
            passages.append([chunk.passage for chunks in stored.chunks for chunk in chunks])
    assert passages[0] == passages[1]


@pytest.mark.go
def test_the_command_line_reads_a_package_of_the_go_on_this_machine(run: Cli) -> None:
    done = run("fetch", "godoc:unsafe#Pointer")
    assert "type Pointer *ArbitraryType" in done.out
    assert "Source: unsafe/unsafe.go:" in done.out
