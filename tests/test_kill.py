"""kill -9 at any moment: the store stays sound, nothing committed is lost, the next run goes on."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ragmacs_srv.search import generation, soundness
from ragmacs_srv.search.store import Store
from tests import demo_site
from tests.servers import Answer, Visit, serve

KILLS = int(os.environ.get("KILLS", "25"))  # KILLS=100 for the long run


class Edition:
    """The demo site, every page of which says in its last paragraph which edition it is."""

    def __init__(self) -> None:
        self.number = 0

    def answer(self, visit: Visit) -> Answer:
        if visit.path == "/robots.txt":
            return Answer(status=404)
        note = f"<p>This is edition {self.number} of the page, newly written.</p></article>".encode()
        body = demo_site.page(visit.path).replace(b"</article>", note)
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        same = visit.headers.get("If-None-Match") == etag
        return Answer(status=304) if same else Answer(body, headers={"ETag": etag})


def killed_after(seconds: float, command: list[str]) -> bool:
    """Run COMMAND and kill its whole group after SECONDS; whether it was still running."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0)
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        return True
    finally:
        os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else None
        process.wait()


def committed(folder: Path) -> int:
    if not (folder / "crawl.db").exists():
        return 0
    with Store(folder) as store:
        return store.count()[0]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_kill_at_any_moment_loses_nothing_committed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGMACS_SEARCH_MODE", os.environ.get("KILL_MODE", "lexical"))
    longest = float(os.environ.get("KILL_SECONDS", "4"))
    chance, folder, edition = random.Random(20), home / "store", Edition()
    pages = kills = 0
    with serve(edition.answer) as site:
        command = [
            sys.executable,
            "-m",
            "ragmacs_srv.cli",
            "crawl",
            "go-gc",
            "--mirror",
            f"https://go.dev={site.origin}",
        ]
        while kills < KILLS:
            if killed_after(chance.uniform(0.3, longest), command):
                kills += 1
            else:
                edition.number += 1
            assert soundness.problems(folder) == []
            assert committed(folder) >= pages
            pages = committed(folder)
            if (opened := generation.current(folder)) is not None:
                opened.close()
        assert subprocess.run(command, capture_output=True).returncode == 0
    assert committed(folder) == len(generation.current(folder).pages("go-gc")) > 40  # type: ignore[union-attr]
    assert not list(folder.glob("*.tmp"))
