"""Files and standard input become responses of the right kind; Org becomes sections."""

from __future__ import annotations

import codecs
import os
from io import BytesIO
from pathlib import Path

import pytest

from ragmacs_srv.errors import InvalidParams, NoContent
from ragmacs_srv.ingest import files
from ragmacs_srv.ingest.extract import extract
from ragmacs_srv.model import Page
from tests.pdfs import pdf

WORDS = "The collector frees memory that nothing reaches, and it runs when the heap has grown by as much as GOGC says."
ORG = f"""#+TITLE: The Guide
#+AUTHOR: somebody
A first paragraph about =GOGC= and ~runtime.GC()~,
which *goes* on, with a [[https://go.dev/doc][link]] in it.
* TODO [#A] Costs of /collection/ :gc:cost:
:PROPERTIES:
:CUSTOM_ID: costs
:END:
# a comment
{WORDS}
- one item
  that goes on
- [X] done
1. first

#+BEGIN_SRC go
x := "* no heading"
,* escaped
#+END_SRC
| a | =b= |
|---+-----|
| 1 | 2   |
: fixed
: width
** Costs
SCHEDULED: <2026-01-01>
{WORDS}
"""


def page(response_body: bytes, suffix: str = "", name: str = "file:///x/notes") -> Page:
    made = files.response(response_body, name, suffix=suffix)
    return extract(made.body, made.url, media_type=made.media_type, charset=made.charset)


@pytest.mark.parametrize(
    ("body", "suffix", "kind"),
    [
        (b"words", ".txt", "text/plain"),
        (b"# words", ".md", "text/markdown"),
        (b"* words", ".org", "text/org"),
        (b"words", ".html", "text/html"),
        (b"<!doctype html><p>words", "", "text/html"),
        (b"# a title\n\nwords", "", "text/markdown"),
        (b"# a comment\nwords", ".py", "text/plain"),
        (b"#+title: words", "", "text/org"),
        (b"words", "", "text/plain"),
        (pdf(["words"]), ".txt", "application/pdf"),
        (b"\x89PNG\r\n\x1a\n", ".md", "image/png"),
    ],
)
def test_a_file_is_what_its_bytes_and_its_name_say(body: bytes, suffix: str, kind: str) -> None:
    assert files.response(body, "file:///x", suffix=suffix).media_type == kind


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidParams, match="cannot be read: No such file"):
        files.read(tmp_path / "none.md")
    with pytest.raises(InvalidParams, match="no regular file"):
        files.read(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidParams, match="no regular file"):
        files.read(tmp_path / "pipe")
    (tmp_path / "empty.md").write_bytes(b" \n")
    with pytest.raises(NoContent, match="is empty"):
        files.read(tmp_path / "empty.md")


def test_what_is_too_large_is_refused_and_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_BYTES", 1 << 20)
    with pytest.raises(InvalidParams, match="stdin is larger than 1 MiB"):
        files.read_stream(BytesIO(b"x" * ((1 << 20) + 1)))


@pytest.mark.parametrize("suffix", [".txt", ".md", ".org", ".html"])
def test_windows_line_ends_and_byte_order_marks_leave_no_trace(suffix: str) -> None:
    text = f"{WORDS}\r\n\r\n{WORDS}\r\n"
    for body in (codecs.BOM_UTF8 + text.encode(), codecs.BOM_UTF16_LE + text.encode("utf-16-le")):
        said = "".join(each.text for each in page(body, suffix).sections)
        assert "\r" not in said
        assert "\ufeff" not in said
        assert said.startswith("The collector frees")


def test_org_becomes_sections_with_the_anchors_of_its_headings() -> None:
    made = page(ORG.encode(), ".org")
    assert made.title == "The Guide"
    assert [each.anchor for each in made.sections] == ["", "costs", "costs-1"]
    assert [each.heading for each in made.sections[:2]] == [("The Guide",), ("The Guide", "Costs of collection")]
    assert made.links == ("https://go.dev/doc",)
    assert made.sections[0].text == (
        "A first paragraph about `GOGC` and `runtime.GC()`, which goes on, with a link in it."
    )


def test_org_blocks_keep_their_kind_and_code_its_characters() -> None:
    costs = page(ORG.encode(), ".org").sections[1]
    blocks = [(block.kind, costs.text[block.start : block.end]) for block in costs.blocks]
    assert blocks == [
        ("paragraph", WORDS),
        ("item", "- one item that goes on"),
        ("item", "- [x] done"),
        ("item", "1. first"),
        ("code", '```go\nx := "* no heading"\n* escaped\n```'),
        ("row", "| a | `b` |"),
        ("row", "| 1 | 2 |"),
        ("code", "```\nfixed\nwidth\n```"),
    ]
