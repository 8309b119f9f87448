"""The questions that ship with us are sound: every section they name exists, and says what they claim."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from ragmacs_srv.answer import evaluation, questions
from ragmacs_srv.ingest.extract import extract
from ragmacs_srv.ingest.kinds import handbook
from ragmacs_srv.model import Section
from ragmacs_srv.search.terms import content_spans, terms

ASKED = questions.read(questions.find("handbook")).questions


@pytest.fixture(scope="module")
def sections() -> Mapping[str, Section]:
    pages = (extract(each.body, each.url, media_type=each.media_type) for each in handbook.responses())
    return {section.link: section for page in pages for section in page.sections}


def gold() -> Iterator[tuple[questions.Question, str]]:
    return ((each, section) for each in ASKED for group in each.gold for section in group)


def test_there_are_enough_of_every_kind() -> None:
    unanswerable = [each for each in ASKED if not each.gold]
    assert len(ASKED) >= 60
    assert len(unanswerable) >= 8
    assert sum(each.topic == "near miss" for each in unanswerable) >= len(unanswerable) / 2
    assert sum(len(each.gold) > 1 for each in ASKED) >= 5


def test_every_gold_section_exists(sections: Mapping[str, Section]) -> None:
    assert [(each.id, link) for each, link in gold() if link not in sections] == []


def test_every_fact_stands_in_a_gold_section(sections: Mapping[str, Section]) -> None:
    assert [each.id for each in ASKED if bool(each.facts) != bool(each.gold)] == []
    assert [
        (each.id, fact)
        for each in ASKED
        for fact in each.facts
        if not any(evaluation.holds(sections[link].text, fact) for group in each.gold for link in group)
    ] == []


def test_every_gold_section_holds_a_fact(sections: Mapping[str, Section]) -> None:
    empty = [
        (each.id, link)
        for each, link in gold()
        if not any(evaluation.holds(sections[link].text, fact) for fact in each.facts)
    ]
    assert empty == []


def test_no_question_is_a_copy_of_its_heading(sections: Mapping[str, Section]) -> None:
    copies = [(each.id, link) for each, link in gold() if likeness(each.text, sections[link].heading[-1]) >= 0.5]
    assert copies == []


def likeness(one: str, other: str) -> float:
    """The share of their terms that two texts have in common."""
    ours, theirs = ({term for word in content_spans(text) for term in terms(word)} for text in (one, other))
    return len(ours & theirs) / max(1, len(ours | theirs))
