from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from ragmacs_srv.ingest import chunk
from ragmacs_srv.ingest.sections import Piece, build
from ragmacs_srv.model import Chunk, Section

URL = "https://x.test/page"


def words(text: str) -> int:
    return len(text.split())


def section(*pieces: tuple[str, str], heading: tuple[str, ...] = ("Page", "Part")) -> Section:
    return build(URL, "part", heading, [Piece(kind, text) for kind, text in pieces])  # type: ignore[arg-type]


def split(section: Section, limit: int = 20) -> list[Chunk]:
    return list(chunk.split(section, limit=limit, count=words))


def test_neighbouring_blocks_share_a_chunk_while_they_fit() -> None:
    parts = [("paragraph", f"alpha beta gamma delta {n}") for n in range(6)]
    assert [words(each.text) for each in split(section(*parts))] == [15, 15]


def test_a_code_block_that_fits_stays_whole() -> None:
    code = "```\nif x {\n\n\ty()\n}\n```"
    found = split(section(("paragraph", "word " * 15 + "end."), ("code", code)))
    assert [code in each.text for each in found] == [False, True]


def test_a_long_paragraph_is_cut_at_sentences() -> None:
    text = " ".join(f"Sentence number {n} has six words." for n in range(10))
    assert all(each.text.endswith("words.") for each in split(section(("paragraph", text))))


def test_long_code_is_cut_at_lines() -> None:
    lines = [f"line {n} of the code" for n in range(30)]
    found = split(section(("code", "```\n" + "\n".join(lines) + "\n```")))
    assert all(line in lines or line == "```" for each in found for line in each.text.splitlines())


def test_a_section_without_text_has_no_chunks() -> None:
    assert split(section()) == []


def test_a_long_heading_path_leaves_room_for_text() -> None:
    found = split(section(("paragraph", "one two three four five six"), heading=("word " * 50,)))
    assert " ".join(each.text for each in found) == "one two three four five six"


def test_ids_are_stable_and_differ_between_equal_texts() -> None:
    twice = section(("paragraph", "same words here " * 6), ("paragraph", "same words here " * 6))
    ids = [each.id for each in split(twice)]
    assert ids == [each.id for each in split(twice)]
    assert len(set(ids)) == len(ids) > 1


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1).filter(str.strip)


@given(st.lists(st.tuples(st.sampled_from(["paragraph", "item", "row", "code"]), TEXT), max_size=8), st.integers(4, 30))
def test_chunks_are_slices_that_cover_every_word_in_order(pieces: list[tuple[str, str]], limit: int) -> None:
    made = section(*pieces)
    found = split(made, limit)
    assert all(made.text[each.start : each.end] == each.text for each in found)
    assert all(before.end <= after.start for before, after in itertools.pairwise(found))
    assert "".join("".join(each.text.split()) for each in found) == "".join(made.text.split())


@given(st.text("ab .\n", min_size=1, max_size=2000), st.integers(8, 40))
def test_no_chunk_is_larger_than_the_limit(text: str, limit: int) -> None:
    made = section(("paragraph", text), heading=("h",))
    assert all(words(each.passage) <= limit for each in split(made, limit))
