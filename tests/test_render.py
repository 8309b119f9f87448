"""What a terminal shows of a reply."""

from __future__ import annotations

import json

import pytest

from ragmacs_srv import render

OBEYED = ["\x00", "\x07", "\b", "\r", "\x1b", "\x7f", "\x9b", "\u200b", "\u202e", "\u2069"]


@pytest.mark.parametrize("sign", OBEYED, ids=ascii)
def test_what_a_terminal_would_obey_is_not_printed(sign: str) -> None:
    assert render.printable(f"a{sign}b") == "ab"
    shown = render.dumps({"text": f"a{sign}b"})
    assert sign not in shown
    assert json.loads(shown) == {"text": f"a{sign}b"}
    assert sign not in render.failure(1, f"a{sign}b", sign, as_json=True)


def test_what_people_write_is_printed() -> None:
    text = "Größe\tx\n日本語 – “quoted” 🙂"
    assert render.printable(text) == text
    assert text.partition("\t")[2].partition("\n")[2] in render.dumps(text)


def test_what_stands_in_a_pdf_is_told_with_its_page() -> None:
    cited = {"n": 1, "title": "Paper", "heading": ["Paper"], "link": "file:///n/paper.pdf#page=3"}
    assert render.citations({"citations": [cited]}).strip() == "[1] Paper, page 3 <file:///n/paper.pdf#page=3>"
    found = {"results": [{"heading": ["Paper"], "link": cited["link"], "text": "words"}]}
    assert render.results(found).startswith("1. Paper, page 3\n")
    assert ", page" not in render.citations({"citations": [{**cited, "link": "https://x.dev/a#page=one"}]})
