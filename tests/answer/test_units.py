from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragmacs_srv.answer.units import fenced, group, sentences, units
from ragmacs_srv.answer.units import followers as follow
from ragmacs_srv.ingest.sections import Piece, build
from ragmacs_srv.model import Section


def section(*pieces: tuple[str, str]) -> Section:
    return build("https://x.test/p", "a", ("P", "A"), [Piece(kind, text) for kind, text in pieces])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One here. Two there.", ["One here.", "Two there."]),
        ("Use e.g. Go for it. Then stop.", ["Use e.g. Go for it.", "Then stop."]),
        ("Since Go 1.19. It is so.", ["Since Go 1.19.", "It is so."]),
        ("Is it? Yes! Good.", ["Is it?", "Yes!", "Good."]),
        ('He said "stop." Then left.', ['He said "stop."', "Then left."]),
        ("Call runtime.GC() and wait.", ["Call runtime.GC() and wait."]),
        ("By R. Pike and others. See it.", ["By R. Pike and others.", "See it."]),
    ],
)
def test_sentences_end_where_people_would_say(text: str, parts: list[str]) -> None:
    assert [text[start:end] for start, end in sentences(text, 0, len(text))] == parts


def test_headings_and_pictures_are_never_quoted() -> None:
    found = units(section(("heading", "#### A long title of a part"), ("image", "[image: a long picture of a heap]")))
    assert found == []


def test_labels_are_too_short_to_quote_but_code_is_not() -> None:
    found = units(section(("paragraph", "GOGC"), ("code", "```\nx := 1\n```")))
    assert [unit.quote for unit in found] == ["x := 1"]


def test_the_titles_in_a_list_of_links_are_not_quoted() -> None:
    assert units(section(("item", "- Where Go values live"), ("item", "- Goroutine profiles in Go 1.27"))) == []


def test_an_item_takes_the_line_that_announces_its_list() -> None:
    made = section(("paragraph", "There are three ways to do it:"), ("item", "- the first of all ways."))
    lead, item = units(made)
    assert group(item, {}) == [lead, item]


def test_a_line_that_announces_takes_what_it_announces() -> None:
    made = section(("paragraph", "Build it with this command:"), ("code", "```\ngo build -gcflags=-m\n```"))
    found = units(made)
    assert group(found[0], follow(found)) == found


def test_a_sentence_that_leans_on_another_takes_it_along() -> None:
    made = section(("paragraph", "The heap doubles at the default. This is why the memory is twice as large."))
    first, second = units(made)
    assert group(second, {}) == [first, second]


def test_nothing_leans_across_a_paragraph() -> None:
    made = section(
        ("paragraph", "The heap doubles at the default."), ("paragraph", "This is another thing entirely here.")
    )
    assert [unit.lead for unit in units(made)] == [None, None]


def test_an_item_is_shown_without_its_bullet_and_quoted_with_what_is_there() -> None:
    (unit,) = units(section(("item", "- the limit counts the heap.")))
    assert unit.text == "the limit counts the heap."
    assert unit.quote in unit.section.text


def test_long_code_is_cut_after_a_whole_line() -> None:
    lines = [f"line{n} := compute({n})" for n in range(40)]
    (unit,) = units(section(("code", "```go\n" + "\n".join(lines) + "\n```")))
    assert unit.quote.splitlines() == lines[: len(unit.quote.splitlines())]
    assert len(unit.quote) <= 250


@pytest.mark.parametrize(
    "text",
    [
        "Watch the talk from Gophercon 2020 here.",
        "Read more on the go command in the release notes.",
        "See the language specification for details.)",
        "Please see the official documentation for more information on auto approvers.",
        "For the full details, see the design document.",
        "Further information is in the design document.",
    ],
)
def test_a_sentence_that_only_sends_elsewhere_is_not_quoted(text: str) -> None:
    assert units(section(("paragraph", text))) == []


@pytest.mark.parametrize(
    "text",
    [
        "See `go tool trace` to collect and analyze runtime traces.",
        "See how the slice grows until it does not.",
        "See which goroutines are running, and what they are doing:",
        "For more complex scenarios, a flag controls the selection of profiles.",
        "Watch it grow to twice the size of the live heap.",
        "See the heap profile: " + "it names the line that allocates most, " * 5 + "and how often.",
    ],
)
def test_a_sentence_that_names_what_to_do_is_quoted(text: str) -> None:
    assert [unit.text for unit in units(section(("paragraph", text)))] == [text]


def test_rows_and_code_without_content_are_not_quoted() -> None:
    made = section(("code", "```\n}\n```"), ("row", "| Org mode bonuses for you | |"), ("row", "| a | has 1 thing |"))
    assert [unit.text for unit in units(made)] == ["| a | has 1 thing |"]


def test_the_text_of_a_definition_is_shown_without_its_colon() -> None:
    (unit,) = units(section(("item", ": The new type reports it.")))
    assert unit.text == "The new type reports it."
    assert unit.quote == ": The new type reports it."


@pytest.mark.parametrize(
    ("last", "under"),
    [("created by main.main", "\t/src/main.go:9 +0x1d" + "0" * 99), ("if x {", "    " + "y()" * 40)],
    ids=["trace", "block"],
)
def test_cut_code_does_not_end_with_what_announces_more(last: str, under: str) -> None:
    body = "\n".join(["goroutine 1 [running]:" + "." * 160, last, under])
    (unit,) = units(section(("code", f"```\n{body}\n```")))
    assert unit.quote == body.splitlines()[0]


@given(st.text(st.sampled_from("`ab \n~")))
def test_no_code_can_close_its_fence(code: str) -> None:
    fence, *lines, last = fenced(code).split("\n")
    assert fence == last
    assert "\n".join(lines) == code
    assert len(fence) >= 3
    assert fence not in code


PIECES = st.lists(
    st.tuples(
        st.sampled_from(["paragraph", "item", "row", "code", "heading"]),
        st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1).filter(str.strip),
    ),
    max_size=8,
)


@given(PIECES)
def test_every_quote_is_a_substring_and_no_two_overlap(pieces: list[tuple[str, str]]) -> None:
    made = section(*(("code", f"```\n{text}\n```") if kind == "code" else (kind, text) for kind, text in pieces))
    found = units(made)
    assert all(made.text[unit.start : unit.end] == unit.quote for unit in found)
    assert all(before.end <= after.start for before, after in itertools.pairwise(found))


def test_a_sign_within_a_formula_is_no_bullet() -> None:
    (unit,) = units(section(("paragraph", "Total heap memory = Live heap + New heap memory")))
    assert unit.text == "Total heap memory = Live heap + New heap memory"
