"""Collection files become Sources, and a Source such a file: the user's own first, then those that ship with us."""

from __future__ import annotations

import fnmatch
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import fields
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import AddressRefused, InvalidParams, SettingsError, StorageError
from ..model import HEAVIEST, Source
from ..settings import nearest, read_toml
from . import kinds

KEYS = tuple(item.name for item in fields(Source))
HANDBOOK = "handbook"  # the collection that ships as text; see ingest/kinds/handbook.py


@cache
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


def weight(name: str, own: Path) -> float:
    """What the file of the collection NAME says that it weighs; 1 without a file that can be read."""
    for path in (own / f"{name}.toml", shipped() / "sources" / f"{name}.toml"):
        with suppress(FileNotFoundError):
            changed = path.stat().st_mtime_ns
            try:
                return _weight(path, changed)
            except SettingsError:  # whoever crawls it is told
                break
    return 1.0


@cache  # a search asks for it
def _weight(path: Path, changed: int) -> float:
    return read(path).weight


def in_scope(source: Source, url: str) -> str:
    """Why SOURCE does not want URL, or "" when it does."""
    for pattern in source.deny:
        if fnmatch.fnmatchcase(url, pattern):
            return f"denied by {pattern}"
    if url in _scope(source.seeds)[0] or any(fnmatch.fnmatchcase(url, pattern) for pattern in scope(source)):
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


def scope(source: Source) -> tuple[str, ...]:
    """The globs of what SOURCE wants besides its seeds."""
    return source.allow or _scope(source.seeds)[1]


def text(source: Source) -> str:
    """The collection file of SOURCE, as a person would like to find it."""
    lines = [
        "# Written by `ragmacs add`. Change it as you like: `ragmacs update` goes by what stands here.",
        "# Another name is another name of this file. Further keys: allow and deny, globs over whole addresses.",
        f"title = {_quoted(source.title)}",
        *([f"licence = {_quoted(source.licence)}"] if source.licence else []),
        *(_list(key, getattr(source, key)) for key in ("seeds", "allow", "deny") if getattr(source, key)),
        f"depth = {source.depth}  # links away from a seed",
        f"max_pages = {source.max_pages}",
    ]
    return "\n".join(lines) + "\n"


def write(source: Source, own: Path) -> Path:
    """Make SOURCE a file of the folder OWN, whole or not at all; raises InvalidParams where there is one."""
    path = own / f"{source.name}.toml"
    try:
        own.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=own, suffix=".new") as aside:
            aside.write(text(source))
            aside.flush()
            os.fsync(aside.fileno())
            Path(aside.name).chmod(0o644)
            os.link(aside.name, path)  # unlike a rename, it replaces nothing
    except FileExistsError as exc:
        raise InvalidParams(f"{path} is there already", hint=f"ragmacs crawl {source.name}, or --name") from exc
    except OSError as exc:
        raise StorageError(f"{path} cannot be written: {exc.strerror}", hint="check the folder and the disk") from exc
    return path


def discard(name: str, own: Path) -> tuple[Path, bool]:
    """Delete the file of the collection NAME in OWN if it is as `write` makes it: its path, and whether it went."""
    path = own / f"{name}.toml"
    with suppress(SettingsError, OSError):
        if path.read_text("utf-8") == text(read(path)):
            path.unlink()
            return path, True
    return path, False


def _list(key: str, values: Iterable[str]) -> str:
    return "\n".join([f"{key} = [", *(f"  {_quoted(each)}," for each in values), "]"])


def _quoted(value: str) -> str:
    """VALUE as a TOML string: JSON's, but for DEL, and without halves of characters."""
    clean = value.encode("utf-8", "replace").decode()
    return json.dumps(clean, ensure_ascii=False).replace("\x7f", "\\u007f")


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
    if key == "weight":
        return _weighs(path, raw)
    wanted = int if key in {"depth", "max_pages"} else str
    if not isinstance(raw, wanted) or isinstance(raw, bool):
        raise SettingsError(f"{path}: {key} = {raw!r}", hint=f"{key} must be a {wanted.__name__}")
    if isinstance(raw, int) and raw < 0:
        raise SettingsError(f"{path}: {key} = {raw!r}", hint=f"{key} must be zero or more")
    return raw


def _weighs(path: Path, raw: object) -> float:
    if not isinstance(raw, int | float) or isinstance(raw, bool) or not 0 < raw <= HEAVIEST:
        hint = f"weight must be a number above 0, and at most {HEAVIEST:g}"
        raise SettingsError(f"{path}: weight = {raw!r}", hint=hint)
    return float(raw)


def _texts(path: Path, key: str, raw: object) -> Iterator[str]:
    if not isinstance(raw, list) or not all(isinstance(item, str) for item in raw):
        raise SettingsError(f"{path}: {key} = {raw!r}", hint=f"{key} must be a list of strings")
    yield from raw
