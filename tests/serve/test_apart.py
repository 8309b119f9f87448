"""Indexing is done by a process of its own, which its client can neither tell nor lose."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ragmacs_srv.errors import Cancelled, RagmacsError
from ragmacs_srv.events import Cancel, Progress, ignore
from ragmacs_srv.search import soundness
from ragmacs_srv.search.database import writer
from ragmacs_srv.search.store import Store
from ragmacs_srv.serve.apart import Apart
from tests.servers import Answer, Site, Visit, serve

pytestmark = pytest.mark.slow


@pytest.fixture
def apart(home: Path) -> Apart:
    return Apart({**os.environ, "RAGMACS_HOME": str(home), "RAGMACS_SEARCH_MODE": "lexical"})


@pytest.fixture
def pages() -> Iterator[Site]:
    """A page that says something, and one that never ends."""

    def answer(visit: Visit) -> Answer | bytes | None:
        if visit.path == "/endless":
            visit.hang()
            return None
        if visit.path == "/robots.txt":
            return Answer(status=404)
        return b"<article><h1>Heap</h1><p>%b</p></article>" % (b"The collector marks what is alive. " * 20)

    with serve(answer) as site:
        yield site


def params(site: Site, *paths: str) -> Mapping[str, Any]:
    return {"targets": [site.origin + each for each in paths], "name": "site", "depth": 0, "allow": [site.origin]}


def test_it_tells_its_progress_its_result_and_its_failure(apart: Apart, pages: Site, home: Path) -> None:
    told: list[Progress] = []
    done = apart.call("index/crawl", params(pages, "/heap"), sink=told.append, cancel=Cancel())
    assert done["crawls"][0]["outcomes"] == {"new": 1}
    assert {each.job for each in told} == {"list site", "crawl site"}
    with Store(home / "store") as store:
        assert store.urls() == [f"{pages.origin}/heap"]
    with pytest.raises(RagmacsError, match="never crawled") as failed:
        apart.call("index/update", {"collection": "nope"}, sink=ignore, cancel=Cancel())
    assert (failed.value.code, failed.value.hint, failed.value.data) == (
        -32010,
        "ragmacs collections lists the names",
        {"exit_code": 3},
    )


def test_what_is_cancelled_ends_and_keeps_what_it_has(apart: Apart, pages: Site, home: Path) -> None:
    cancel = Cancel()

    def tell(progress: Progress) -> None:
        if progress.job == "crawl site" and progress.message.endswith("/endless"):
            cancel.cancel()

    with pytest.raises(Cancelled):
        apart.call("index/crawl", params(pages, "/heap", "/endless"), sink=tell, cancel=cancel)
    assert not writer(home / "store")
    assert soundness.problems(home / "store") == []
    with Store(home / "store") as store:
        assert store.urls() == [f"{pages.origin}/heap"]


def test_a_process_that_is_killed_is_a_failure_that_says_so(apart: Apart, pages: Site, home: Path) -> None:
    def tell(progress: Progress) -> None:
        if progress.job == "crawl site" and progress.message.endswith("/endless"):
            os.kill(writer(home / "store"), signal.SIGKILL)

    with pytest.raises(RagmacsError, match="the process that did index/crawl ended with -9"):
        apart.call("index/crawl", params(pages, "/endless"), sink=tell, cancel=Cancel())
