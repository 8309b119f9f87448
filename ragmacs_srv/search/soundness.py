"""Whether the store is what was written, and what can be saved of one that is not."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..errors import IndexCorrupt, IndexMismatch, StorageError
from . import generation
from .store import CRAWL_DB, Store, rebuild


def problems(folder: Path) -> list[str]:
    """Every damage in the store in FOLDER, a line each; an absent store is sound.

    Raises Busy while another process writes: only a store at rest can be judged.
    """
    if not (folder / CRAWL_DB).exists():
        return list(generation.problems(folder))
    try:
        with _at_rest(folder) as store:
            return [*generation.problems(folder), *store.problems()]
    except (IndexCorrupt, IndexMismatch) as exc:
        return [*generation.problems(folder), exc.message]


def _at_rest(folder: Path) -> Store:
    """The store in FOLDER, which need not be writable."""
    try:
        return Store(folder)
    except StorageError:
        return Store(folder, readonly=True)


def repair(folder: Path) -> list[str]:
    """Remove what is damaged and keep the rest; says what was done, a line each.

    Bad rows go with their pages, which the next crawl reads again. A crawl.db that no row can be read
    from is set aside. Damaged generations go: they are made anew from crawl.db. Raises IndexMismatch for
    a crawl.db of a newer ragmacs, which is left alone.
    """
    done = _repair_crawl_db(folder) if (folder / CRAWL_DB).exists() else []
    for path in generation.damaged(folder):
        shutil.rmtree(path)
        done.append(f"{path.name} was damaged and is gone")
    return done


def _repair_crawl_db(folder: Path) -> list[str]:
    try:
        with Store(folder) as store:
            if not any(store.problems()):
                return []
    except IndexCorrupt:
        pass
    if not rebuild(folder):
        return [_set_aside(folder)]
    with Store(folder) as store:
        store.drop_incomplete()
        return [f"crawl.db was damaged and is made anew: {store.count()[0]} page(s) were whole"]


def _set_aside(folder: Path) -> str:
    aside = folder / f"{CRAWL_DB}.damaged"
    (folder / CRAWL_DB).replace(aside)
    made = generation.newest_manifest(folder)
    again = " ".join(made.collections) if made else ""
    return f"crawl.db could not be repaired and is now {aside.name}; crawl again: {again}".rstrip(": ")
