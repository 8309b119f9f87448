from __future__ import annotations

import os
from pathlib import Path

import pytest

from ragmacs_srv import pipeline
from ragmacs_srv.errors import IngestError, InvalidParams, SettingsError
from ragmacs_srv.events import Cancel
from ragmacs_srv.ingest import sources
from ragmacs_srv.ingest.kinds import handbook
from ragmacs_srv.model import Source


def own(tmp_path: Path, name: str, text: str) -> Path:
    (tmp_path / f"{name}.toml").write_text(text)
    return tmp_path


@pytest.mark.parametrize("path", sorted((sources.shipped() / "sources").glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_collections_are_sound(path: Path) -> None:
    source = sources.read(path)
    assert source.title != source.name
    assert source.licence
    assert len(source.seeds) <= source.max_pages
    assert not [seed for seed in source.seeds if sources.in_scope(source, seed)]
    planned = dict(pipeline.plan(source))
    assert len(planned) == len(source.seeds)
    assert not any(planned.values())  # nothing is refused


def test_a_collection_of_the_users_hides_the_shipped_one(tmp_path: Path) -> None:
    own(tmp_path, "go-gc", 'seeds = ["https://example.com/"]')
    assert sources.load("go-gc", tmp_path).seeds == ("https://example.com/",)


def test_a_collection_weighs_what_its_file_says_now(tmp_path: Path) -> None:
    assert sources.weight("mine", tmp_path) == sources.weight("go-gc", tmp_path) == 1
    own(tmp_path, "mine", "seeds = ['https://x.test/']\nweight = 2")
    assert sources.weight("mine", tmp_path) == 2
    path = own(tmp_path, "mine", "seeds = ['https://x.test/']\nweight = 0.5") / "mine.toml"
    os.utime(path, ns=(1, 1))
    assert sources.weight("mine", tmp_path) == 0.5
    os.utime(own(tmp_path, "mine", "seeds = [") / "mine.toml", ns=(2, 2))
    assert sources.weight("mine", tmp_path) == 1


def test_an_unknown_collection_offers_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InvalidParams) as caught:
        sources.load("go-cg", tmp_path)
    assert "go-gc" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('seed = ["https://x.test/"]', "unknown key 'seed'"),
        ("title = 'x'", "seeds"),
        ("seeds = []", "seeds"),
        ("seeds = ['https://x.test/']\ndepth = 'two'", "depth"),
        ("seeds = ['https://x.test/']\nmax_pages = -1", "max_pages"),
        ("seeds = ['https://x.test/']\nname = 'other'", "name"),
        ("seeds = ['https://x.test/']\nallow = 'https://x.test/*'", "allow"),
        ("seeds = ['https://x.test/']\nweight = 0", "weight"),
        ("seeds = ['https://x.test/']\nweight = true", "weight"),
        ("seeds = ['https://x.test/']\nweight = inf", "weight"),
        (f"seeds = ['https://x.test/']\nweight = 1{'0' * 400}", "weight"),
        ("seeds = ['https://x.test/']\nweight = '2'", "weight"),
        ("seeds = [", "mine.toml"),
    ],
)
def test_a_wrong_collection_file_is_named_with_what_is_wrong(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        sources.load("mine", own(tmp_path, "mine", text))
    assert "mine.toml" in caught.value.message
    assert says in caught.value.message


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://x.test/doc/guide", True),
        ("https://x.test/doc/deep/page", True),
        ("https://x.test/blog/post", False),
        ("https://y.test/doc/guide", False),
    ],
)
def test_without_allow_the_folders_of_the_seeds_are_in_scope(url: str, wanted: bool) -> None:
    source = Source("s", "s", ("https://x.test/doc/index",))
    assert (sources.in_scope(source, url) == "") is wanted


def test_deny_wins_over_allow_and_seeds() -> None:
    source = Source("s", "s", ("https://x.test/a",), allow=("https://x.test/*",), deny=("*/a",))
    assert sources.in_scope(source, "https://x.test/a") == "denied by */a"
    assert sources.in_scope(source, "https://x.test/b") == ""


def test_every_handbook_page_is_a_markdown_response() -> None:
    pages = list(handbook.responses())
    assert [page.url for page in pages] == list(handbook.source().seeds)
    assert all(page.media_type == "text/markdown" and page.body.startswith(b"# ") for page in pages)


@pytest.mark.parametrize("name", ["no-such-page", "../sources/go-gc", "/etc/passwd", ""])
def test_only_pages_of_the_handbook_can_be_named(name: str) -> None:
    with pytest.raises(IngestError):
        handbook.read(f"handbook:{name}", None, Cancel())
