"""What holds for every kind of document, whatever it reads: the contract of `ingest/kinds`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragmacs_srv.errors import AddressRefused
from ragmacs_srv.events import Cancel
from ragmacs_srv.ingest import kinds
from ragmacs_srv.ingest.fetch import Fetcher
from ragmacs_srv.ingest.kinds import KINDS, Means, handbook
from ragmacs_srv.ingest.worker import Extractor
from tests.fakes import WrittenGo, go_section
from tests.pdfs import pdf
from tests.servers import Answer, serve
from tests.stackexchange_server import ORIGIN, question, reply, stackexchange

Example = tuple[str, Means]  # an address, and what its kind reads it with

NETWORK: Final = "<html><title>Title</title><main><h1>Title</h1><h2 id='a'>A</h2><p>" + "Some words of text. " * 9


@contextmanager
def on_the_web() -> Iterator[Example]:
    page = Answer(NETWORK.encode(), headers={"ETag": '"1"'})
    with serve(lambda _: page) as site, Fetcher(allow=[site.origin]) as fetcher:
        yield f"{site.origin}/page", Means(fetcher)


@contextmanager
def in_the_handbook() -> Iterator[Example]:
    with Fetcher() as fetcher:
        yield next(handbook.responses()).url, Means(fetcher)


@contextmanager
def at_stack_overflow() -> Iterator[Example]:
    body = "<p>" + "Some words that were made up. " * 9 + "</p>"
    asked = question(7, "Title", body, reply(70, body, accepted=True))
    with stackexchange(asked) as api, Fetcher(mirrors={ORIGIN: api.origin}) as fetcher:
        yield "stackexchange:go", Means(fetcher)


@contextmanager
def in_the_source_of_go() -> Iterator[Example]:
    go = WrittenGo(
        sync=[go_section(""), go_section("Pool.Get", "type Pool", "func (*Pool) Get")], net_http=[go_section("")]
    )
    with Fetcher() as fetcher:
        yield "godoc:std", Means(fetcher, go=go)


@contextmanager
def in_a_folder() -> Iterator[Example]:
    with TemporaryDirectory() as folder, Fetcher() as fetcher:
        (Path(folder) / "größe notes.md").write_text("# Notes\n\n## A pool\n\n" + "Some words of text. " * 9)
        (Path(folder) / "book.pdf").write_bytes(pdf(*(["Some words of the text."] * 5 for _ in range(3))))
        yield Path(folder).as_uri(), Means(fetcher)


@contextmanager
def in_an_info_manual() -> Iterator[Example]:
    node = "\x1f\nFile: pond.info,  Node: Top,  Up: (dir)\n\nThe Pond\n********\n\n" + "Some words of text.\n" * 9
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch, Fetcher() as fetcher:
        (Path(folder) / "pond.info").write_text(node)
        patch.setenv("INFOPATH", folder)
        yield "info:", Means(fetcher)


@contextmanager
def in_a_man_page() -> Iterator[Example]:
    if not shutil.which("man"):
        pytest.skip("man is not installed: apt install man-db groff-base")
    text = ".TH POND 1\n.SH NAME\npond \\- some water\n.SH DESCRIPTION\n" + "Some words of text.\n" * 9
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch, Fetcher() as fetcher:
        (Path(folder) / "man1").mkdir()
        (Path(folder) / "man1" / "pond.1").write_text(text)
        patch.setenv("MANPATH", folder)
        yield "man:pond", Means(fetcher)


@contextmanager
def saved_from_the_web() -> Iterator[Example]:
    with TemporaryDirectory() as folder, Fetcher() as fetcher:
        mirrored = Path(folder) / "docs.test" / "a" / "page.html"
        mirrored.parent.mkdir(parents=True)
        mirrored.write_text(NETWORK)
        (Path(folder) / "saved.html").write_text(f"<!-- saved from url=(0020)https://docs.test/b -->{NETWORK}")
        yield Path(folder).as_uri().replace("file:", "saved:"), Means(fetcher)


EXAMPLES: Final[dict[str, Callable[[], AbstractContextManager[Example]]]] = {  # module: a real document
    "web": on_the_web,
    "handbook": in_the_handbook,
    "stackexchange": at_stack_overflow,
    "godoc": in_the_source_of_go,
    "tree": in_a_folder,
    "info": in_an_info_manual,
    "man": in_a_man_page,
    "saved": saved_from_the_web,
}


def test_every_kind_has_an_example() -> None:
    assert set(EXAMPLES) == set(KINDS.values())


@pytest.fixture(params=EXAMPLES)
def example(request: pytest.FixtureRequest) -> Iterator[Example]:
    with EXAMPLES[request.param]() as made:
        yield made


def test_an_address_stands_for_documents_that_can_be_read(example: Example, page_reader: Extractor) -> None:
    address, means = example
    found = list(kinds.of(address).pages(address, means, Cancel()))
    assert found
    for url in found[:5]:
        assert kinds.canonical(url) == url
        response = kinds.of(url).read(url, means, Cancel())
        page = page_reader.extract(response)
        assert page.url == response.url == kinds.canonical(response.url)
        assert page.title
        assert any(section.text for section in page.sections)
        anchors = [section.anchor for section in page.sections]
        assert len(anchors) == len(set(anchors))
        assert not any(set(anchor) & set(" \t\n<>#") for anchor in anchors)


def test_a_document_that_did_not_change_is_recognized(example: Example) -> None:
    address, means = example
    kind = kinds.of(address)
    url = next(iter(kind.pages(address, means, Cancel())))
    first = kind.read(url, means, Cancel())
    again = kind.read(url, means, Cancel(), etag=first.etag, last_modified=first.last_modified)
    assert again.status == 304 or replace(again, fetched_at="") == replace(first, fetched_at="")


@pytest.mark.parametrize("scheme", KINDS)
@given(rest=st.text())
def test_the_canonical_form_of_any_address_is_stable_or_refused(scheme: str, rest: str) -> None:
    try:
        url = kinds.canonical(f"{scheme}:{rest}")
    except AddressRefused:
        return
    assert kinds.canonical(url) == url
    assert "#" not in url
    assert not any(each.isspace() for each in url)


@given(text=st.text())
def test_what_is_of_no_kind_is_refused(text: str) -> None:
    if kinds.scheme_of(text) not in KINDS:
        with pytest.raises(AddressRefused):
            kinds.canonical(text)
