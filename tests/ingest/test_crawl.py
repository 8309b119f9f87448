from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ragmacs_srv.ingest.crawl import Frontier
from ragmacs_srv.model import Source

ROOT = "https://x.test/"


def source(**changes: object) -> Source:
    return Source("s", "s", (ROOT,), **{"depth": 2, "max_pages": 100, **changes})  # type: ignore[arg-type]


def started(source: Source) -> Frontier:
    frontier = Frontier(source)
    for seed in source.seeds:
        frontier.start(seed)
    return frontier


def walk(frontier: Frontier, links: dict[str, list[str]]) -> list[str]:
    taken = []
    for visit in frontier:
        taken.append(visit.url)
        frontier.add(links.get(visit.url, []), visit.depth)
    return taken


def test_pages_come_nearest_first_and_once() -> None:
    links = {ROOT: [ROOT + "a", ROOT + "b", ROOT + "a#x"], ROOT + "a": [ROOT, ROOT + "c", ROOT + "b"]}
    assert walk(started(source()), links) == [ROOT, ROOT + "a", ROOT + "b", ROOT + "c"]


def test_links_deeper_than_depth_are_not_followed() -> None:
    links = {ROOT: [ROOT + "a"], ROOT + "a": [ROOT + "b"]}
    assert walk(started(source(depth=1)), links) == [ROOT, ROOT + "a"]
    assert walk(started(source(depth=0)), links) == [ROOT]


def test_the_page_limit_counts_what_is_taken_and_says_what_was_cut() -> None:
    frontier = started(source(max_pages=3))
    links = {ROOT: [f"{ROOT}{n}" for n in range(10)]}
    assert len(walk(frontier, links)) == 3
    assert frontier.cut == 8


def test_a_seed_that_is_no_address_is_refused_with_its_reason() -> None:
    frontier = started(Source("s", "s", ("ftp://x.test/", "https://user@x.test/", ROOT)))
    assert [visit.url for visit in frontier] == [ROOT]
    assert list(frontier.refused) == ["ftp://x.test/", "https://user@x.test/"]


def test_a_denied_seed_is_refused_with_its_reason() -> None:
    frontier = started(Source("s", "s", (ROOT + "private/x",), deny=("*/private*",)))
    assert walk(frontier, {}) == []
    assert frontier.refused == {ROOT + "private/x": "denied by */private*"}


def test_links_denied_or_out_of_scope_are_ignored_in_silence() -> None:
    frontier = started(source(deny=("*/private*",)))
    assert walk(frontier, {ROOT: ["https://y.test/", ROOT + "private/x"]}) == [ROOT]
    assert not frontier.refused


def test_a_calendar_is_cut_after_some_query_strings() -> None:
    frontier = started(source(max_pages=1000))
    walk(frontier, {ROOT: [f"{ROOT}day?d={n}" for n in range(200)]})
    assert frontier.taken == 51
    assert len(frontier.traps) == 150


def test_a_path_that_repeats_itself_is_a_trap() -> None:
    frontier = started(source())
    assert walk(frontier, {ROOT: [ROOT + "a/b/" * 4]}) == [ROOT]
    assert "trap" in next(iter(frontier.traps.values()))


@given(st.dictionaries(st.integers(0, 20), st.lists(st.integers(0, 20)), max_size=20), st.integers(1, 10))
def test_whatever_links_to_whatever_nothing_is_taken_twice(graph: dict[int, list[int]], limit: int) -> None:
    links = {f"{ROOT}{page}": [f"{ROOT}{to}" for to in targets] for page, targets in graph.items()}
    links[ROOT] = list(links)
    taken = walk(started(source(depth=30, max_pages=limit)), links)
    assert len(taken) == len(set(taken)) <= limit
