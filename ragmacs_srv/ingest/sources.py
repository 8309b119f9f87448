"""Collection files become Sources: the user's own first, then those that ship with us."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from dataclasses import fields
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import AddressRefused, InvalidParams, SettingsError
from ..model import Source
from ..settings import nearest, read_toml
from . import kinds

KEYS = tuple(item.name for item in fields(Source))
HANDBOOK = "handbook"  # the collection that ships as text; see ingest/kinds/handbook.py


def shipped() -> Path:
    """The folder `index/`: inside the installed package, or beside it in a checkout."""
    packaged = Path(str(resources.files("ragmacs_srv"))) / "index"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[2] / "index"


def files(own: Path) -> dict[str, Path]:
    """Collection name to file; a file of the user's hides the shipped one of that name."""
    found = {path.stem: path for path in sorted((shipped() / "sources").glob("*.toml"))}
    found |= {path.stem: path for path in sorted(own.glob("*.toml"))}
    return dict(sorted(found.items()))


def load(name: str, own: Path) -> Source:
    """The collection NAME; raises InvalidParams if there is none, SettingsError if its file is wrong."""
    known = files(own)
    if name not in known:
        raise InvalidParams(f"no collection {name!r}", hint=nearest(name, list(known)))
    return read(known[name])


def read(path: Path) -> Source:
    """The Source that a TOML file describes."""
    table = read_toml(path)
    for key in table:
        if key not in KEYS:
            raise SettingsError(f"{path}: unknown key {key!r}", hint=nearest(key, KEYS))
    table.setdefault("name", path.stem)
    table.setdefault("title", path.stem)
    if table["name"] != path.stem:
        raise SettingsError(f"{path}: name = {table['name']!r}", hint=f"rename the file to {table['name']}.toml")
    values: dict[str, Any] = {key: _value(path, key, raw) for key, raw in table.items()}
    return Source(**values | {"seeds": _seeds(path, table)})


def in_scope(source: Source, url: str) -> str:
    """Why SOURCE does not want URL, or "" when it does."""
    for pattern in source.deny:
        if fnmatch.fnmatchcase(url, pattern):
            return f"denied by {pattern}"
    seeds, folders = _scope(source.seeds)
    patterns = source.allow or folders
    if url in seeds or any(fnmatch.fnmatchcase(url, pattern) for pattern in patterns):
        return ""
    return "outside the collection"


@lru_cache(maxsize=8)  # it is asked for every link
def _scope(seeds: tuple[str, ...]) -> tuple[frozenset[str], tuple[str, ...]]:
    """The identities of SEEDS, and globs of the folders that they stand in."""
    known = dict.fromkeys(map(_identity, seeds))
    return frozenset({*seeds, *known}), tuple(_folder(seed) + "*" for seed in known)


def _identity(seed: str) -> str:
    try:
        return kinds.canonical(seed)
    except AddressRefused:  # which is told when it is to be read
        return seed


def _folder(seed: str) -> str:
    scheme, slashes, rest = seed.partition("://")
    if not slashes:  # info:elisp
        return seed.partition(":")[0] + ":"
    return f"{scheme}://{rest.rpartition('/')[0]}/" if "/" in rest else f"{scheme}://{rest}/"


def _seeds(path: Path, table: dict[str, Any]) -> tuple[str, ...]:
    seeds = table.get("seeds")
    if not isinstance(seeds, list) or not seeds or not all(isinstance(seed, str) for seed in seeds):
        raise SettingsError(
            f"{path}: seeds must be a list of addresses", hint='seeds = ["https://go.dev/doc/gc-guide"]'
        )
    return tuple(seeds)


def _value(path: Path, key: str, raw: object) -> object:
    """RAW checked against the type of Source's field KEY."""
    if key in {"allow", "deny", "seeds"}:
        return tuple(_texts(path, key, raw))
    wanted = int if key in {"depth", "max_pages"} else str
    if not isinstance(raw, wanted) or isinstance(raw, bool):
        raise SettingsError(f"{path}: {key} = {raw!r}", hint=f"{key} must be a {wanted.__name__}")
    if isinstance(raw, int) and raw < 0:
        raise SettingsError(f"{path}: {key} = {raw!r}", hint=f"{key} must be zero or more")
    return raw


def _texts(path: Path, key: str, raw: object) -> Iterator[str]:
    if not isinstance(raw, list) or not all(isinstance(item, str) for item in raw):
        raise SettingsError(f"{path}: {key} = {raw!r}", hint=f"{key} must be a list of strings")
    yield from raw
