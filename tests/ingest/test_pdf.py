"""PDFs become pages whose sections are pages of paper; what cannot be read is named."""

from __future__ import annotations

import pytest

from ragmacs_srv.errors import NoContent
from ragmacs_srv.ingest import pdf as reading
from ragmacs_srv.ingest.extract import extract
from ragmacs_srv.model import Page
from tests.pdfs import encrypted, pdf

URL = "https://docs.test/book.pdf"
PROSE = [
    "The collector frees memory that nothing reaches, and it",
    "runs when the heap has grown by the share that GOGC sets.",
]


def read(body: bytes) -> Page:
    return extract(body, URL, media_type="application/pdf")


def test_every_page_of_paper_is_a_section_that_a_link_opens() -> None:
    page = read(pdf(PROSE, ["The limit is soft: it holds 95% of the memory."], title="The Book"))
    assert page.title == "The Book"
    assert [each.link for each in page.sections] == [f"{URL}#page=1", f"{URL}#page=2"]
    assert page.sections[0].text == " ".join(PROSE)
    assert page.notes == ()


def test_bookmarks_are_the_headings() -> None:
    texts = [[f"{word} it was, of all times.", *PROSE] for word in ("First", "Second", "Third")]
    page = read(pdf(*texts, title="The Book", bookmarks={"Costs": 1, "Limits": 3}))
    assert [each.heading[1:] for each in page.sections] == [("Costs",), ("Costs",), ("Limits",)]


def test_without_bookmarks_large_print_is() -> None:
    other = ["Pools keep objects between two collections,", "and the limit is soft."]
    page = read(pdf([("The Book", "F1", 24), *PROSE], [("Limits", "F1", 16), *PROSE], other))
    assert page.title == "The Book"
    assert [each.heading for each in page.sections] == [("The Book",), ("The Book", "Limits"), ("The Book", "Limits")]
    assert [block.kind for block in page.sections[1].blocks] == ["heading", "paragraph"]


def test_code_is_kept_line_by_line() -> None:
    code = [("x := make([]byte, 64)", "F2", 9), ("runtime.GC()", "F2", 9)]
    page = read(pdf([*PROSE, *code, *PROSE]))
    blocks = page.sections[0].blocks
    assert [block.kind for block in blocks] == ["paragraph", "code", "paragraph"]
    assert page.sections[0].text[blocks[1].start : blocks[1].end] == "```\nx := make([]byte, 64)\nruntime.GC()\n```"


def test_words_are_joined_again_and_items_stay_apart() -> None:
    page = read(
        pdf(["A hyphen at the end of a line is part of the decla-", "ration of a word.", "• one", "• two", *PROSE])
    )
    text = page.sections[0].text
    assert "the declaration of a word." in text
    assert [text[block.start : block.end] for block in page.sections[0].blocks][1:3] == [
        "- one",
        "- two " + " ".join(PROSE),
    ]


def test_pages_that_are_much_alike_have_no_running_titles() -> None:
    alike = [[f"Page {n} speaks of the pacer and of the heap.", f"It is one of many pages: {n}."] for n in range(1, 7)]
    sections = read(pdf(*alike)).sections
    assert [each.anchor for each in sections] == [f"page={n}" for n in range(1, 7)]
    assert sections[4].text == "Page 5 speaks of the pacer and of the heap. It is one of many pages: 5."


def test_running_titles_and_page_numbers_are_left_out() -> None:
    texts = [["The Book", f"Each page says {word} things about the collector and its heap.", *PROSE, str(n)]
             for n, word in enumerate(["one", "some", "two", "many"], 1)]  # fmt: skip
    page = read(pdf(*texts))
    assert not any("The Book" in each.text or each.text[-1].isdigit() for each in page.sections)
    assert "says many things" in page.sections[3].text


@pytest.mark.parametrize(
    ("body", "words", "hint"),
    [
        (encrypted(pdf(PROSE), "secret"), "a PDF that is encrypted", "qpdf --password"),
        (pdf([], []), "2 page(s) without any text", "ocrmypdf"),
        (b"%PDF-1.7\nnothing more", "a PDF that cannot be read", "qpdf"),
        (b"%PDF-1.7\n" + pdf(PROSE)[:200], "a PDF that cannot be read", "qpdf"),
    ],
    ids=["encrypted", "scanned", "empty", "cut"],
)
def test_what_cannot_be_read_says_why_and_what_to_do(body: bytes, words: str, hint: str) -> None:
    with pytest.raises(NoContent) as caught:
        read(body)
    assert words in caught.value.message
    assert hint in caught.value.hint


def test_an_empty_password_opens_what_only_forbids_printing() -> None:
    assert "GOGC" in read(encrypted(pdf([*PROSE, *PROSE]), "")).sections[0].text


def test_pages_without_text_are_named() -> None:
    page = read(pdf(PROSE, [], [], PROSE, []))
    assert [each.anchor for each in page.sections] == ["page=1", "page=4"]
    assert page.notes == ("page(s) 2-3, 5 of the PDF hold no text: pictures, or scanned",)


def test_a_broken_page_costs_only_itself() -> None:
    body = pdf(PROSE, PROSE, PROSE).replace(b"/Contents 7 0 R", b"/Contents 8 0 R")  # the page as its own text
    page = read(body)
    assert [each.anchor for each in page.sections] == ["page=1", "page=3"]
    assert len(page.notes) == 1
    assert page.notes[0].startswith("page(s) 2 of the PDF")


def test_a_book_is_read_as_far_as_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_PAGES", 2)
    page = read(pdf(PROSE, PROSE, PROSE))
    assert len(page.sections) == 2
    assert page.notes == ("only the first 2 of 3 pages of the PDF were read",)
