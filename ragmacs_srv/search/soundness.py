"""Whether the store is what was written, and what can be saved of one that is not."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..errors import IndexCorrupt
from . import generation
from .store import CRAWL_DB, Store


def problems(folder: Path) -> list[str]:
    """Every damage in the store in FOLDER, a line each; an absent store is sound.

    Raises Busy while another process writes: only a store at rest can be judged.
    """
    if not (folder / CRAWL_DB).exists():
        return list(generation.problems(folder))
    try:
        with Store(folder) as store:
            return [*generation.problems(folder), *store.problems()]
    except IndexCorrupt as exc:
        return [*generation.problems(folder), exc.message]


def repair(folder: Path) -> list[str]:
    """Remove what is damaged and keep the rest; says what was done, a line each.

    Bad rows go with their pages, which the next crawl reads again. A crawl.db that is beyond that is set
    aside. Damaged generations go: they are made anew from crawl.db.
    """
    done = _repair_crawl_db(folder) if (folder / CRAWL_DB).exists() else []
    for path in generation.damaged(folder):
        shutil.rmtree(path)
        done.append(f"{path.name} was damaged and is gone")
    return done


def _repair_crawl_db(folder: Path) -> list[str]:
    try:
        with Store(folder) as store:
            if not store.structural_problems():
                rows = store.repair()
                return [f"{rows} damaged row(s) of crawl.db are gone"] if rows else []
    except IndexCorrupt:
        pass
    aside = folder / f"{CRAWL_DB}.damaged"
    (folder / CRAWL_DB).replace(aside)
    made = generation.newest_manifest(folder)
    again = " ".join(made.collections) if made else ""
    return [f"crawl.db could not be repaired and is now {aside.name}; crawl again: {again}".rstrip(": ")]
