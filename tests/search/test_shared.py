"""Generations read at once: opened once, alive while anybody reads, closed behind the last reader of an old one."""

from __future__ import annotations

import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ragmacs_srv.search.shared import Shared
from ragmacs_srv.search.store import Store
from tests.search.library import build, publish, put, written


def grow(folder: Path, name: str) -> None:
    """Publish one page more."""
    with Store(folder) as store:
        put(store, written(name))
        publish(store)


def test_all_readers_share_one_and_it_stays_open_between_them(tmp_path: Path) -> None:
    build(tmp_path)
    shared = Shared()
    first, second = shared.open(tmp_path), shared.open(tmp_path)
    assert first is second is not None
    shared.release(first)
    shared.release(second)
    assert shared.open(tmp_path) is first
    shared.release(first)
    shared.close()


def test_an_old_one_is_readable_until_its_last_reader_goes(tmp_path: Path) -> None:
    build(tmp_path)
    shared = Shared()
    old = shared.open(tmp_path)
    assert old is not None
    grow(tmp_path, "late")
    new = shared.open(tmp_path)
    assert new is not None and new.manifest.number > old.manifest.number
    assert old.lexical(["heap"], 3)
    assert old.folder.is_dir()
    shared.release(old)
    with pytest.raises(sqlite3.ProgrammingError):
        old._idle[0].execute("SELECT 1")
    assert new.lexical(["heap"], 3)
    shared.release(new)
    shared.close()


def test_one_that_was_put_in_the_place_of_another_is_read_although_it_has_its_number(tmp_path: Path) -> None:
    """As when a store is deleted and made anew: numbers begin again, and answers came from what was gone."""
    build(tmp_path / "store")
    shared = Shared()
    old = shared.open(tmp_path / "store")
    assert old is not None
    shutil.rmtree(tmp_path / "store")
    assert shared.open(tmp_path / "store") is None
    grow(tmp_path / "store", "late")
    new = shared.open(tmp_path / "store")
    assert new is not None and new.folder == old.folder
    assert new.manifest.revision != old.manifest.revision
    assert old.lexical(["heap"], 3)
    shared.release(old)
    with pytest.raises(sqlite3.ProgrammingError):
        old._idle[0].execute("SELECT 1")
    shared.release(new)
    assert shared.open(tmp_path / "store") is new
    shared.release(new)
    shared.close()


def test_nothing_published_is_nothing_to_open(tmp_path: Path) -> None:
    assert Shared().open(tmp_path) is None


def test_threads_read_while_newer_ones_are_published(tmp_path: Path) -> None:
    build(tmp_path)
    shared = Shared()

    def read(_: int) -> tuple[int, int]:
        opened = shared.open(tmp_path)
        assert opened is not None
        try:
            found = opened.hits(opened.lexical(["heap", "limit"], 5))
            return opened.manifest.number, len(found)
        finally:
            shared.release(opened)

    with ThreadPoolExecutor(8) as pool:
        reading = [pool.submit(read, n) for n in range(100)]
        for name in ("a", "b", "c"):
            grow(tmp_path, name)
        reading += [pool.submit(read, n) for n in range(100)]
        results = [each.result() for each in reading]
    assert all(found for _, found in results)
    assert max(number for number, _ in results) == 4
    shared.close()
