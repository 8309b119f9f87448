"""Questions whose answers are known become figures, and a run that later ones are compared with."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ..answer import evaluation, questions, scoreboard
from ..answer.questions import Question
from ..app import App
from ..errors import Cancelled, EmbedderMissing, InvalidParams, NotIndexed
from ..search.embed import WEIGHTS, find_model
from ..search.query import weighted
from .terminal import Collections, Mode, Terminal, command

Runs = Mapping[str, evaluation.Line]  # by question id
PART = ".part"  # ends the name of a run file that is not whole yet


@command(name="eval")
def evaluate(
    terminal: Terminal,
    name: Annotated[
        str,
        typer.Option("--questions", metavar="FILE", help="TOML or JSONL, or the name of questions that ship with us."),
    ] = "handbook",
    run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            metavar="OUT.jsonl",
            help="Write the results here when all are found; until then, and after Ctrl-C, they are in OUT.jsonl.part.",
        ),
    ] = None,
    answers: Annotated[bool, typer.Option("--answers", help="Judge the extracted answer, not the results.")] = False,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=100, help="Results per question.")] = 10,
    budget: Annotated[int, typer.Option(min=100, help="Characters of results in which facts are looked for.")] = 4000,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", metavar="RUN.jsonl", help="Compare with a stored run.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--compare", metavar="FOLDER", help="Compare the index with one made by this model.")
    ] = None,
    fail_below: Annotated[
        str | None, typer.Option("--fail-below", metavar="METRIC=LEAST,…", help="Exit 1 when a metric is lower.")
    ] = None,
    collection: Collections = None,
    mode: Mode = None,
) -> int:
    """Ask questions whose right sections are known; report how often and how early those are found."""
    least = {} if fail_below is None else evaluation.bounds(fail_below)
    if baseline and model:
        raise InvalidParams("--baseline and --compare exclude each other", hint="compare with one thing")
    before = evaluation.read_run(baseline) if baseline else None
    file = questions.find(name)
    asked = questions.read(file)
    _keep(run, file, baseline)
    llm = "" if answers else None  # only to re-rank
    with terminal.app(search_mode=mode, search_deadline=0.0, llm_base_url=llm) as app:
        if model and app.settings.search.mode == "lexical":
            raise InvalidParams("--compare needs vectors, the search is lexical", hint="add --mode hybrid")
        if model:
            _check_model(app, model)
        scope = collection or asked.collections
        lost = _lost(app, file, asked.questions, weighted(scope)[0])
        evaluation.check_bounds(least, evaluation.metrics(asked.questions, answers=answers, lost=lost, budget=budget))
        ask = functools.partial(App.evaluate, asked=asked.questions, answers=answers, k=limit, collections=scope)
        if model:
            with app.trial(model) as tried:
                before = {line["id"]: line for line in ask(app)}
                after = {line["id"]: line for line in recorded(ask(tried), run)}
        else:
            after = {line["id"]: line for line in recorded(ask(app), run)}
    found = evaluation.evaluate(asked.questions, after, lost=lost, budget=budget)
    compared = evaluation.compare(asked.questions, before, after, lost=lost, budget=budget) if before else None
    notes = [*_run_notes(app, before or {}, after, limit), *scoreboard.notes(found)]
    terminal.print(scoreboard.as_json(found, compared, notes), "\n".join(scoreboard.lines(found, compared)))
    for note in notes:
        terminal.say(f"note: {note}")
    return _gate(terminal, evaluation.below(found.figures, least))


def _lost(app: App, file: Path, asked: Sequence[Question], scope: Sequence[str]) -> dict[str, list[str]]:
    """The questions of FILE that cannot be found; raises NotIndexed when that is all of them."""
    opened = app.generation(scope)
    opened.check_collections(scope, app.way_to)
    lost = evaluation.missing(opened, asked, scope)
    known = [each for each in asked if each.gold]
    if known and len(lost) == len(known):
        first = lost[known[0].id][0]
        message = f"nothing that {file.name} asks for is indexed, {first} for example"
        raise NotIndexed(message, hint="crawl the collection that the questions are about")
    return lost


def _check_model(app: App, folder: Path) -> None:
    """Raise EmbedderMissing, in words about --compare, when FOLDER is none of a model."""
    try:
        find_model(dataclasses.replace(app.settings.embed, path=str(folder)), app.settings.folders.models, {})
    except EmbedderMissing as exc:
        hint = f"a model folder holds modules.json, config.json, tokenizer.json, and one of {', '.join(WEIGHTS)}"
        raise EmbedderMissing(f"--compare: {folder} holds no sentence-transformers model", hint=hint) from exc


def _keep(run: Path | None, *read: Path | None) -> None:
    """Raise InvalidParams when writing RUN would destroy a file that is READ."""
    for written in (run, _aside(run)) if run else ():
        for each in filter(None, read):
            with contextlib.suppress(OSError):  # what does not exist is not the same
                if written.samefile(each):
                    message = f"--run {run} would overwrite {each}, which this run reads"
                    raise InvalidParams(message, hint="name another file with --run")


def recorded(lines: Iterable[evaluation.Line], path: Path | None) -> Iterator[evaluation.Line]:
    """LINES as they come, each in a file beside PATH before the next is asked for; PATH is replaced after the last."""
    if path is None:
        yield from lines
        return
    aside = _aside(path)
    with _writing(aside):
        aside.write_text("", "utf-8")
    try:
        for line in lines:
            with _writing(aside), aside.open("a", encoding="utf-8") as file:
                file.write(evaluation.dump(line))
            yield line
    except Cancelled as exc:
        raise Cancelled(hint=f"the results so far are in {aside}") from exc
    if aside != path:
        with _writing(path):
            aside.replace(os.path.realpath(path))


def _aside(path: Path) -> Path:
    """Where the lines of a run are until PATH, or what it links to, is replaced; PATH itself if it is a device."""
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113 - no OSError for a name too long
        return path
    return Path(os.path.realpath(path) + PART)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise InvalidParams(f"{path} cannot be written: {exc.strerror}", hint="name another file") from exc


def _run_notes(app: App, before: Runs, after: Runs, limit: int) -> Iterator[str]:
    """What was not as asked for."""
    if limit < 10:
        yield f"only {limit} results were looked at: what comes later counts as not found"
    modes = {line.get("mode") for line in after.values()}
    if app.settings.search.mode == "hybrid" and "lexical" in modes:
        yield "the search was lexical, without vectors; ragmacs search says why"
    earlier = {before[key].get("mode") for key in before.keys() & after.keys()}
    if (was := earlier - {None}) and was != modes:
        yield f"the earlier run was {_either(was)}, this one is {_either(modes)}: a difference may be that of the modes"
    if before and len(before.keys() & after.keys()) < len(after):
        yield f"{len(after.keys() - before.keys())} questions are not in the earlier run and are not compared"


def _either(modes: Iterable[object]) -> str:
    return " or ".join(sorted(map(str, modes)))


def _gate(terminal: Terminal, failures: Sequence[str]) -> int:
    for failure in failures:
        terminal.say(f"too low: {failure}")
    return 1 if failures else 0
