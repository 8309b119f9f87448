"""A file of questions with known answers becomes figures: how often the right section is found."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..errors import InvalidParams
from ..model import Answer
from ..search.retrieve import Results


@dataclass(frozen=True, slots=True)
class Question:
    """`gold` has a group per part of the question; any section of a group answers that part.

    A section is `url#anchor` or `/path#anchor`. No gold: nothing indexed answers it.
    """

    id: str
    text: str
    gold: tuple[tuple[str, ...], ...]
    facts: tuple[str, ...] = ()


def read_questions(path: Path) -> list[Question]:
    """The questions of a JSONL file, or of the [[question]] tables of a TOML file."""
    try:
        text = path.read_text("utf-8")
        rows = tomllib.loads(text)["question"] if path.suffix == ".toml" else _json_lines(text)
        return [_question(row) for row in rows]
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidParams(f"{path} cannot be read: {exc}", hint="name a JSONL or TOML file") from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise InvalidParams(
            f"{path}: {exc}", hint='lines like {"id": "q1", "question": "…", "gold": [["/doc/x#y"]]}'
        ) from exc


def result_line(question: Question, results: Results) -> dict[str, Any]:
    """One line of a run file: what was found, best first."""
    found = [
        {"url": hit.section.url, "anchor": hit.section.anchor, "text": hit.text, "score": hit.score}
        for hit in results.hits
    ]
    return {"id": question.id, "results": found, "confidence": results.confidence, "mode": results.mode}


def answer_line(question: Question, answer: Answer) -> dict[str, Any]:
    """One line of a run file whose only result is the answer itself."""
    first = answer.citations[0] if answer.citations else None
    result = {"url": first.url if first else "", "anchor": first.anchor if first else "", "text": answer.text}
    return {
        "id": question.id,
        "results": [result],
        "confidence": answer.confidence,
        "abstain": answer.abstained,
        "citations": [citation.as_json() for citation in answer.citations],
    }


def figures(questions: Sequence[Question], lines: Sequence[Mapping[str, Any]]) -> dict[str, float | int]:
    """hit@1, hit@5 and MRR@10 over the questions that have an answer, matched by page and anchor."""
    ranks = [
        _first_rank(question, line["results"]) for question, line in zip(questions, lines, strict=True) if question.gold
    ]
    n = len(ranks)
    if not n:
        return {"questions": 0}
    return {
        "questions": n,
        "hit@1": round(sum(rank == 1 for rank in ranks) / n, 3),
        "hit@5": round(sum(0 < rank <= 5 for rank in ranks) / n, 3),
        "mrr@10": round(sum(1 / rank for rank in ranks if 0 < rank <= 10) / n, 3),
    }


def _first_rank(question: Question, results: Sequence[Mapping[str, Any]]) -> int:
    """The rank of the first right result, from 1; 0 when there is none."""
    gold = {_place(section) for group in question.gold for section in group}
    places = (_place(f"{result['url']}#{result['anchor']}") for result in results)
    return next((rank for rank, place in enumerate(places, 1) if place in gold), 0)


def _place(section: str) -> tuple[str, str]:
    """(path, anchor): comparable whatever the origin."""
    parts = urlsplit(section)
    return parts.path.rstrip("/"), parts.fragment


def _json_lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def _question(row: Mapping[str, Any]) -> Question:
    gold = tuple(tuple(group) if isinstance(group, list) else (group,) for group in row.get("gold", ()))
    return Question(str(row["id"]), str(row["question"]), gold, tuple(row.get("facts", ())))
