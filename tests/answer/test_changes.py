"""What a question wants to know of releases, and what is none of such questions."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragmacs_srv.answer.changes import FEW, FIRST, LAST, asked
from ragmacs_srv.ingest import sources

GC, LIMIT = "garbage collector", "memory limit"
ASKED: list[tuple[str, str, dict[str, object]]] = [
    ("What changed about the GC since Go 1.18?", GC, {"first": (1, 19)}),
    ("what has changed about the garbage collector since 1.18", GC, {"first": (1, 19)}),
    ("What's new in garbage collection after go1.18.3", GC, {"first": (1, 19)}),
    ("What changed in the GC between Go 1.20 and 1.22?", GC, {"first": (1, 20), "last": (1, 22)}),
    ("GC improvements in Go 1.19 through Go 1.21", GC, {"first": (1, 19), "last": (1, 21)}),
    ("What changed from 1.20 to 1.22 for the memory limit?", LIMIT, {"first": (1, 21), "last": (1, 22)}),
    ("What is new in Go 1.19 for the GC?", GC, {"first": (1, 19), "last": (1, 19)}),
    ("changes to sync.Pool from Go 1.13 onwards", "sync.Pool", {"first": (1, 13)}),
    ("changes to sync.Pool in 1.13 and later", "sync.Pool", {"first": (1, 13)}),
    ("history of the scheduler before Go 1.14", "scheduler", {"last": (1, 13)}),
    ("How did GC pauses change up to Go 1.8?", f"{GC} pauses", {"last": (1, 8)}),
    ("What's new in the last releases for the garbage collector?", GC, {"newest": FEW}),
    ("What is new for GOGC in the last three Go releases?", "GOGC", {"newest": 3}),
    ("What changed about escape analysis in the latest release?", "escape analysis", {"newest": 1}),
    ("latest GC changes", GC, {"newest": FEW}),
    ("What are the most recent improvements to the garbage collector?", GC, {"newest": FEW}),
    ("What did Go 1.21 change about the GC?", GC, {"first": (1, 21), "last": (1, 21)}),
    ("What does Go 1.26 bring?", "", {"first": (1, 26), "last": (1, 26)}),
    ("What changed since Go 1.24?", "", {"first": (1, 25)}),
    ("What's new in Go 1.26?", "", {"first": (1, 26), "last": (1, 26)}),
    ("What is new in the last two releases?", "", {"newest": 2}),
    ("which release added the memory limit?", LIMIT, {"which": True}),
    ("Which Go version introduced runtime.AddCleanup?", "runtime.AddCleanup", {"which": True}),
    ("since which version does Go have a memory limit", LIMIT, {"which": True}),
    ("When was the memory limit added?", LIMIT, {"which": True}),
    ("Was hat sich seit Go 1.18 am GC geändert?", GC, {"first": (1, 19)}),
]


@pytest.mark.parametrize(("question", "topic", "wanted"), ASKED, ids=[question for question, _, _ in ASKED])
def test_a_question_of_releases_is_understood(question: str, topic: str, wanted: dict[str, object]) -> None:
    found = asked(question)
    assert found is not None
    assert found.topic.text == topic
    bounds = {"first": found.first, "last": found.last, "newest": found.newest, "which": found.which}
    assert bounds == {"first": FIRST, "last": LAST, "newest": 0, "which": False, **wanted}


@pytest.mark.parametrize(
    "question",
    [
        "What does GOGC do?",
        "typical GC pause in Go 1.8",
        "does append still hit the allocator for tiny slices in Go 1.26?",
        "why does my finalizer run before the function returned since 1.8",
        "Why did memory grow since Go 1.19 changed the GC?",
        "CPU overhead of execution tracing before and after 1.21",
        "What made the scanning of small objects quicker in Go 1.26?",
        "What changed when I use 1.5 GB of memory?",
        "What changed in headscale since 0.28?",
        "Does Go 1.21 change the pacer?",
        "What's new in version 0.28?",  # of something else
        "Which version changed?",
        "When was it introduced?",
        "How do I add a memory limit in Go 1.19?",
        "latest changes",
        "latest value of GOGC that changes nothing",
        "the last GC cycle changes the heap goal",
        "run the latest binary after changes to the config",
        "",
    ],
)
def test_other_questions_are_left_alone(question: str) -> None:
    assert asked(question) is None


def test_no_question_about_the_handbook_is_one_of_releases() -> None:
    questions = tomllib.loads((sources.shipped() / "questions" / "handbook.toml").read_text())["question"]
    assert [each["question"] for each in questions if asked(each["question"])] == []


@pytest.mark.shared
def test_hardly_a_question_that_retrieval_is_measured_with_is_one_of_releases(shared: Path) -> None:
    lines = [line for name in ("dev", "dev2") for line in (shared / "bench" / f"{name}.jsonl").read_text().splitlines()]
    found = [each["id"] for each in map(json.loads, lines) if asked(each["question"])]
    assert found == ["e028"]  # "…, fixed in which release"


def test_the_names_of_a_thing_find_each_other() -> None:
    found = asked("What changed about the GC since Go 1.18?")
    assert found is not None
    rarity = {GC: 2.0}
    assert found.topic.covered({"garbag", "collector", "faster"}, rarity) == 1
    assert found.topic.covered({"gc", "worker"}, rarity) == 1
    assert found.topic.covered({"memory", "limit", "soft"}, rarity) == 1
    assert found.topic.covered({"garbag", "truck"}, rarity) == 0


def test_releases_are_compared_as_numbers_and_the_newest_come_first() -> None:
    found = asked("What changed about the GC since Go 1.8?")
    last = asked("What changed about the GC in the last two releases?")
    assert found is not None
    assert last is not None
    assert found.about([(1, 8), (1, 9), (1, 10), (1, 2), (1, 10)]) == [(1, 10), (1, 9)]
    assert last.about([(1, 8), (1, 9), (1, 10)]) == [(1, 10), (1, 9)]


@given(st.text(max_size=200))
def test_any_text_is_understood_or_left_alone(text: str) -> None:
    found = asked(text)
    assert found is None or found.topic.text or not found.which


@pytest.mark.timeout(20)
@pytest.mark.parametrize("part", ["since Go 1.1", "between 1.1 and ", "what's new ", "1.18", "in the last ", "- "])
def test_a_long_question_takes_linear_time(part: str) -> None:
    asked("what changed " + part * (4000 // len(part)))
