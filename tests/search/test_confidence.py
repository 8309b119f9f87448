"""The worst-matched word and unknown names lower the confidence; one unknown word alone refuses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ragmacs_srv.model import Chunk, Hit
from ragmacs_srv.search import generation, retrieve
from ragmacs_srv.search.confidence import DOUBTFUL, NEAR, by_coverage, by_tokens, coverage, uncovered, word_weights
from ragmacs_srv.search.generation import Generation
from ragmacs_srv.search.store import Store
from tests.search.fakes_tokens import TokenHashEmbedder
from tests.search.library import AT, page, publish, put, section, source

TEXT = "The runtime.MemStats type tells the heap limit. HeapAlloc counts live bytes of the collector cycle."


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generation]:
    folder: Path = tmp_path_factory.mktemp("store")
    with Store(folder) as store:
        store.start_crawl(source("docs"), {}, AT)
        put(store, page("stats", TEXT, "Another section about goroutine stacks and their growth."))
        publish(store, TokenHashEmbedder())
    with generation.current(folder) as found:  # type: ignore[union-attr]
        yield found


def matched(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32)


def test_the_word_that_no_passage_matches_decides(opened: Generation) -> None:
    spans = [(0, 4), (5, 10)]
    verdict = by_tokens(opened, "heap limit", matched([0.9, 0.2], [0.3, 0.7]), spans, nearest=0.6)
    assert verdict.confidence == pytest.approx(0.7)
    assert by_tokens(opened, "heap limit", matched([0.9, 0.2]), spans, nearest=0.6).confidence == pytest.approx(0.2)


def test_only_the_best_five_passages_count(opened: Generation) -> None:
    rows = [[0.1, 0.1]] * 5 + [[0.9, 0.9]]
    assert by_tokens(opened, "heap limit", matched(*rows), [(0, 4), (5, 10)], nearest=0.6).confidence < 0.2


def test_tokens_of_a_prompt_and_of_stop_words_do_not_count(opened: Generation) -> None:
    spans = [(-7, -1), (0, 3), (4, 8)]
    verdict = by_tokens(opened, "the heap", matched([0.0, 0.0, 0.8]), spans, nearest=0.6)
    assert verdict.confidence == pytest.approx(0.8)


def test_an_unknown_name_costs_more_than_an_unknown_word(opened: Generation) -> None:
    name = by_tokens(opened, "heap frobnicator", matched([0.9, 0.7, 0.7]), [(0, 4), (5, 9), (9, 16)], nearest=0.6)
    word = by_tokens(opened, "heap elephant", matched([0.9, 0.7]), [(0, 4), (5, 13)], nearest=0.6)
    assert name.confidence == pytest.approx(0.5)
    assert word.confidence == pytest.approx(0.7)
    assert (name.uncovered, word.uncovered) == (("frobnicator",), ("elephant",))


@pytest.mark.parametrize(("nearest", "answerable"), [(NEAR, True), (NEAR - 0.01, False)], ids=["near", "far"])
def test_one_unknown_name_refuses_only_what_is_far(opened: Generation, nearest: float, answerable: bool) -> None:
    spans = [(0, 4), (5, 9), (9, 16)]
    verdict = by_tokens(opened, "heap frobnicator", matched([0.9, 0.3, 0.3]), spans, nearest)
    assert verdict.confidence < DOUBTFUL
    assert verdict.answerable is answerable


def test_two_unknown_names_refuse(opened: Generation) -> None:
    spans = [(0, 4), (4, 11), (12, 15), (15, 20)]
    verdict = by_tokens(opened, "frobnicator xyzzyplugh", matched([0.5, 0.5, 0.5, 0.5]), spans, nearest=0.9)
    assert not verdict.answerable


@pytest.mark.parametrize("question", ["how does it?", "???", "—"])
def test_a_question_without_a_word_has_no_confidence(opened: Generation, question: str) -> None:
    assert by_tokens(opened, question, matched([0.9]), [(0, 1)], nearest=0.1).confidence == 0
    assert by_coverage(opened, question, [TEXT]).confidence == 0


def test_no_passages_are_no_match(opened: Generation) -> None:
    verdict = by_tokens(opened, "heap", np.empty((0, 1), np.float32), [(0, 4)], nearest=0.0)
    assert (verdict.confidence, verdict.answerable) == (0, False)


def test_knowing_a_piece_is_not_knowing_the_identifier(opened: Generation) -> None:
    assert uncovered(opened, ["HeapIdle", "HeapAlloc", "count", "runtime.MemStats"]) == ("HeapIdle",)
    assert uncovered(opened, ["runtime.HeapIdle", "heap/limit"]) == ("runtime.HeapIdle",)


def test_a_number_is_not_known_by_its_digits(opened: Generation) -> None:
    assert uncovered(opened, ["1.35", "heap/limit", "heap.limit", ":="]) == ("1.35", "heap.limit", ":=")


def test_nothing_but_unknown_words_is_refused_however_well_they_match(opened: Generation) -> None:
    verdict = by_tokens(opened, "GOMEMLIMTI", matched([0.9, 0.9]), [(0, 4), (4, 10)], nearest=0.9)
    assert not verdict.answerable


def test_coverage_weighs_rare_words_more(opened: Generation) -> None:
    weights = word_weights(opened, "section heap elephant")
    assert weights["elephant"] > weights["heap"] > 0
    assert coverage(weights, ["the heap of a section"]) < 2 / 3
    assert coverage(weights, ["elephant heap section"]) == pytest.approx(1)
    assert coverage({}, ["heap"]) == 0


def test_words_alone_refuse_what_they_hardly_cover(opened: Generation) -> None:
    assert by_coverage(opened, "heap limit of the collector", [TEXT]).answerable
    assert by_coverage(opened, "heap limit of the frobnicator", [TEXT]).answerable
    assert not by_coverage(opened, "which autovacuum suits a postgres heap", [TEXT]).answerable


# The order where scores hardly decide


def hit(
    anchor: str, score: float, *, name: str = "a", title: str = "", text: str = "Short.", opening: bool = False
) -> Hit:
    at = section(f"https://go.example/{name}", text, anchor=anchor)
    chunk = Chunk(f"{name}{anchor}", at.url, anchor, at.heading, text, 0, len(text))
    return Hit(at, ((chunk, score),), 0, len(text), title or name, "docs", AT, "", opening)


def anchors(hits: list[Hit]) -> list[str]:
    return [each.section.anchor for each in hits]


def test_a_release_that_is_named_prefers_its_own_page() -> None:
    hits = [hit("other", 0.95, title="Go 1.25 Release Notes"), hit("own", 0.9, name="b", title="Go 1.22 Release Notes")]
    assert anchors(retrieve.preferred(hits, "what did Go 1.22 change?")) == ["own", "other"]
    assert anchors(retrieve.preferred(hits, "what did go1.22.3 change?")) == ["own", "other"]
    assert anchors(retrieve.preferred(hits, "what did Go 1.2 change?")) == ["other", "own"]
    assert anchors(retrieve.preferred(hits, "what changed?")) == ["other", "own"]


def test_a_release_does_not_beat_a_much_better_hit() -> None:
    hits = [hit("other", 0.95), hit("own", 0.5, name="b", title="Go 1.22 Release Notes")]
    assert anchors(retrieve.preferred(hits, "what did Go 1.22 change?")) == ["other", "own"]


def test_a_short_opening_stands_behind_a_section_that_is_almost_as_good() -> None:
    opening, elsewhere, detail = hit("", 0.9, opening=True), hit("x", 0.88, name="b"), hit("detail", 0.85)
    assert anchors(retrieve.preferred([opening, elsewhere, detail], "q")) == ["x", "detail", ""]
    assert anchors(retrieve.preferred([opening, elsewhere, hit("detail", 0.6)], "q")) == ["", "x", "detail"]
    long = hit("", 0.9, text="word " * 300, opening=True)
    assert anchors(retrieve.preferred([long, detail], "q")) == ["", "detail"]
    assert anchors(retrieve.preferred([hit("", 0.9), detail], "q")) == ["", "detail"]
    assert retrieve.preferred([], "q") == []


def test_the_first_section_of_a_page_is_its_opening(opened: Generation) -> None:
    found = retrieve.search(opened, None, "heap goroutine stacks limit", k=5)
    assert {each.section.anchor: each.opening for each in found.hits} == {"s0": True, "s1": False}
