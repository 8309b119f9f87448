"""A folder on this machine is a collection: what is listed, what is left out, and what is kept when it is gone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ragmacs_srv import pipeline
from ragmacs_srv.errors import AddressRefused, FetchError
from ragmacs_srv.events import Cancel
from ragmacs_srv.ingest import files
from ragmacs_srv.ingest.fetch import Fetcher
from ragmacs_srv.ingest.kinds import Means, tree
from ragmacs_srv.ingest.worker import Extractor
from ragmacs_srv.model import Source
from ragmacs_srv.pipeline import Reader, Report
from ragmacs_srv.search.embed import Words
from ragmacs_srv.search.store import Store
from tests.pdfs import pdf

Crawl = Callable[[], Report]

KEPT = (
    "a.md", "guide/b.org", "guide/c.RST", "guide/deep/d.adoc", "e.html", "f.txt", "README", "LICENSE", "größe.md",
    "q?#[*].md",
)  # fmt: skip
LEFT = (
    ".hidden.md", ".git/x.md", "node_modules/p/README.md", "guide/__pycache__/x.md", "target/doc/x.html", "main.go",
    "Makefile", "e_files/frame.html", "picture.png",
)  # fmt: skip


def text(about: str) -> str:
    return f"# Notes\n\n## On {about}\n\n" + f"These words are about {about}, and about nothing else. " * 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    top = tmp_path / "notes"
    for name in (*KEPT, *LEFT):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text(name.rpartition("/")[2].replace(".", " ")))
    return top


@pytest.fixture
def crawl(folder: Path, store: Store, page_reader: Extractor) -> Crawl:
    source = Source("notes", "Notes", (folder.as_uri(),), depth=2)

    def run() -> Report:
        with Fetcher() as fetcher:
            return pipeline.crawl(store, Reader(Means(fetcher), page_reader, Words()), source)

    return run


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as opened:
        yield opened


def listed(address: str, means: Means | None = None) -> list[str]:
    return list(tree.pages(address, means, Cancel()))  # type: ignore[arg-type]


def test_a_folder_stands_for_the_documents_in_it_and_for_nothing_else(folder: Path) -> None:
    assert sorted(listed(folder.as_uri())) == sorted((folder / name).as_uri() for name in KEPT)
    assert listed(folder.as_uri()) == listed(folder.as_uri() + "/")
    assert listed((folder / "main.go").as_uri()) == [(folder / "main.go").as_uri()]  # who names it, means it


def test_links_do_not_lead_out_of_the_folder_nor_round_in_it(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.md").write_text(text("secrets"))
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "secret.md").write_text(text("secrets"))
    before = listed(folder.as_uri())
    (folder / "out.md").symlink_to(tmp_path / "secret.md")
    (folder / "more").symlink_to(tmp_path / "more")
    (folder / "loop").symlink_to(folder)
    (folder / "self.md").symlink_to(folder / "self.md")
    assert listed(folder.as_uri()) == before
    (folder / "annexed.md").symlink_to(folder / ".git" / "x.md")
    assert set(listed(folder.as_uri())) - set(before) == {(folder / "annexed.md").as_uri()}


@pytest.mark.parametrize(
    ("address", "spelling"),
    [
        ("file:///a/b/../c//d.md#x", "file:///a/c/d.md"),
        ("FILE://localhost/a", "file:///a"),
        ("file:/a/./b/", "file:///a/b"),
        ("file:////a", "file:///a"),
        ("file:///größe and more.md", "file:///gr%C3%B6%C3%9Fe%20and%20more.md"),
        ("file:///%ff.md", "file:///%FF.md"),  # no UTF-8
        ("file:///a%2Fb", "file:///a/b"),
    ],
)
def test_a_path_has_one_spelling(address: str, spelling: str) -> None:
    assert tree.canonical(address) == spelling


@pytest.mark.parametrize(
    "address", ["file:", "file:a.md", "file://other.test/a", "file:///a%00", "file://[", "file:~/a"]
)
def test_what_is_no_absolute_path_here_is_refused(address: str) -> None:
    with pytest.raises(AddressRefused, match="names no file here"):
        tree.canonical(address)


def test_a_name_that_is_not_text_is_listed_read_and_told(tmp_path: Path) -> None:
    named = tmp_path / os.fsdecode(b"\xff.md")
    try:
        named.write_text(text("bytes"))
    except OSError:
        pytest.skip("this file system has names of text only")
    (url,) = listed(tmp_path.as_uri())
    assert tree.read(url, None, Cancel()).url == url  # type: ignore[arg-type]
    named.unlink()
    with pytest.raises(FetchError, match="does not exist") as caught:
        tree.read(url, None, Cancel())  # type: ignore[arg-type]
    assert caught.value.status == 404
    assert caught.value.message.encode()  # it can be stored


def test_what_was_not_written_to_is_not_read_again(folder: Path, crawl: Crawl, store: Store) -> None:
    assert crawl().outcomes == {"new": len(KEPT)}
    before = (folder / "f.txt").stat()
    (folder / "f.txt").write_text("x" * before.st_size)
    os.utime(folder / "f.txt", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert crawl().outcomes == {"unchanged": len(KEPT)}
    (folder / "a.md").write_text(text("something else"))
    (folder / "new.md").write_text(text("something new"))
    (folder / "README").unlink()
    assert crawl().outcomes == {"unchanged": len(KEPT) - 2, "changed": 1, "new": 1, "left": 1}
    crawl()
    assert (folder / "README").as_uri() not in store.urls()


@pytest.mark.parametrize(("gone", "says"), [("renamed", "does not exist"), ("emptied", "holds no documents")])
def test_a_folder_that_is_gone_keeps_its_pages(gone: str, says: str, folder: Path, crawl: Crawl, store: Store) -> None:
    crawl()
    before = store.urls()
    folder.rename(folder.with_name("elsewhere"))
    if gone == "emptied":  # where a disk is mounted, there is a folder when it is not
        folder.mkdir()
    for _ in range(3):
        assert says in crawl().failed[0].reason
        assert store.urls() == before
    if gone == "emptied":
        folder.rmdir()
    folder.with_name("elsewhere").rename(folder)
    assert crawl().outcomes == {"unchanged": len(KEPT)}


def test_what_may_not_be_read_is_told_and_nothing_is_lost(
    folder: Path, crawl: Crawl, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    crawl()
    before = store.urls()
    scandir = os.scandir

    def closed(path: Path) -> Any:  # chmod would not keep the superuser out
        if Path(path).name == "guide":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    report = crawl()
    assert "guide: Permission denied" in report.failed[0].reason
    assert store.urls() == before


def test_a_file_that_cannot_be_read_is_a_failure_of_its_own(folder: Path, crawl: Crawl) -> None:
    (folder / "empty.md").write_text("")
    (folder / "binary.txt").write_bytes(b"\0" * 100)
    os.mkfifo(folder / "pipe.md")
    report = crawl()
    reasons = {Path(each.url).name: each.reason for each in report.failed}
    assert set(reasons) == {"empty.md", "binary.txt"}  # a pipe is no file, and not listed
    assert report.outcomes["new"] == len(KEPT)
    with pytest.raises(FetchError, match="no regular file"):
        tree.read((folder / "pipe.md").as_uri(), None, Cancel())  # type: ignore[arg-type]


def test_a_file_that_is_gone_twice_leaves_the_index(tmp_path: Path, store: Store, page_reader: Extractor) -> None:
    (tmp_path / "a.md").write_text(text("pools"))
    source = Source("notes", "Notes", ((tmp_path / "a.md").as_uri(),))
    with Fetcher() as fetcher:
        reader = Reader(Means(fetcher), page_reader, Words())
        pipeline.crawl(store, reader, source)
        (tmp_path / "a.md").unlink()
        assert pipeline.crawl(store, reader, source).outcomes == {"gone": 1}
        assert store.urls() == list(source.seeds)
        assert pipeline.crawl(store, reader, source).outcomes == {"gone": 1}
    assert store.urls() == []


def test_a_folder_of_very_many_files_is_cut_and_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST", 3)
    found = []
    with pytest.raises(FetchError, match="holds more than 3 documents"):
        found.extend(url for url in tree.pages(folder.as_uri(), None, Cancel()))  # type: ignore[arg-type]


def test_a_pdf_is_cited_by_its_pages(tmp_path: Path, store: Store, page_reader: Extractor) -> None:
    made = pdf(*([f"Page {n} of the book speaks of subject{n}, and it does so in ten words."] * 4 for n in range(1, 9)))
    (tmp_path / "book.pdf").write_bytes(made)
    url = (tmp_path / "book.pdf").as_uri()
    with Fetcher() as fetcher:
        reader = Reader(Means(fetcher), page_reader, Words())
        pipeline.crawl(store, reader, Source("book", "Book", (tmp_path.as_uri(),)))
    sections = store.page(url).page.sections
    assert [each.link for each in sections] == [f"{url}#page={n}" for n in range(1, 9)]
    assert all(f"subject{n}" in each.text for n, each in enumerate(sections, 1))


def test_a_note_of_a_few_words_is_read(folder: Path, crawl: Crawl, store: Store) -> None:
    (folder / "short.md").write_text("Ask Ada about GOGC.")
    (folder / "nothing.md").write_text("---\n---\n")
    assert [each.url for each in crawl().failed] == [(folder / "nothing.md").as_uri()]
    assert (folder / "short.md").as_uri() in store.urls()
