"""What releases changed: notes of our own in the default suite, those of Go where the saved pages are."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragmacs_srv import settings
from ragmacs_srv.answer.ask import Budget, ask
from ragmacs_srv.answer.llm import OpenAIChat
from ragmacs_srv.app import App
from ragmacs_srv.model import Answer, Page, Source
from ragmacs_srv.search import generation
from ragmacs_srv.search.embed import Embedder
from ragmacs_srv.search.generation import EVERYWHERE, Generation, Scope
from ragmacs_srv.search.store import Store
from tests.bench.test_retrieval_gate import saved_site
from tests.fakes import HashEmbedder
from tests.llm_server import refuses, says, scripted
from tests.search import library

EMBEDDER = HashEmbedder()
SINCE = "What changed about the GC since Go 1.18?"
NOTES: dict[str, list[tuple[str, str]]] = {
    "1.9": [("Collector", "The garbage collector is old here.")],
    "1.18": [("Runtime", "The garbage collector now counts stacks, too.")],
    "1.19": [
        ("Ports", "Toasters are supported now."),
        ("Runtime", "The runtime knows a soft memory limit.\n\nIt is set with GOMEMLIMIT, and the GC heeds it."),
    ],
    "1.20": [("Runtime", "Maps are made of umbrellas now."), ("Tools", "The tool for umbrellas is faster.")],
    "1.21": [
        ("Runtime", "Timers are cheaper.\n\nAs a result of tuning of garbage collection, pauses are shorter."),
        ("Library", "Umbrellas can be compared."),
    ],
    "1.22": [
        ("Introduction to Go 1.22", "It arrives in February, six months later."),
        ("New collector", "The green one is an experiment.\n\nIt scans spans instead of single objects."),
    ],
}


def notes(release: str) -> Page:
    """The notes of RELEASE, where Go keeps them."""
    url, title = f"https://go.dev/doc/go{release}", f"Go {release} Release Notes"
    sections = (
        library.section(url, text, anchor=name.lower().replace(" ", "-"), heading=(title, name))
        for name, text in NOTES[release]
    )
    return Page(url, title, tuple(sections))


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generation]:
    """The notes in "go"; in "others" a page that mentions releases and the collector, but is no notes."""
    folder = tmp_path_factory.mktemp("notes")
    with Store(folder) as store:
        for release in NOTES:
            library.put(store, notes(release), "go")
        text = "In Go 1.21 the garbage collector got better, says the heap. Collectors are gardeners."
        library.put(store, library.page("Go 1.21", text), "others")
        library.publish(store, EMBEDDER)
    made = generation.current(folder)
    assert made is not None
    with made:
        yield made


def answer(
    opened: Generation,
    question: str = SINCE,
    *,
    embedder: Embedder | None = EMBEDDER,
    chat: OpenAIChat | None = None,
    budget: int = 1000,
    scope: Scope = EVERYWHERE,
) -> Answer:
    pieces = list(ask(opened, embedder, chat, question, budget=Budget(budget), scope=scope))
    text, last = "".join(piece for piece in pieces if isinstance(piece, str)), pieces[-1]
    assert isinstance(last, Answer)
    assert text.strip() == last.text.strip()
    return last


def groups(made: Answer) -> list[str]:
    return re.findall(r"(?m)^Go (\d+\.\d+):$", made.text)


def check(opened: Generation, made: Answer) -> None:
    """Every line is cited, every quote is verbatim in the section that opens, and stands under its release."""
    release = ""
    cited = {each.n: each for each in made.citations}
    for line in made.text.splitlines():
        release = next(iter(re.findall(r"^Go (\d+\.\d+):$", line)), release)
        for n in re.findall(r"\[(\d+)\]$", line):
            assert cited[int(n)].url.endswith(f"/go{release}")
    assert {int(n) for n in re.findall(r"\[(\d+)\]", made.text)} == set(cited)
    for each in made.citations:
        assert any(each.anchor == part.anchor and each.quote in part.text for part in opened.sections(each.url))


@pytest.mark.parametrize("embedder", [EMBEDDER, None], ids=["hybrid", "lexical"])
def test_an_answer_goes_release_by_release_the_newest_first(opened: Generation, embedder: Embedder | None) -> None:
    made = answer(opened, embedder=embedder)
    assert groups(made) == ["1.21", "1.19"]
    assert "The runtime knows a soft memory limit. [" in made.text
    assert "Timers" not in made.text
    assert [each.link for each in made.citations] == [
        "https://go.dev/doc/go1.21#runtime",
        "https://go.dev/doc/go1.19#runtime",
    ]
    assert "The notes of Go 1.22 and 1.20 do not mention it." in made.text
    assert made.mode == ("hybrid" if embedder else "lexical")
    check(opened, made)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What changed about the garbage collector between Go 1.18 and Go 1.19?", ["1.19", "1.18"]),
        ("What is new in Go 1.19 for the GC?", ["1.19"]),
        ("What's new about the memory limit in the last four releases?", ["1.19"]),
        ("what changed about the GC before 1.19", ["1.18", "1.9"]),
        ("Which release added the memory limit?", ["1.19"]),
        ("What changed about the collector in the newest release?", ["1.22"]),
        ("latest memory limit changes", ["1.19"]),
    ],
)
def test_the_releases_are_those_that_were_asked_about(opened: Generation, question: str, expected: list[str]) -> None:
    made = answer(opened, question)
    assert groups(made) == expected
    check(opened, made)


@pytest.mark.parametrize("embedder", [EMBEDDER, None], ids=["hybrid", "lexical"])
def test_without_a_topic_every_section_of_the_notes_says_how_it_begins(
    opened: Generation, embedder: Embedder | None
) -> None:
    made = answer(opened, "What changed since Go 1.20?", embedder=embedder)
    assert made.text.splitlines() == [
        "Go 1.22:",
        "- It arrives in February, six months later. [1]",
        "- The green one is an experiment. [2]",
        "",
        "Go 1.21:",
        "- As a result of tuning of garbage collection, pauses are shorter. [3]",
        "- Umbrellas can be compared. [4]",
    ]
    assert made.confidence == 1
    check(opened, made)


def test_an_introduction_gives_way_to_what_changed(opened: Generation) -> None:
    made = answer(opened, "What is new in the latest release?", budget=70)
    assert made.text.splitlines() == ["Go 1.22:", "- The green one is an experiment. [1]"]


def test_an_overview_says_one_thing_where_there_is_no_room_for_any(opened: Generation) -> None:
    made = answer(opened, "What is new in Go 1.21?", budget=40)
    assert made.text.splitlines() == ["Go 1.21:", "- Umbrellas can be compared. [1]"]
    check(opened, made)


def test_notes_that_are_not_indexed_are_asked_for(opened: Generation) -> None:
    made = answer(opened, "What changed about the GC since Go 1.30?")
    assert groups(made) == []
    assert any("ragmacs crawl go-gc" in note for note in made.notes)
    elsewhere = answer(opened, scope=Scope(("others",)))
    assert groups(elsewhere) == []
    assert any("ragmacs crawl go-gc" in note for note in elsewhere.notes)


def test_notes_that_do_not_speak_of_it_are_named(opened: Generation) -> None:
    made = answer(opened, "What changed about gardeners since Go 1.18?")
    assert groups(made) == []
    assert "the notes of Go 1.22 to 1.19 do not mention 'gardeners'" in made.notes


@pytest.mark.parametrize("question", ["Which version introduced gardeners?", "latest gardeners changes"])
def test_a_question_for_a_release_of_something_else_is_answered_as_ever(opened: Generation, question: str) -> None:
    made = answer(opened, question)
    assert groups(made) == []
    assert not any("notes of" in note for note in made.notes)


def test_pages_that_are_left_out_are_not_quoted(opened: Generation) -> None:
    pages = tuple(each.page for each in opened.labels() if not each.url.endswith("1.21"))
    assert groups(answer(opened, scope=Scope((), pages))) == ["1.19"]


@pytest.mark.parametrize("budget", [100, 150, 1000])
def test_an_answer_by_release_is_at_most_three_times_as_long(opened: Generation, budget: int) -> None:
    made = answer(opened, "What changed about the garbage collector since Go 1.8?", budget=budget)
    assert len(made.text) <= 3 * budget + 100  # the line of those that do not mention it
    assert groups(made)
    check(opened, made)


def test_what_there_is_no_room_for_is_named(opened: Generation) -> None:
    made = answer(opened, "What changed about the garbage collector since Go 1.8?", budget=150)
    assert groups(made) == ["1.21"]
    assert any("no room for Go 1.19 to 1.18 and 1.9" in note for note in made.notes)


def test_an_llm_is_shown_the_passages_by_release_and_told_to_keep_to_that(opened: Generation) -> None:
    with scripted(says("Go 1.21: shorter pauses [1].\n\nGo 1.19: a limit [2], and [7].")) as server:
        made = answer(opened, chat=OpenAIChat(server.url, "tiny"))
        (request,) = server.requests
    prompt = str(request)
    assert prompt.index("/go1.21#runtime") < prompt.index("/go1.19#runtime")
    assert "release by release" in prompt
    assert "Toasters" not in prompt
    assert made.text == "Go 1.21: shorter pauses [1].\n\nGo 1.19: a limit [2], and."
    assert [each.url[-4:] for each in made.citations] == ["1.21", "1.19"]


def test_when_the_llm_fails_the_answer_is_quoted(opened: Generation) -> None:
    with scripted(refuses(500, "broken")) as server:
        made = answer(opened, chat=OpenAIChat(server.url, "tiny"))
    assert groups(made) == ["1.21", "1.19"]
    assert made.notes


def test_other_questions_are_answered_as_ever(opened: Generation) -> None:
    assert groups(answer(opened, "What is a soft memory limit?")) == []


# The notes of Go


@pytest.fixture(scope="module")
def real_notes(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The notes of Go 1.18 to 1.27, by their words alone."""
    environ = {"RAGMACS_HOME": str(tmp_path_factory.mktemp("go")), "RAGMACS_SEARCH_MODE": "lexical"}
    seeds = tuple(f"https://go.dev/doc/go1.{minor}" for minor in range(18, 28))
    with saved_site(shared) as origin, App(settings.load({**os.environ, **environ}), environ) as app:
        app.crawl(Source("notes", "Release notes", seeds, max_pages=20), mirror=[f"https://go.dev={origin}"])
        yield app


@pytest.mark.shared
@pytest.mark.slow
def test_what_changed_about_the_collector_since_go_1_18(real_notes: App) -> None:
    *_, made = real_notes.ask(SINCE)
    assert isinstance(made, Answer)
    assert groups(made) == ["1.27", "1.26", "1.25", "1.23", "1.22", "1.21", "1.20", "1.19"]
    links = [each.link.removeprefix("https://go.dev/doc/") for each in made.citations]
    told = ["go1.26#new-garbage-collector", "go1.25#new-experimental-garbage-collector", "go1.22#runtime"]
    told += ["go1.21#runtime-changes", "go1.19#runtime"]
    assert [link for link in links if link in told] == told
    assert "The runtime now includes support for a soft memory limit. [" in made.text
    assert "Go 1.24 do not mention it" in made.text
    check(real_notes.generation(), made)


@pytest.mark.shared
@pytest.mark.slow
def test_what_changed_in_a_release_is_told_from_all_its_notes(real_notes: App) -> None:
    *_, made = real_notes.ask("What changed since Go 1.24?")
    assert isinstance(made, Answer)
    assert groups(made) == ["1.27", "1.26", "1.25"]
    links = [each.link.removeprefix("https://go.dev/doc/") for each in made.citations]
    assert {"go1.27#language", "go1.26#new-garbage-collector", "go1.25#container-aware-gomaxprocs"} <= {*links}
    check(real_notes.generation(), made)


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize(
    ("question", "first"),
    [
        ("Which release added the memory limit?", "go1.19#runtime"),
        ("Which Go version introduced runtime.AddCleanup?", "go1.24#improved-finalizers"),
        (
            "When was the Green Tea garbage collector enabled by default, and what changed?",
            "go1.26#new-garbage-collector",
        ),
        ("What changed about profile-guided optimization in Go 1.21?", "go1.21#compiler"),
    ],
)
def test_the_release_that_did_it_comes_first(real_notes: App, question: str, first: str) -> None:
    *_, made = real_notes.ask(question)
    assert isinstance(made, Answer)
    assert made.citations[0].link == f"https://go.dev/doc/{first}"
    check(real_notes.generation(), made)
