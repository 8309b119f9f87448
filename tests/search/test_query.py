"""What is typed becomes words, filters and weights; filters keep to their pages, weights move what was found."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragmacs_srv.errors import InvalidParams, NotIndexed
from ragmacs_srv.model import Page
from ragmacs_srv.search import generation, query, retrieve
from ragmacs_srv.search.embed import Embedder
from ragmacs_srv.search.generation import EVERYWHERE, Generation, Scope
from ragmacs_srv.search.labels import Label
from ragmacs_srv.search.query import Filter, Query, parse
from ragmacs_srv.search.retrieve import Results
from ragmacs_srv.search.store import Store
from tests.fakes import HashEmbedder
from tests.search import library
from tests.search.fakes_tokens import TokenHashEmbedder

TODAY = date(2026, 3, 10)


# Reading


@pytest.mark.parametrize(
    ("text", "words", "filters"),
    [
        ("heap site:go.dev", "heap", ["site:go.dev"]),
        ("site:https://go.dev/blog/ heap", "heap", ["site:go.dev/blog"]),
        ("heap -site:pkg.go.dev limit", "heap limit", ["-site:pkg.go.dev"]),
        ("heap site:127.0.0.1:8737/doc", "heap", ["site:127.0.0.1:8737/doc"]),
        ("buffers site:info:elisp", "buffers", ["site:info:elisp"]),
        ("what is the heap site:go.dev?", "what is the heap", ["site:go.dev"]),
        ("heap release:1.21", "heap", ["release:1.21"]),
        ("heap release:go1.21.3 -release:1.9", "heap", ["release:1.21", "-release:1.9"]),
        ("heap since:2024", "heap", ["since:2024-01-01"]),
        ("heap since:2024-05", "heap", ["since:2024-05-01"]),
        ("heap since:2024-02-29", "heap", ["since:2024-02-29"]),
        ("heap since:7d", "heap", ["since:2026-03-03"]),
        ("heap since:2w since:1y", "heap", ["since:2026-02-24", "since:2025-03-10"]),
        ("heap\nsite:go.dev\n", "heap", ["site:go.dev"]),
    ],
)
def test_operators_are_taken_out(text: str, words: str, filters: list[str]) -> None:
    found = parse(text, TODAY)
    assert (found.text, [str(each) for each in found.filters], found.notes) == (words, filters, ())


@pytest.mark.parametrize(
    "text",
    [
        "gctrace:1",
        "foo::bar std::vector",
        "GODEBUG=gctrace=1 GOGC:off",
        "https://go.dev/doc/gc-guide#GOGC",
        "website:go.dev mysite:x note:site:go.dev",
        "site: go.dev",
        "what does `grep site:go.dev` do",
        'the words "since:2024 or so"',
        "case:1 -gcflags=-m -c",
        "Since: 2024, released",
        "  two  blanks ",
    ],
)
def test_what_is_no_operator_stays_byte_for_byte(text: str) -> None:
    assert parse(text, TODAY) == Query(text)


@pytest.mark.parametrize("text", ["heap since:yesterday", "heap since:2024-02-30", "heap -since:2024", "x release:new"])
def test_an_operator_that_is_none_is_searched_for_and_said(text: str) -> None:
    found = parse(text, TODAY)
    assert (found.text, found.filters) == (text, ())
    [note] = found.notes
    assert text.split()[1] in note
    assert "filters are like" in note


def test_filters_alone_are_no_question() -> None:
    with pytest.raises(InvalidParams, match="nothing to search for"):
        parse("site:go.dev since:2024", TODAY)


WORDS = st.lists(st.sampled_from(["heap", "a::b", "GOGC=1", "x:y", "https://h/site:x", "(site:", "since"]), max_size=5)
OPERATORS = st.lists(
    st.sampled_from(["site:go.dev", "-site:a.b/c", "release:1.2", "since:2020", "since:3m"]), max_size=4
)


@given(WORDS, OPERATORS, st.randoms())
def test_all_operators_and_nothing_else_is_taken_out(words: list[str], operators: list[str], random: object) -> None:
    typed = ["first", *words, *operators]
    random.shuffle(typed)  # type: ignore[attr-defined]
    found = parse(" ".join(typed), TODAY)
    assert found.text.split() == [each for each in typed if each not in operators]
    assert len(found.filters) == len(set(operators))
    assert parse(found.text, TODAY) == Query(found.text)


@given(st.text(max_size=60))
def test_any_text_is_read(text: str) -> None:
    found = parse(f"x {text}", TODAY)
    if not found.filters:
        assert found.text == f"x {text}"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("part", ["`", '"', "-site:", "site:a ", "since:1d "])
def test_reading_takes_linear_time(part: str) -> None:
    parse("x " + part * (4000 // len(part)), TODAY)


# Matching


def label(url: str, title: str = "", date: str = "", fetched_at: str = "2026-03-01T12:00:00Z") -> Label:
    return Label(1, url, title, date, fetched_at)


@pytest.mark.parametrize(
    ("url", "value", "expected"),
    [
        ("https://go.dev/blog/greenteagc", "go.dev", True),
        ("https://go.dev/blog/greenteagc", "go.dev/blog", True),
        ("https://go.dev/blogger", "go.dev/blog", False),
        ("https://go.dev/doc", "go.dev/blog", False),
        ("https://pkg.go.dev/fmt", "go.dev", True),
        ("https://go.dev/fmt", "pkg.go.dev", False),
        ("https://logo.dev/", "go.dev", False),
        ("http://127.0.0.1:8737/doc/x", "127.0.0.1", True),
        ("http://127.0.0.1:8737/doc/x", "127.0.0.1:8737/doc", True),
        ("http://127.0.0.1:8737/doc/x", "127.0.0.1:1", False),
        ("handbook:sync-pool", "handbook", True),
        ("handbook:sync-pool", "handbook:sync-pool", True),
        ("handbook:sync-pool", "hand", False),
        ("info:elisp#Buffers", "info:elisp", True),
        ("info:elispy", "info:elisp", False),
        ("https://info.example/", "info", False),
        ("https://go.dev/blog-old", "go.dev/blog", False),
    ],
)
def test_a_site_is_a_host_with_what_is_below_it_or_a_scheme(url: str, value: str, expected: bool) -> None:
    assert Filter("site", value).matches(label(url)) == expected


def test_a_time_is_that_of_the_page_or_when_it_was_read() -> None:
    since = Filter("since", "2024-05-01")
    assert since.matches(label("https://a.b/", date="2024-05-01"))
    assert not since.matches(label("https://a.b/", date="2023-12-31"))
    assert since.matches(label("https://a.b/", fetched_at="2026-03-01T12:00:00Z"))


@pytest.mark.parametrize(
    ("page", "release", "notes"),
    [
        (label("https://go.dev/doc/go1.19", "Go 1.19 Release Notes"), "1.19", True),
        (label("http://127.0.0.1:8737/doc/go1.9.html", "Notes"), "1.9", True),
        (label("https://x.test/notes", "Go 1.20 Release Notes"), "1.20", True),
        (label("https://go.dev/blog/pgo", "Profile-guided optimization in Go 1.21"), "1.21", False),
        (label("godoc:runtime/debug", "runtime/debug (go1.27.3)"), "1.27", False),
        (label("https://go.dev/doc/gc-guide", "A Guide to the Go Garbage Collector"), "", False),
        (label("https://go.dev/doc/go1compat", "Go 1 and the Future of Go Programs"), "", False),
    ],
    ids=lambda each: each.url if isinstance(each, Label) else None,
)
def test_a_page_knows_its_release(page: Label, release: str, notes: bool) -> None:
    assert (page.release, page.notes) == (release, notes)


# Searching


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generation]:
    """Pages about the heap: two in "docs", one of them in "guides" too, and one elsewhere in "blog"."""
    folder: Path = tmp_path_factory.mktemp("filters")
    with Store(folder) as store:
        for name, day in (("heap", "2020-02-01"), ("stack", "2024-02-01")):
            library.put(store, library.written(name), "docs")
            library.put(store, library.page(f"{name}-notes", f"The heap and the {name} in Go.", date=day), "docs")
        library.put(store, library.written("heap"), "guides")
        other = library.section("https://blog.example/heap", "The heap grows. The heap limit is soft.", anchor="top")
        library.put(store, Page(other.url, "Heaps in Go 1.19", (other,), date="2022-08-02"), "blog")
        library.publish(store, TokenHashEmbedder())
    made = generation.current(folder)
    assert made is not None
    with made:
        yield made


ENGINES: list[Embedder | None] = [None, HashEmbedder(), TokenHashEmbedder()]
engines = pytest.mark.parametrize("embedder", ENGINES, ids=["lexical", "dense", "tokens"])


def search(opened: Generation, embedder: Embedder | None, text: str, *collections: str, **options: object) -> Results:
    names, weights = query.weighted(collections)
    asked = parse(text, TODAY)
    where = query.scope(opened, asked, names)
    return retrieve.search(opened, embedder, asked.text, k=20, scope=where, weights=weights, **options)  # type: ignore[arg-type]


@engines
@pytest.mark.parametrize(
    ("text", "collections", "expected"),
    [
        ("heap limit site:blog.example", (), {"blog.example/heap"}),
        ("heap -site:go.example", (), {"blog.example/heap"}),
        ("heap release:1.19", (), {"blog.example/heap"}),
        ("heap site:go.example/doc/stack-notes", ("docs",), {"go.example/doc/stack-notes"}),
        (
            "heap site:go.example since:2023 -site:go.example/doc/heap",
            (),
            {"go.example/doc/stack", "go.example/doc/stack-notes"},
        ),
        (
            "heap since:2024 site:go.example/doc/heap-notes site:go.example/doc/stack-notes",
            (),
            {"go.example/doc/stack-notes"},
        ),
    ],
)
def test_only_pages_that_match_are_found(
    opened: Generation, embedder: Embedder | None, text: str, collections: tuple[str, ...], expected: set[str]
) -> None:
    found = search(opened, embedder, text, *collections)
    assert {hit.section.url.removeprefix("https://") for hit in found.hits} == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("heap site:nowhere.example", "site:nowhere.example (there are: go.example (4), blog.example (1))"),
        ("heap release:1.30", "release:1.30 (there are: release 1.19)"),
        ("heap since:2030", "since:2030-01-01 (there are: pages of 2020-02-01 to 2026-03-01)"),
        ("heap release:1.19 site:go.example", "release:1.19 site:go.example (there are: release 1.19; go.ex"),
    ],
)
def test_what_matches_no_page_is_told_what_there_is(opened: Generation, text: str, said: str) -> None:
    with pytest.raises(NotIndexed) as failure:
        query.scope(opened, parse(text, TODAY))
    assert said in failure.value.message


def test_without_filters_everything_is_searched(opened: Generation) -> None:
    assert query.scope(opened, parse("heap", TODAY)) == EVERYWHERE
    assert query.scope(opened, parse("heap", TODAY), ("docs",)) == Scope(("docs",))
    with pytest.raises(NotIndexed, match="no pages of 'other'"):
        query.scope(opened, parse("heap", TODAY), ("other",))


# Weighing


def test_weights_are_read_beside_names() -> None:
    assert query.weighted(["docs=2", "blog", "guides=.5"]) == (("docs", "blog", "guides"), {"docs": 2, "guides": 0.5})


@pytest.mark.parametrize(
    "given_", ["docs=", "docs=x", "docs=0", "docs=-1", "docs=inf", "docs=1e308", "docs=nan", "docs=1=2"]
)
def test_what_is_no_weight_is_refused(given_: str) -> None:
    with pytest.raises(InvalidParams, match="gives no weight"):
        query.weighted([given_])


@engines
def test_a_weight_of_one_changes_nothing(opened: Generation, embedder: Embedder | None) -> None:
    plain = search(opened, embedder, "heap limit", "docs", "blog")
    assert search(opened, embedder, "heap limit", "docs=1", "blog=1.0") == plain


@engines
def test_more_weight_never_moves_a_collection_down(opened: Generation, embedder: Embedder | None) -> None:
    places = []
    for weight in ("0.01", "0.5", "1", "2", "50"):
        found = [hit.collection for hit in search(opened, embedder, "heap limit", "docs", f"blog={weight}").hits]
        places.append(found.index("blog"))
    assert places == sorted(places, reverse=True)
    assert places[0] > places[-1] == 0


def test_a_page_in_two_collections_has_the_greater_weight(opened: Generation) -> None:
    first = search(opened, None, "heap", "docs=0.01", "guides=5").hits[0]
    assert first.section.url == f"{library.SITE}/heap"


SCORED = st.lists(st.floats(0, 1), max_size=20).map(lambda scores: list(enumerate(sorted(scores, reverse=True))))


@given(SCORED, st.sets(st.integers(0, 19)), st.floats(0.01, 100), st.floats(1, 10))
def test_weighing_is_neutral_at_one_and_monotone(
    scored: list[tuple[int, float]], chosen: set[int], weight: float, more: float
) -> None:
    def order(value: float) -> list[int]:
        return [key for key, _ in retrieve.weighted(scored, dict.fromkeys(chosen, value))]

    assert retrieve.weighted(scored, dict.fromkeys(chosen, 1.0)) == scored
    before, after = order(weight), order(weight * more)
    rivals = [key for key, _ in scored if key not in chosen]
    for key in chosen.intersection(before):
        assert {each for each in rivals if after.index(each) < after.index(key)} <= {
            each for each in rivals if before.index(each) < before.index(key)
        }


# Counting


@engines
def test_facets_count_the_sections_that_candidates_stand_in(opened: Generation, embedder: Embedder | None) -> None:
    found = search(opened, embedder, "heap limit", facets=True)
    facets = found.facets
    assert set(facets) == {"collection", "site", "release", "year"}
    assert facets["site"]["blog.example"] == facets["collection"]["blog"] == facets["release"]["1.19"] == 1
    assert sum(facets["site"].values()) == sum(facets["year"].values()) == len(found.hits) < 20
    assert facets["collection"]["guides"] <= facets["collection"]["docs"]
    assert list(facets["site"]) == ["go.example", "blog.example"], "the most first"
    assert found.as_json()["facets"] == facets


def test_what_nobody_asks_to_count_is_not_counted(opened: Generation) -> None:
    assert search(opened, None, "heap").facets == {}
    assert search(opened, None, "nosuchword", facets=True).facets["site"] == {}
