"""A TOML or JSONL file becomes questions, each with the sections that answer it."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ..errors import InvalidParams
from ..ingest import sources
from ..settings import nearest

EXAMPLE = 'lines like {"id": "q1", "question": "…", "gold": [["/doc/x#y"]]}'


@dataclass(frozen=True, slots=True)
class Question:
    """`gold` has a group per part of the question; any section of a group answers that part.

    A section is `url#anchor`, or `/path#anchor` on whatever site; without `#` it is any section of the page.
    A fact is text that an answer must hold, or several separated by `|` of which one will do.
    No gold: nothing indexed answers it.
    """

    id: str
    text: str
    gold: tuple[tuple[str, ...], ...]
    facts: tuple[str, ...] = ()
    topic: str = ""


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """The questions of a file; their labels hold for a search in `collections`, or everywhere if there are none."""

    questions: tuple[Question, ...]
    collections: tuple[str, ...] = ()


def find(name: str) -> Path:
    """The file NAME, or the questions that ship with us under that name."""
    path, shipped = Path(name), sorted((sources.shipped() / "questions").glob("*.toml"))
    known = {each.stem: each for each in shipped}
    if path.exists() or path.name != name or path.suffix:
        return path
    if name not in known:
        raise InvalidParams(f"no questions {name!r}", hint=f"name a file; {nearest(name, list(known))}")
    return known[name]


def read(path: Path) -> QuestionSet:
    """The questions of a JSONL file, or of the [[question]] tables of a TOML file.

    Raises InvalidParams that names what is wrong, and where.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidParams(f"{path} cannot be read: {exc}", hint="name a JSONL or TOML file") from exc
    rows, collections = _toml(path, text) if path.suffix == ".toml" else (list(json_lines(path, text)), ())
    questions = tuple(_question(f"{path}, {where}", row) for where, row in rows)
    if not questions:
        raise InvalidParams(f"{path} holds no questions", hint=EXAMPLE)
    for name, count in Counter(each.id for each in questions).items():
        if count > 1:
            raise InvalidParams(f"{path}: {count} questions have the id {name!r}", hint="make every id another")
    return QuestionSet(questions, collections)


def answers(gold: str, url: str, anchor: str) -> bool:
    """Whether the section at URL and ANCHOR is the one that GOLD names."""
    page, mark, wanted = gold.partition("#")
    found = urlsplit(url).path if page.startswith("/") else url
    return found.rstrip("/") == page.rstrip("/") and (not mark or unquote(wanted) == unquote(anchor))


def json_lines(path: Path, text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(where, object) of every line of TEXT that is not blank; raises InvalidParams for one that is none."""
    for n, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as exc:
            raise InvalidParams(f"{path}, line {n} is not JSON: {exc}", hint="one object per line") from exc
        if not isinstance(row, dict):
            raise InvalidParams(f"{path}, line {n} is not a JSON object", hint=EXAMPLE)
        yield f"line {n}", row


def _toml(path: Path, text: str) -> tuple[list[tuple[str, Mapping[str, Any]]], tuple[str, ...]]:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise InvalidParams(f"{path}: {exc}", hint="correct the file") from exc
    rows, collections = table.get("question", []), table.get("collections", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InvalidParams(f"{path}: question is no list of tables", hint="write [[question]] above each")
    return [(f"question {n}", row) for n, row in enumerate(rows, 1)], _texts(f"{path}", "collections", collections)


def _question(where: str, row: Mapping[str, Any]) -> Question:
    text = row.get("question")
    if not isinstance(text, str) or not text.strip():
        raise InvalidParams(f"{where} has no question", hint=EXAMPLE)
    gold = row.get("gold", [])
    if not isinstance(gold, list):
        raise InvalidParams(f"{where}: gold = {gold!r}", hint=f"a list of sections, or of groups of them: {EXAMPLE}")
    groups = tuple(_texts(where, "gold", group if isinstance(group, list) else [group]) for group in gold)
    for section in (section for group in groups for section in group):
        if not section.startswith("/") and not urlsplit(section).scheme:
            raise InvalidParams(f"{where}: gold {section!r} is no section", hint="url#anchor or /path#anchor")
    facts = _texts(where, "facts", row.get("facts", []))
    topic = str(row.get("topic") or row.get("collection") or "")
    return Question(str(row.get("id") or text), text, tuple(filter(None, groups)), facts, topic)


def _texts(where: str, key: str, raw: object) -> tuple[str, ...]:
    if not isinstance(raw, list) or not all(isinstance(item, str) and item for item in raw):
        raise InvalidParams(f"{where}: {key} = {raw!r}", hint=f"{key} must be a list of strings")
    return tuple(raw)
