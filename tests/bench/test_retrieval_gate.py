"""Retrieval must not fall below these bounds: over the handbook, which needs nothing else, and over real pages.

The questions about the handbook ship with us; those about real pages, and their scorer, stand beside the checkout.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli

# Two or three questions of 93 below what was measured; whoever gains much raises them.
HANDBOOK = {
    "lexical": "hit@5=0.82,mrr@10=0.635,ndcg@10=0.695,facts<4000c=0.84,auroc=0.64",
    "hybrid": "hit@5=0.895,mrr@10=0.74,ndcg@10=0.78,facts<4000c=0.895,auroc=0.74",
}
ANSWERS = "cited=0.91,facts=0.74,all facts=0.70"

BOUNDS = {
    "hybrid": {"hit@5": 0.86, "mrr@10": 0.69, "facts<4000c": 0.88},
    "lexical": {"hit@5": 0.70},
}
ALL_FACTS = 0.66  # of the questions have every key fact in an extractive answer of 1,000 characters


def real_pages(test: Callable[..., None]) -> Callable[..., None]:
    """Mark TEST as one that needs the saved pages, and minutes."""
    for mark in (pytest.mark.shared, pytest.mark.slow, pytest.mark.model, pytest.mark.timeout(1500)):
        test = mark(test)
    return test


@contextmanager
def saved_site(shared: Path) -> Iterator[str]:
    """The saved pages on a free loopback port; yields their origin."""
    command = [sys.executable, str(shared / "site" / "serve.py"), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def ragmacs(home: Path, *args: str) -> str:
    command = [sys.executable, "-m", "ragmacs_srv.cli", *args, "--home", str(home)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "RAGMACS_HOME": str(home)})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def handbook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty home: the first search indexes the handbook."""
    return tmp_path_factory.mktemp("handbook")


def test_words_alone_find_the_right_section_of_the_handbook(run: Cli) -> None:
    done = run("eval", "--fail-below", HANDBOOK["lexical"])
    assert done.code == 0, done.err


@pytest.mark.model
def test_the_right_section_of_the_handbook_is_on_top(handbook: Path) -> None:
    ragmacs(handbook, "eval", "--fail-below", HANDBOOK["hybrid"])


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_answers_from_the_handbook_hold_the_facts(handbook: Path) -> None:
    ragmacs(handbook, "eval", "--answers", "--fail-below", ANSWERS)


@pytest.fixture(scope="module")
def indexed(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with exactly the 129 pages that the questions were written for."""
    folder = tmp_path_factory.mktemp("retrieval")
    with saved_site(shared) as origin:
        listed = folder / "pages.txt"
        listed.write_text((shared / "bench" / "pages.txt").read_text().replace("http://127.0.0.1:8737", origin))
        ragmacs(folder, "crawl", "--from", str(listed), "--depth", "0", "--allow", origin)
    return folder


def scores(shared: Path, home: Path, *options: str, budgets: str = "2000,4000,8000") -> dict[str, Any]:
    """The report of the scorer for one run over the dev questions."""
    questions, run, report = shared / "bench" / "dev.jsonl", home / "run.jsonl", home / "report.json"
    ragmacs(home, "eval", "--questions", str(questions), "--run", str(run), *options)
    command = [sys.executable, str(shared / "bench" / "score.py"), "--bench", str(questions), "--run", str(run)]
    subprocess.run([*command, "--budgets", budgets, "--json", str(report)], check=True)
    found: dict[str, Any] = json.loads(report.read_text())
    return found


@real_pages
@pytest.mark.parametrize("mode", BOUNDS)
def test_the_right_section_is_on_top(shared: Path, indexed: Path, mode: str) -> None:
    found = scores(shared, indexed, "--mode", mode)["all"]
    assert {name: found[name][0] for name, least in BOUNDS[mode].items() if found[name][0] < least} == {}


@real_pages
def test_extractive_answers_hold_the_facts_and_quote_verbatim(shared: Path, indexed: Path) -> None:
    found = scores(shared, indexed, "--answers", budgets="1000")["per_question"].values()
    assert sum(each["facts<1000c"] == 1 for each in found) / len(found) >= ALL_FACTS
    lines = [json.loads(line) for line in (indexed / "run.jsonl").read_text().splitlines()]
    citations = [citation for line in lines for citation in line["citations"]]
    assert len(citations) > 100
    assert [line["id"] for line in lines if len(line["results"][0]["text"]) > 1000] == []
    texts = sections(indexed)
    assert [each["link"] for each in citations if each["quote"] not in texts[each["url"], each["anchor"]]] == []


def sections(home: Path) -> dict[tuple[str, str], str]:
    """The text under every anchor, as it is stored."""
    from ragmacs_srv.search.store import Store

    texts: dict[tuple[str, str], str] = {}
    with Store(home / "store") as store:
        for url in store.urls():
            for section in store.page(url).page.sections:
                texts[url, section.anchor] = texts.get((url, section.anchor), "") + "\n\n" + section.text
    return texts
