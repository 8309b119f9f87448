"""What an LLM wrote is kept until the page, the settings or the model change."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ragmacs_srv.answer import kept
from ragmacs_srv.answer.kept import Kept
from ragmacs_srv.answer.summarize import Point, Summary
from ragmacs_srv.app import App
from ragmacs_srv.model import Page
from ragmacs_srv.settings import load
from tests.llm_server import Reply, Request, Server, delta, refuses, says, scripted
from tests.search import library

URL = "https://go.example/doc/page"
PAGE = Page(URL, "Page", (library.section(URL, "The limit is soft.", anchor="limit", heading=("Page", "Limit")),))
MADE = Summary(URL, "Page", (Point("The limit is soft.", f"{URL}#limit"),), False, "tiny", ("a note",), "tldr")


@pytest.fixture
def server() -> Iterator[Server]:
    with scripted(answer=lambda _: says("The limit is soft [1].\n")) as server:
        yield server


def summary(home: Path, server: Server, page: Page = PAGE, model: str = "tiny", **options: object) -> Summary:
    environ = {"RAGMACS_HOME": str(home), "RAGMACS_LLM_BASE_URL": server.url, "RAGMACS_LLM_MODEL": model}
    with App(load(environ), environ) as app:
        *points, last = app.summarize(page.url, page=page, **options)  # type: ignore[arg-type]
    assert isinstance(last, Summary)
    assert tuple(points) == last.points
    return last


def test_a_kept_summary_is_the_same_and_says_that_it_was_kept(tmp_path: Path) -> None:
    Kept(tmp_path).put("key", MADE)
    assert Kept(tmp_path).get("key") == replace(MADE, from_cache=True)
    assert Kept(tmp_path).get("other") is None


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"points": 1}', b"\xff"])
def test_a_damaged_file_is_as_none(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "key.json").write_bytes(body)
    assert Kept(tmp_path).get("key") is None


def test_the_oldest_go_when_there_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MOST", 2)
    summaries = Kept(tmp_path)
    for n, name in enumerate(("a", "b")):
        summaries.put(name, MADE)
        os.utime(tmp_path / f"{name}.json", (n, n))
    assert summaries.get("a")  # asked for: now the youngest
    summaries.put("c", MADE)
    assert [name for name in "abc" if summaries.get(name)] == ["a", "c"]


def test_a_disk_that_takes_nothing_costs_no_summary(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    Kept(tmp_path / "file").put("key", MADE)


def test_nobody_pays_for_a_summary_twice(tmp_path: Path, server: Server) -> None:
    first = summary(tmp_path, server)
    again = summary(tmp_path, server)
    assert len(server.requests) == 1
    assert again == replace(first, from_cache=True)
    assert not first.from_cache


@pytest.mark.parametrize(
    "change",
    [
        {"page": replace(PAGE, sections=(replace(PAGE.sections[0], text="The limit is hard now."),))},
        {"model": "large"},
        {"length": 40},
        {"style": "tldr"},
        {"language": "French"},
        {"refresh": True},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_it_depends_on_has_it_written_again(tmp_path: Path, server: Server, change: dict[str, object]) -> None:
    summary(tmp_path, server)
    summary(tmp_path, server, **change)  # type: ignore[arg-type]
    assert len(server.requests) == 2


@pytest.mark.parametrize("reply", [refuses(400, "no"), Reply([delta("The limit is soft [1].\nand")])])
def test_what_went_wrong_is_not_kept(tmp_path: Path, reply: Reply) -> None:
    replies = [reply]

    def answer(_: Request) -> Reply:
        return replies.pop() if replies else says("The limit is soft [1].\n")

    with scripted(answer=answer) as server:
        summary(tmp_path, server)
        assert summary(tmp_path, server).notes == ()
        assert len(server.requests) == 2
