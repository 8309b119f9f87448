from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragmacs_srv.search.terms import content_spans, stem, terms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("debug.SetGCPercent", ["debug", "setgcpercent", "set", "gc", "percent", "debug.setgcpercent"]),
        ("runtime/metrics", ["runtim", "metric", "runtime/metrics"]),
        ("max_pages", ["max_pages", "max", "page"]),
        ("GOMEMLIMIT", ["gomemlimit"]),
        ("the goroutines of a scheduler", ["goroutin", "scheduler"]),
        ("", []),
    ],
    ids=str,
)
def test_identifiers_are_kept_whole_and_in_parts(text: str, expected: list[str]) -> None:
    assert terms(text) == expected


@pytest.mark.parametrize(
    "forms",
    [("collect", "collects", "collected", "collecting"), ("cache", "caches", "cached"), ("stop", "stops", "stopped")],
)
def test_the_forms_of_a_word_meet(forms: tuple[str, ...]) -> None:
    assert len({stem(form) for form in forms}) == 1


@pytest.mark.parametrize("word", ["bus", "pass", "this", "gas", "go", "ring", "1.25", "µs"])
def test_short_and_odd_words_stay_whole(word: str) -> None:
    assert stem(word).startswith(word[:2])


def test_a_release_is_found_however_it_is_written() -> None:
    assert "1.25" in terms("go1.25")
    assert "1.25" in terms("Go 1.25")


def test_questions_keep_the_words_that_carry_their_meaning() -> None:
    question = "How do I set debug.SetGCPercent in Go, and why Go?"
    spans = content_spans(question)
    assert [*spans] == ["set", "debug.SetGCPercent", "Go"]
    assert [question[start:end] for start, end in spans.values()] == [*spans]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("char", ["x", "A", "_", "9", ".", "a.", "aB"])
def test_a_line_without_a_blank_takes_linear_time(char: str) -> None:
    assert terms(char * 500_000) is not None


@given(st.text())
def test_terms_hold_no_blanks_and_no_quotes(text: str) -> None:
    assert all(term and not set(term) & set(" \t\n\"'") for term in terms(text))
