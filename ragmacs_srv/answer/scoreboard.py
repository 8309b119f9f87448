"""An evaluation becomes a table for people, or JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .evaluation import Comparison, Evaluation
from .measures import Figure

SHOWN = 20  # questions listed by name
COLUMNS = ("hit@1", "hit@5", "mrr@10", "cited", "facts", "all facts")  # of the table by topic, where they are measured


def as_json(found: Evaluation, comparison: Comparison | None, notes: Sequence[str]) -> dict[str, Any]:
    """The shape of `ragmacs eval --json`."""
    shape: dict[str, Any] = {
        "questions": len(found.scores),
        "unanswerable": found.unanswerable,
        "metrics": _figures(found.figures),
        "topics": {topic: _figures(each) for topic, each in found.topics.items()},
        "not_indexed": {key: list(gold) for key, gold in found.lost.items()},
        "notes": list(notes),
    }
    if comparison is not None:
        shape["comparison"] = {
            "questions": comparison.questions,
            "verdict": comparison.verdict,
            "before": _figures(comparison.before),
            "after": _figures(comparison.after),
            "differences": _figures(comparison.differences),
            "better": {key: list(ranks) for key, ranks in comparison.better.items()},
            "worse": {key: list(ranks) for key, ranks in comparison.worse.items()},
        }
    return shape


def lines(found: Evaluation, comparison: Comparison | None) -> Iterator[str]:
    """The same for people."""
    yield f"{len(found.scores)} questions with an answer, {found.unanswerable} without"
    yield ""
    yield from _table(["metric", "value", "95 % interval", "n"], [_row(*item) for item in found.figures.items()])
    if len(found.topics) > 1:
        yield ""
        yield from _topics(found)
    if comparison is not None:
        yield ""
        yield from _compared(comparison)


def notes(found: Evaluation) -> Iterator[str]:
    """What a reader of the figures must know."""
    judged = found.figures.get(found.decisive)
    if judged and judged.low is not None and judged.high is not None:
        half = (judged.high - judged.low) / 2
        yield (
            f"with {judged.n} questions a {found.decisive} that differs by less than {half:.2f} is noise;"
            " --baseline compares two runs question by question, which shows more"
        )
    elif judged:
        yield f"{judged.n} questions are too few to tell a difference from noise"
    if found.lost:
        named = sorted({gold for sections in found.lost.values() for gold in sections})
        more = f", and {len(named) - 3} more" if len(named) > 3 else ""
        yield (
            f"{len(found.lost)} more questions are not counted, for what answers them is not indexed:"
            f" {', '.join(named[:3])}{more}"
        )


def _figures(found: Mapping[str, Figure]) -> dict[str, Any]:
    return {name: figure.as_json() for name, figure in found.items()}


def _row(name: str, figure: Figure, sign: str = "") -> list[str]:
    interval = "" if figure.low is None else f"{figure.low:{sign}.3f} to {figure.high:{sign}.3f}"
    return [name, f"{figure.value:{sign}.3f}", interval, str(figure.n)]


def _topics(found: Evaluation) -> Iterator[str]:
    names = [name for name in found.figures if name in COLUMNS or name.startswith("facts<")]
    rows = []
    for topic, figures in found.topics.items():
        n = max(figure.n for figure in figures.values())
        values = [f"{figures[name].value:.3f}" if name in figures else "" for name in names]
        rows.append([topic or "(none)", *values, str(n)])
    yield from _table(["topic", *names, "n"], rows)


def _compared(comparison: Comparison) -> Iterator[str]:
    rows = []
    for name, figure in comparison.differences.items():
        old, new = comparison.before[name], comparison.after[name]
        rows.append([name, f"{old.value:.3f}", f"{new.value:.3f}", *_row(name, figure, "+")[1:]])
    for name in ("auroc", "refused", "kept"):
        if name in comparison.before and name in comparison.after:
            old, new = comparison.before[name], comparison.after[name]
            rows.append([name, f"{old.value:.3f}", f"{new.value:.3f}", f"{new.value - old.value:+.3f}", "", str(new.n)])
    yield from _table(["metric", "before", "after", "difference", "95 % interval", "n"], rows)
    for word, changed in (("better", comparison.better), ("worse", comparison.worse)):
        yield ""
        yield f"{word}: {len(changed)} of {comparison.questions} questions"
        yield from (f"  {key}: rank {old or '-'} -> {new or '-'}" for key, (old, new) in list(changed.items())[:SHOWN])
        if len(changed) > SHOWN:
            yield f"  and {len(changed) - SHOWN} more"
    yield ""
    yield f"verdict: {comparison.verdict}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """HEAD and ROWS in columns, the first flush left, the others flush right."""
    widths = [max(len(row[n]) for row in (head, *rows)) for n in range(len(head))]
    for row in (head, *rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        yield "  ".join(cells).rstrip()
