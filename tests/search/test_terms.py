from __future__ import annotations

import sqlite3
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragmacs_srv.search.generation import SCHEMA
from ragmacs_srv.search.terms import content_spans, stem, terms, whole

PIECES = "x A _ 9 . a. aB [ [9 [9] a[ a[b] a] & * - --a = a= =-a % <- ... // : {} a{} + a+ a.[ a[. ~a* &a* &a. a:="
CODE = st.text(st.sampled_from("abX1_ .,:;/=-+*&%~!?#@<>|^()[]{}\\\"'`\né"), max_size=40)


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


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("What does &x mean?", "swap(&x, &y)"),
        ("assign through *p", "if *p == nil {"),
        ("a channel of struct{}", "done <- struct{}{}"),
        ("pass interface{} around", "func Printf(format string, args ...interface{}) (n int)"),
        ("convert to []byte", "w.Write([]byte(s))"),
        ("slice of pointers []*T", "nodes := make([]*T, 0)"),
        ("Is map[string]int safe?", "m := map[string]int{}"),
        ("a chan<- parameter", "func send(out chan<- int)"),
        ("What does <-ch return?", "v, ok := <-ch"),
        ("the := operator", "x := 1"),
        ("What does ... do in a call?", "append(a, b...)"),
        ("go build ./...", "go vet ./..."),
        ("What is //go:noinline for?", "    //go:noinline\n    func f()"),
        ("What does -gcflags=-m print?", "Build with `go build -gcflags=-m`."),
        ("go build -gcflags", "go test -gcflags='-m -l'"),
        ("-gcflags", "-gcflags=all=-d=checkptr"),
        ("the -m flag", "-gcflags=-m"),
        ("gctrace=1", "$ GODEBUG=gctrace=1,schedtrace=1000 ./server"),
        ("What is in *MemStats?", "func ReadMemStats(m *MemStats)"),
        ("runtime.(*MemStats)", "*MemStats"),
        ("Is Go faster than C++?", "programs in Java, C++, and Python"),
        ("wrap with %w", 'fmt.Errorf("open: %w", err)'),
    ],
)
def test_a_notation_of_code_in_a_question_is_found_in_code(question: str, text: str) -> None:
    def notations(written: str) -> set[str]:
        return {term for term in terms(written) if not term.replace("_", "").isalnum()}

    assert notations(question) & notations(text)


@pytest.mark.parametrize(
    "prose",
    [
        "A well-known, pre- and post-GC cost: *one* or **two** (or three) of them.",
        "- an item with 100% load, 50 % idle, AT&T and 3*4 -- and so on...",
        "See the guide; it's there! Is it? Yes: see 'there'.",
        "| a row | of cells |\n| --- | --- |\n=====",
    ],
)
def test_signs_of_prose_add_no_terms(prose: str) -> None:
    assert all(term.isalnum() for term in terms(prose))


def test_the_words_of_code_are_terms_beside_its_notation() -> None:
    assert {"map", "int", "map[string]int"} <= set(terms("map[string]int"))
    assert {"godebug", "gctrac", "1"} <= set(terms("GODEBUG=gctrace=1"))


@pytest.mark.parametrize(
    ("word", "term"),
    [
        ("HeapIdle", "heapidl"),
        ("max_pages", "max_pages"),
        ("debug.SetGCPercent", "setgcpercent"),
        ("sync.Pool", "sync.pool"),
        ("runtime/metrics", "runtime/metrics"),
        ("go1.25", "1.25"),
        ("caches", "cach"),
        ("&buf", "buf"),
        ("-gcflags", "gcflag"),
        ("struct{}{}", "struct"),
        ("%w", "%w"),
        ("C++", "c++"),
        (":=", ":="),
    ],
)
def test_one_term_stands_for_a_whole_word(word: str, term: str) -> None:
    assert whole(word) == term


def test_a_piece_of_an_identifier_does_not_stand_for_all_of_it() -> None:
    assert whole("HeapIdle") not in terms("The heap is idle.")
    assert whole("HeapIdle") in terms("runtime.MemStats.HeapIdle counts it.")


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("Wie groß ist der Heap?", ["groß", "Heap"]),
        ("Wann wird ein Finalizer ausgeführt und wo?", ["Finalizer", "ausgeführt"]),
        ("Comment régler GOGC dans un conteneur ?", ["régler", "GOGC", "conteneur"]),
        ("¿Qué es el recolector de basura?", ["recolector", "basura"]),
        ("Why does my goroutine die in comment handling?", ["goroutine", "die", "comment", "handling"]),
        ("When does the son of Main die?", ["son", "Main", "die"]),
        ("e.g. what does math.Sin cost?", ["math.Sin", "cost"]),
    ],
)
def test_the_words_that_only_ask_are_known_in_the_language_of_the_question(question: str, words: list[str]) -> None:
    assert [*content_spans(question)] == words


def test_questions_keep_notations_of_code() -> None:
    assert [*content_spans("Does &x escape from []byte with := and -gcflags=-m?")] == [
        "&x", "escape", "[]byte", ":=", "-gcflags", "-m",
    ]  # fmt: skip


def cpu(text: str) -> float:
    """Seconds of CPU that reading TEXT takes."""
    start = time.thread_time()
    terms(text)
    content_spans(text)
    return time.thread_time() - start


@pytest.mark.timeout(60)
@pytest.mark.parametrize("piece", PIECES.split(), ids=str)
def test_a_line_without_a_blank_takes_linear_time(piece: str) -> None:
    """Ten times the text would take a hundred times as long, were it quadratic; 5 ms is what a clock may be off."""
    assert cpu(piece * 20_000) < 40 * (cpu(piece * 2_000) + 0.005)


@given(st.text() | CODE)
def test_terms_hold_no_blanks_and_no_quotes(text: str) -> None:
    assert all(term and not set(term) & set(" \t\n\"'\0") for term in terms(text))


@given(CODE)
def test_a_notation_is_found_by_itself(text: str) -> None:
    signed = [term for term in terms(text) if not term.replace("_", "").isalnum()]
    assert all(term in terms(term) for term in signed)


@given(CODE | st.text())
def test_a_whole_is_one_of_the_terms(text: str) -> None:
    assert all(whole(word) in terms(word) for word in content_spans(text))


@given(st.text() | CODE)
def test_every_term_is_one_token_of_the_index_and_no_syntax(text: str) -> None:
    db = sqlite3.connect(":memory:")
    (lexicon,) = [statement for statement in SCHEMA if "fts5(" in statement]
    db.execute(lexicon)
    db.execute("CREATE VIRTUAL TABLE vocabulary USING fts5vocab(lexicon, 'row')")
    made = terms(text)
    db.execute("INSERT INTO lexicon (rowid, terms) VALUES (1, ?)", (" ".join(made),))
    assert {row[0] for row in db.execute("SELECT term FROM vocabulary")} == set(made)
    for term in made:
        assert db.execute("SELECT rowid FROM lexicon WHERE lexicon MATCH ?", (f'"{term}"',)).fetchall() == [(1,)]
    db.close()


def test_a_question_for_a_number_has_no_name_in_many_or_much() -> None:
    assert [*content_spans("How many pools, and how much heap?")] == ["pools", "heap"]
    assert terms("many pools") == ["many", "pool"]
