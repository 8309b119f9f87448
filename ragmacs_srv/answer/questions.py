"""A TOML or JSONL file becomes questions, each with the sections that answer it."""

from __future__ import annotations

import json
import re
import reprlib
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

LONGEST = 4000  # characters of a question
HALVES = re.compile("[\ud800-\udfff]")  # of a character: JSON can carry them, UTF-8 cannot
MARKS = re.compile(r"[`*]+")
PLAIN = str.maketrans({"–": "-", "—": "-", "’": "'", "‘": "'", "“": '"', "”": '"', "\u00a0": " "})
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
            raise InvalidParams(f"{path}: {count} questions have the id {shown(name)}", hint="make every id another")
    return QuestionSet(questions, collections)


def answers(gold: str, url: str, anchor: str) -> bool:
    """Whether the section at URL and ANCHOR is the one that GOLD names."""
    page, mark, wanted = gold.partition("#")
    found = urlsplit(url).path if page.startswith("/") else url
    return found.rstrip("/") == page.rstrip("/") and (not mark or unquote(wanted) == unquote(anchor))


def json_lines(path: Path, text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(where, object) of every line of TEXT that is not blank; raises InvalidParams for one that is none."""
    for n, line in enumerate(text.split("\n"), 1):  # not splitlines: JSON may hold U+2028 and the like as they are
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as exc:
            raise InvalidParams(f"{path}, line {n} is not JSON: {exc}", hint="one object per line") from exc
        if not isinstance(row, dict):
            raise InvalidParams(f"{path}, line {n} is not a JSON object", hint=EXAMPLE)
        yield f"line {n}", row


def _toml(path: Path, text: str) -> tuple[list[tuple[str, Mapping[str, Any]]], tuple[str, ...]]:
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as exc:  # TOMLDecodeError, or a number of too many digits
        raise InvalidParams(f"{path}: {exc}", hint="correct the file") from exc
    rows, collections = table.get("question", []), table.get("collections", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InvalidParams(f"{path}: question is no list of tables", hint="write [[question]] above each")
    return [(f"question {n}", row) for n, row in enumerate(rows, 1)], _texts(f"{path}", "collections", collections)


def plain(text: str) -> str:
    """TEXT without what does not matter to a fact: case, blanks, Markdown's marks, kinds of dashes and quotes."""
    return " ".join(MARKS.sub("", text.translate(PLAIN)).lower().split())


def label(where: str, key: str, raw: object) -> str:
    """RAW, a string or an integer, as a string; raises InvalidParams for anything else."""
    if not isinstance(raw, str | int) or isinstance(raw, bool):
        raise InvalidParams(f"{where}: {key} = {shown(raw)}", hint=f"{key} must be a string or a whole number")
    try:
        return _whole(where, key, str(raw))
    except ValueError as exc:
        raise InvalidParams(f"{where}: {key} = {shown(raw)}", hint=f"make {key} a string") from exc


def shown(raw: object) -> str:
    """RAW as short as a message needs it, however long or deep it is."""
    try:
        return reprlib.repr(raw)
    except ValueError:
        return "a number of too many digits"


def _question(where: str, row: Mapping[str, Any]) -> Question:
    where = f"{where}, id {shown(row['id'])}" if row.get("id") else where
    text = _asked(where, row.get("question"))
    facts = _texts(where, "facts", row.get("facts", []))
    for fact in facts:
        if not all(map(plain, fact.split("|"))):
            raise InvalidParams(f"{where}: the fact {shown(fact)} is found in every text", hint="write one|other")
    topic = label(where, "topic", row.get("topic") or row.get("collection") or "")
    return Question(label(where, "id", row.get("id") or text), text, _gold(where, row.get("gold", [])), facts, topic)


def _asked(where: str, raw: object) -> str:
    """RAW, if it is a question that may be asked."""
    if not isinstance(raw, str) or not raw.strip():
        raise InvalidParams(f"{where} has no question", hint=EXAMPLE)
    if "\0" in raw:
        raise InvalidParams(f"{where}: the question holds a NUL byte", hint="ask with text only")
    if len(raw.strip()) > LONGEST:
        message = f"{where}: the question has {len(raw.strip()):,} characters, at most {LONGEST:,} are read"
        raise InvalidParams(message, hint="ask for one thing")
    return _whole(where, "question", raw)


def _gold(where: str, raw: object) -> tuple[tuple[str, ...], ...]:
    if not isinstance(raw, list) or [] in raw:
        hint = f"a list of sections, or of groups of them, none without any: {EXAMPLE}"
        raise InvalidParams(f"{where}: gold = {shown(raw)}", hint=hint)
    groups = tuple(_texts(where, "gold", group if isinstance(group, list) else [group]) for group in raw)
    for section in (section for group in groups for section in group):
        if not section.startswith("/") and not scheme(section):
            raise InvalidParams(f"{where}: gold {shown(section)} is no section", hint="url#anchor or /path#anchor")
    return groups


def scheme(url: str) -> str | None:
    """The scheme of URL, "" without one; None for what cannot be an address."""
    try:
        return urlsplit(url).scheme
    except ValueError:  # http://[
        return None


def _texts(where: str, key: str, raw: object) -> tuple[str, ...]:
    if not isinstance(raw, list) or not all(isinstance(item, str) and item for item in raw):
        raise InvalidParams(f"{where}: {key} = {shown(raw)}", hint=f"{key} must be a list of strings")
    return tuple(_whole(where, key, item) for item in raw)


def _whole(where: str, key: str, text: str) -> str:
    if HALVES.search(text):
        raise InvalidParams(f"{where}: {key} holds half a character", hint="write no \\ud800 to \\udfff")
    return text
