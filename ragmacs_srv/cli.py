"""The command line: arguments become calls on App; answers go to stdout, everything else to stderr."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from . import __version__, pipeline, registry, render, settings
from .answer import evaluation, questions, scoreboard
from .answer.questions import Question
from .answer.summarize import LENGTH, Summary
from .app import App, checked_name
from .errors import (
    Cancelled,
    EmbedderMissing,
    InvalidParams,
    NotIndexed,
    RagmacsError,
    SettingsError,
    StorageError,
)
from .events import Cancel, Progress, Sink, ignore
from .ingest import sniff
from .ingest.handbook import SCHEME
from .model import Answer, Response, Source
from .pipeline import Report
from .search.embed import WEIGHTS, find_model

cli = typer.Typer(
    name="ragmacs",
    help="A local documentation assistant: crawl documentation, search it, ask it, open what it quotes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
model_cli = typer.Typer(help="The embedding model.", no_args_is_help=True)
cli.add_typer(model_cli, name="model")

Allow = Annotated[list[str] | None, typer.Option("--allow", metavar="ORIGIN[,ORIGIN…]", help="May be fetched too.")]
Mirror = Annotated[list[str] | None, typer.Option("--mirror", metavar="FROM=TO", help="Fetch FROM's pages from TO.")]
Collections = Annotated[list[str] | None, typer.Option("-c", "--collection", help="Search here only; repeatable.")]
Mode = Annotated[str | None, typer.Option("--mode", metavar="hybrid|lexical", help="With vectors, or words alone.")]

# Of every wrong use; typer has no public name for it.
UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__bases__[0])
MAX_FILE = 10 * 2**20  # bytes, as of a fetched page
Runs = Mapping[str, evaluation.Line]  # by question id
PART = ".part"  # ends the name of a run file that is not whole yet

COMMON = {
    "home": (str | None, typer.Option("--home", metavar="DIR", help="All state lives here.", envvar="RAGMACS_HOME")),
    "as_json": (bool, typer.Option("--json", help="Print JSON.")),
    "no_server": (bool, typer.Option("--no-server", help="Work in this process.")),
    "quiet": (bool, typer.Option("-q", "--quiet", help="No progress.")),
    "verbose": (int, typer.Option("-v", "--verbose", count=True, help="Log to stderr; -vv: more.")),
}
DEFAULTS = {"home": None, "as_json": False, "no_server": False, "quiet": False, "verbose": 0}


@dataclasses.dataclass(frozen=True)
class Terminal:
    """What every command has: how to build the App, and how to speak."""

    environ: dict[str, str]
    json: bool
    sink: Sink
    cancel: Cancel

    @contextmanager
    def app(self, **flags: object) -> Iterator[App]:
        """The App of these settings; FLAGS are named as `settings` names them, dots as underscores."""
        given = {key.replace("_", ".", 1): value for key, value in flags.items()}
        with App(settings.load(self.environ, given), self.environ, sink=self.sink, cancel=self.cancel) as app:
            yield app

    def print(self, value: Any, text: str) -> None:
        """VALUE as JSON, or TEXT, on stdout."""
        print(render.dumps(value) if self.json else render.printable(text))  # noqa: T201

    def say(self, text: str) -> None:
        """TEXT on stderr, after what stdout has so far."""
        sys.stdout.flush()
        print(render.printable(text), file=sys.stderr)  # noqa: T201


Command = Callable[..., int | None]


def command(group: typer.Typer = cli, name: str | None = None) -> Callable[[Command], Command]:
    """Register a command: its first parameter becomes a Terminal, the COMMON options are added to its own.

    What the command returns is the exit code; None is 0.
    """

    def register(function: Command) -> Command:
        @functools.wraps(function)
        def run(**values: Any) -> None:
            common = {key: values.pop(key) for key in COMMON}
            with _terminal(**common) as terminal:
                raise typer.Exit(function(terminal, **values) or 0)

        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        added = [
            inspect.Parameter(
                key, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind, option], default=DEFAULTS[key]
            )
            for key, (kind, option) in COMMON.items()
        ]
        keywords = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
        run.__signature__ = inspect.Signature([*keywords, *added])  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in (*keywords, *added)}
        group.command(name or function.__name__.strip("_").replace("_", "-"))(run)
        return function

    return register


@contextmanager
def _terminal(home: str | None, as_json: bool, no_server: bool, quiet: bool, verbose: int) -> Iterator[Terminal]:
    del no_server  # there is no server yet: everything works in this process
    level = [logging.WARNING, logging.INFO, logging.DEBUG][min(verbose, 2)]
    logging.basicConfig(level=level, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    for noisy in ("httpx", "httpcore", "trafilatura", "sentence_transformers", "transformers"):
        logging.getLogger(noisy).setLevel(max(level, logging.WARNING) if verbose < 2 else level)
    environ = dict(os.environ)
    if home:
        environ["RAGMACS_HOME"] = home
    cancel = Cancel()
    with _stoppable(cancel), _progress(quiet) as sink:
        yield Terminal(environ, as_json, sink, cancel)


@contextmanager
def _stoppable(cancel: Cancel) -> Iterator[None]:
    """Ctrl-C and SIGTERM ask to stop between two steps; a second Ctrl-C does not ask."""

    def stop(number: int, frame: object) -> None:
        if cancel.cancelled:
            raise KeyboardInterrupt
        cancel.cancel()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress(quiet: bool) -> Iterator[Sink]:
    """A bar with rate and time left on a terminal; nothing in a pipe."""
    if quiet or not sys.stderr.isatty():
        yield ignore
        return
    from rich import progress as bars  # 40 ms: only a terminal sees a bar
    from rich.console import Console

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[rate]}"),
        bars.TimeRemainingColumn(),
        bars.TextColumn("{task.fields[message]}", style="dim"),
    )
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, bars.TaskID] = {}

        def sink(progress: Progress) -> None:
            task = tasks.get(progress.job)
            if task is None:
                task = tasks[progress.job] = bar.add_task(progress.job, rate="", message="")
            speed = bar.tasks[task].speed
            rate = f"{speed:.1f}/s" if speed else ""
            message = progress.message[-60:]
            bar.update(task, completed=progress.done, total=progress.total, rate=rate, message=message)

        yield sink


# Serving


@command()
def mcp(terminal: Terminal) -> None:
    """Serve an MCP client on stdin and stdout until it hangs up."""
    try:
        from .serve import mcp as serving  # the SDK is an extra, and twice what all of ours takes to load
    except ModuleNotFoundError as exc:
        raise SettingsError(f"{exc.name} is not installed", hint="pip install 'ragmacs-srv[mcp]'") from exc
    with terminal.app() as app:
        serving.stdio(app, cancel=terminal.cancel)


# Asking


@command()
def ask(
    terminal: Terminal,
    question: Annotated[str, typer.Argument(help="In your own words; - reads it from stdin.")],
    collection: Collections = None,
    mode: Mode = None,
    max_chars: Annotated[int | None, typer.Option(min=100, help="Length of an extractive answer.")] = None,
    no_llm: Annotated[bool, typer.Option("--no-llm", help="Extract, even when an LLM is configured.")] = False,
) -> None:
    """Answer a question from what is indexed, with quotes that can be opened."""
    flags = {"search_mode": mode, "answer_max_chars": max_chars, "llm_base_url": "" if no_llm else None}
    with terminal.app(**flags) as app:
        answer = None
        for piece in app.ask(_text(question), collections=collection or ()):
            if isinstance(piece, Answer):
                answer = piece
            elif not terminal.json:
                print(render.printable(piece), end="", flush=True)  # noqa: T201
    assert answer is not None
    shape = answer.as_json()
    terminal.print(shape, render.citations(shape))
    if not terminal.json:
        for note in render.answer_notes(shape):
            terminal.say(note)


@command()
def search(
    terminal: Terminal,
    query: Annotated[str, typer.Argument(help="Words or a question; - reads it from stdin.")],
    collection: Collections = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=100, help="How many results.")] = 8,
    mode: Mode = None,
) -> None:
    """List the sections that match best."""
    started = time.monotonic()
    with terminal.app(search_mode=mode) as app:
        results = app.search(_text(query), k=limit, collections=collection or ())
    found = {**results.as_json(), "took_ms": round((time.monotonic() - started) * 1000)}
    terminal.print(found, render.results(found))
    for note in render.result_notes(found):
        terminal.say(note)


# Reading


@command()
def crawl(
    terminal: Terminal,
    targets: Annotated[list[str] | None, typer.Argument(metavar="[COLLECTION|URL]...")] = None,
    from_file: Annotated[Path | None, typer.Option("--from", metavar="FILE", help="One address per line.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the collection that the addresses become.")] = None,
    depth: Annotated[int | None, typer.Option(min=0, help="Links away from a start page.")] = None,
    max_pages: Annotated[int | None, typer.Option(min=1, help="Stop after so many.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only show what would be read.")] = False,
    allow: Allow = None,
    mirror: Mirror = None,
    mode: Mode = None,
) -> int:
    """Read a collection, or the pages at some addresses, and make them searchable."""
    with terminal.app(search_mode=mode) as app:
        wanted = _sources(app, targets or [], from_file, name)
        changes = {"depth": depth, "max_pages": max_pages}
        changes = {key: value for key, value in changes.items() if value is not None}
        wanted = [dataclasses.replace(source, **changes) for source in wanted]  # type: ignore[arg-type]
        if plan:
            return _show_plan(terminal, wanted)
        options = {"allow": _entries(allow), "mirror": _entries(mirror)}
        return _report(terminal, [app.crawl(source, **options) for source in wanted])


@command()
def update(
    terminal: Terminal,
    collection: Annotated[str | None, typer.Argument(help="Default: all.")] = None,
    allow: Allow = None,
    mirror: Mirror = None,
    mode: Mode = None,
) -> int:
    """Crawl again: only what changed is read, what is gone for good is removed."""
    with terminal.app(search_mode=mode) as app:
        with app.store() as store:
            names = [collection] if collection else [each for each, _, _ in store.collections()]
        options = {"allow": _entries(allow), "mirror": _entries(mirror)}
        return _report(terminal, [app.update(each, **options) for each in names])


@command()
def remove(terminal: Terminal, target: Annotated[str, typer.Argument(metavar="COLLECTION|URL")]) -> None:
    """Forget a collection or one page."""
    with terminal.app() as app:
        removed = app.remove(target)
    terminal.print({"removed": removed}, f"removed {render.count(removed, 'page')}")


@command()
def fetch(
    terminal: Terminal,
    url: Annotated[str, typer.Argument(help="With #anchor: that section only.")],
    allow: Allow = None,
    mirror: Mirror = None,
) -> None:
    """Print one page as Markdown; nothing is stored."""
    with terminal.app() as app:
        page = app.read(url, allow=_entries(allow), mirror=_entries(mirror))
    page = page.at(url.partition("#")[2])
    text = "\n\n".join(
        f"{'#' * min(max(len(each.heading), 1), 6)} {each.heading[-1] if each.heading else page.title}\n\n{each.text}"
        for each in page.sections
    )
    terminal.print(page.as_json(), text)


@command()
def summarize(
    terminal: Terminal,
    target: Annotated[str, typer.Argument(metavar="URL|FILE|-", help="With #anchor: that section only.")],
    length: Annotated[int, typer.Option("-n", "--length", metavar="WORDS", help="Words at most.")] = LENGTH,
    no_llm: Annotated[bool, typer.Option("--no-llm", help="Extract, even when an LLM is configured.")] = False,
    allow: Allow = None,
    mirror: Mirror = None,
) -> None:
    """Say in few words what a page says, each point with the section that says it; nothing is stored."""
    with terminal.app(llm_base_url="" if no_llm else None) as app:
        local = None if "://" in target or target.startswith(SCHEME) else app.extracted(_file(target))
        summary = None
        entries = _entries(allow), _entries(mirror)
        for piece in app.summarize(target, length=length, allow=entries[0], mirror=entries[1], page=local):
            if isinstance(piece, Summary):
                summary = piece
            elif not terminal.json:
                print(render.printable(f"- {piece.text}\n  {piece.link}"), flush=True)  # noqa: T201
    assert summary is not None
    if terminal.json:
        terminal.print(summary.as_json(), "")
        return
    for note in summary.notes:
        terminal.say(f"note: {note}")


def _file(name: str) -> Response:
    """The document in the file NAME, or on stdin for "-", as if it had been fetched."""
    path = Path(name.partition("#")[0])
    try:
        body = sys.stdin.buffer.read(MAX_FILE) if name == "-" else path.read_bytes()[:MAX_FILE]
    except OSError as exc:
        hint = "name a file, or an address that begins with https://"
        raise InvalidParams(f"{path} cannot be read: {exc.strerror}", hint=hint) from exc
    url = "file:stdin" if name == "-" else path.absolute().as_uri()
    return Response(url, url, 200, body, sniff.media_type(body, "", str(path)), "", "", "", pipeline.now())


# Tools


@command(name="tool")
def run_tool(
    terminal: Terminal,
    name: Annotated[str | None, typer.Argument(help="Default: list the tools.")] = None,
    arguments: Annotated[str, typer.Argument(metavar="JSON", help="Its arguments; - reads them from stdin.")] = "{}",
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask before a request is made.")] = False,
) -> int:
    """Run a tool as a model does, with the reply that a model gets; without NAME, list the tools."""
    if name is None:
        known = registry.tools()
        lines = [f"{registry.usage(each)}\n    {each.description}" for each in known]
        terminal.print({"tools": [each.as_json() for each in known]}, "\n".join(lines))
        return 0
    try:
        given = json.loads(_text(arguments))
    except ValueError as exc:
        hint = 'for example: ragmacs tool search_docs \'{"query": "GOGC"}\''
        raise InvalidParams(f"the arguments of {name} are no JSON: {exc}", hint=hint) from exc
    with terminal.app() as app:
        wanted = registry.question(app, name, given)
        if wanted and not yes and sys.stdin.isatty() and not typer.confirm(wanted, err=True):
            raise Cancelled()
        done = registry.call(app, name, given)
    if done.error:
        shape = {key: done.data["error"][key] for key in ("code", "message", "hint")}
        terminal.say(json.dumps({"error": shape}, ensure_ascii=False) if terminal.json else done.text)
        return int(done.data["error"]["exit_code"])
    terminal.print({"text": done.text, "data": done.data}, done.text)
    return 0


# The state of things


@command()
def collections(
    terminal: Terminal, name: Annotated[str | None, typer.Argument(help="List the pages of this one.")] = None
) -> None:
    """List the collections: those that are indexed, and those that could be."""
    with terminal.app() as app:
        made = app.manifest()
        indexed = made.collections if made else {}
        if name:
            pages = app.generation().pages(name) if name in indexed else []
            if not pages:
                raise InvalidParams(f"no pages of {name!r}", hint=f"ragmacs crawl {name}")
            rows = [{"url": url, "title": title, "fetched_at": at} for url, title, at in pages]
            terminal.print({"pages": rows}, "\n".join(f"{row['url']}  {row['title']}" for row in rows))
            return
        known: list[dict[str, Any]] = [
            {"name": each, "pages": indexed.get(each, 0), "title": title, "licence": licence}
            for each, title, licence in app.known_collections()
        ]
    lines = [f"{row['name']:20} {row['pages'] or '-':>6}  {row['title']}" for row in known]
    terminal.print({"collections": known}, "\n".join([f"{'name':20} {'pages':>6}  title", *lines]))


@command()
def status(terminal: Terminal) -> None:
    """Say what is indexed, and who is writing."""
    with terminal.app() as app:
        state = app.status()
    terminal.print(state, render.status(state))


@command()
def verify(
    terminal: Terminal,
    repair: Annotated[
        bool, typer.Option("--repair", help="Drop what is damaged; the next crawl reads it again.")
    ] = False,
) -> int:
    """Check every file and every row against its hash; exit 0 only for a sound store."""
    with terminal.app() as app:
        repaired = app.repair() if repair else None
        found = app.verify()
    shape = {"sound": not found, "problems": found, "repaired": repaired}
    lines = [*([f"repaired: {line}" for line in repaired] if repaired else []), *found]
    hint = ["hint: ragmacs verify --repair, then ragmacs update"] if found and not repair else []
    terminal.print(shape, "\n".join([*lines, *hint, *([] if found else ["the store is sound"])]))
    return 3 if found else 0


@command()
def reindex(terminal: Terminal, mode: Mode = None) -> None:
    """Split, embed and index again what is stored; no network."""
    with terminal.app(search_mode=mode) as app:
        made = app.reindex()
    terminal.print(
        dataclasses.asdict(made),
        f"generation {made.number}: {render.count(made.pages, 'page')}, {render.count(made.chunks, 'chunk')},"
        f" {'vectors by ' + made.model if made.model else 'no vectors'}",
    )


@command()
def doctor(terminal: Terminal) -> None:
    """Show every folder with its size, and what works on this machine."""
    with terminal.app() as app:
        found = app.diagnose()
    width = max(len(row["what"]) for row in found)
    lines = [f"{'ok ' if row['ok'] else '-- '} {row['what']:{width}}  {row['found']}" for row in found]
    terminal.print({"version": __version__, "checks": found}, "\n".join(lines))


@command()
def config(terminal: Terminal) -> None:
    """Show every setting, and where its value came from."""
    loaded = settings.load(terminal.environ)
    rows = [{"key": key, "value": value, "origin": origin} for key, value, origin in loaded.rows()]
    width = max(len(str(row["key"])) for row in rows)
    lines = [f"{row['key']:{width}} = {json.dumps(row['value'])}  ({row['origin']})" for row in rows]
    folders = loaded.folders
    lines.append(f"token of the HTTP server: {folders.http_token}")
    shape = {"file": str(folders.config_file), "token_file": str(folders.http_token), "settings": rows}
    terminal.print(shape, "\n".join(lines))


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
        lost = _lost(app, file, asked.questions, scope)
        evaluation.check_bounds(least, evaluation.metrics(asked.questions, answers=answers, lost=lost, budget=budget))
        ask = functools.partial(App.evaluate, asked=asked.questions, answers=answers, k=limit, collections=scope)
        if model:
            with app.trial(model) as tried:
                before = {line["id"]: line for line in ask(app)}
                after = {line["id"]: line for line in _recorded(ask(tried), run)}
        else:
            after = {line["id"]: line for line in _recorded(ask(app), run)}
    found = evaluation.evaluate(asked.questions, after, lost=lost, budget=budget)
    compared = evaluation.compare(asked.questions, before, after, lost=lost, budget=budget) if before else None
    notes = [*_run_notes(app, before or {}, after, limit), *scoreboard.notes(found)]
    terminal.print(scoreboard.as_json(found, compared, notes), "\n".join(scoreboard.lines(found, compared)))
    for note in notes:
        terminal.say(f"note: {note}")
    return _gate(terminal, evaluation.below(found.figures, least))


@command(model_cli)
def pull(
    terminal: Terminal,
    name: Annotated[str, typer.Argument(help="As the hub names it.")] = "all-MiniLM-L6-v2",
    endpoint: Annotated[str, typer.Option(help="The hub, or a mirror of it.")] = "https://huggingface.co",
) -> None:
    """Download an embedding model: the only command that fetches one."""
    from .search import remote

    with terminal.app() as app:
        network = app.settings.network
        folder = remote.pull(
            name,
            app.settings.folders.models,
            endpoint=endpoint,
            proxy=network.proxy,
            ca_file=network.ca_file,
            sink=terminal.sink,
            cancel=terminal.cancel,
        )
    terminal.print({"model": name, "path": str(folder)}, f"{name} is in {folder}")


@command(model_cli)
def prepare(terminal: Terminal) -> None:
    """Export the model and, where nothing else is indexed, embed the handbook: what a first question starts aside."""
    with terminal.app() as app:
        made = app.prepare()
        name = app.settings.embed.model if app.settings.embed.engine == "endpoint" else app.model.name
    vectors = made.vectors if made else 0
    handbook = f"; {render.count(vectors, 'chunk')} of the handbook have vectors" if made else ""
    terminal.print({"model": name, "handbook_vectors": vectors}, f"{name} is ready{handbook}")


@command(model_cli)
def show(terminal: Terminal) -> None:
    """Show which model embeds, and where it was found."""
    with terminal.app() as app:
        if app.settings.embed.engine == "endpoint":
            embed = app.settings.embed
            terminal.print({"model": embed.model, "server": embed.base_url}, f"{embed.model} at {embed.base_url}")
            return
        found = app.model
    shape = {"model": found.name, "path": str(found.path), "origin": found.origin, "key": found.key}
    terminal.print(shape, f"{found.name} ({found.origin}): {found.path}")


# Serving


@command()
def serve(
    terminal: Terminal,
    stdio: Annotated[bool, typer.Option("--stdio", help="One client at stdin and stdout.")] = False,
    own: Annotated[bool, typer.Option("--own", help="With --stdio: in this process, not in the shared one.")] = False,
    path: Annotated[Path | None, typer.Option("--socket", metavar="PATH", help="Listen here.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Start the shared server, if none runs.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End the shared server.")] = False,
    http: Annotated[bool, typer.Option("--http", help="Speak OpenAI's API on 127.0.0.1 instead.")] = False,
    port: Annotated[int | None, typer.Argument(min=0, max=65535, help="Default: [serve] http_port; 0: any.")] = None,
    ready: Annotated[int, typer.Option(hidden=True)] = -1,
) -> int:
    """Answer Emacs and the shell by JSON-RPC: all that is asked about one home, from one warm process."""
    from .serve import daemon, server  # what only a server needs
    from .serve.place import Place, listening
    from .serve.stdio import guarded

    if sum((stdio, detach, stop, http)) > 1 or (own and not stdio) or (port is not None and not http):
        message = "--stdio [--own], --http [PORT], --detach and --stop exclude each other"
        raise InvalidParams(message, hint="ragmacs serve --help")
    if http:
        return _serve_http(terminal, port)
    place = Place.of(settings.folders(terminal.environ), terminal.environ, path)
    if stop:
        stopped = daemon.stop(place)
        terminal.print({"stopped": stopped}, "stopped" if stopped else "no server was running")
        return 0
    if detach:
        found = daemon.reach(place)["server"]
        terminal.print({"server": found}, f"serving at {found['socket']} (pid {found['pid']})")
        return 0
    if stdio and not own:
        with terminal.cancel.on_cancel(lambda: os._exit(143)):  # the server works on
            return daemon.relay(place, *guarded())
    with terminal.app() as app:
        if stdio:
            source, sink = guarded()
            here = server.Server(app, server.Options.of(app.settings.serve, terminal.environ))
            with terminal.cancel.on_cancel(here.stop):
                here.serve(source, sink)
            return 0
        with listening(place.path) as listener:
            here = server.Server(app, server.Options.of(app.settings.serve, terminal.environ), path=place.path)
            terminal.say(f"serving at {place.path}")
            with terminal.cancel.on_cancel(here.stop):
                daemon.announce(ready)
                here.listen(listener)
    return 0


@command()
def service(terminal: Terminal) -> None:
    """Print a systemd unit that keeps the server running: ragmacs service > ~/.config/systemd/user/ragmacs.service."""
    from .serve import daemon

    text = daemon.unit(terminal.environ)
    terminal.print({"unit": text}, text)


# Helpers of the commands


def _serve_http(terminal: Terminal, port: int | None) -> int:
    """Speak OpenAI's API until stopped."""
    from .serve import openai  # 50 ms: only a server listens

    with terminal.app() as app:
        where = app.settings.folders.http_token
        chosen = app.settings.serve.http_port if port is None else port
        with openai.serving(app, chosen, where) as address:
            terminal.print({"address": address, "token_file": str(where)}, f"{address}/v1, token in {where}")
            sys.stdout.flush()
            with contextlib.suppress(Cancelled):
                while True:
                    terminal.cancel.wait(3600)
    return 0


def _text(argument: str) -> str:
    try:
        return sys.stdin.read(200_000) if argument == "-" else argument
    except UnicodeDecodeError as exc:
        raise InvalidParams(f"stdin is no text: {exc}", hint="give it as UTF-8") from exc


def _entries(values: Sequence[str] | None) -> list[str]:
    return [part for value in values or () for part in value.split(",") if part]


def _sources(app: App, targets: Sequence[str], file: Path | None, name: str | None) -> list[Source]:
    """The collections to crawl: named ones, and one made of the given addresses."""
    if file is not None and not targets:
        return [_from_file(app, file, name)]
    return [*app.wanted(targets, name), *([_from_file(app, file, name)] if file else [])]


def _from_file(app: App, file: Path, name: str | None) -> Source:
    listed = _listed(file)
    title = f"Pages listed in {file.name}"
    return app.added(Source(checked_name(name) or file.stem, title, listed, depth=0, max_pages=len(listed)))


def _listed(file: Path) -> tuple[str, ...]:
    try:
        lines = (sys.stdin.read() if str(file) == "-" else file.read_text("utf-8-sig")).splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidParams(f"{file} cannot be read: {exc}", hint="a text file with one address per line") from exc
    found = tuple(dict.fromkeys(line.strip() for line in lines if line.strip() and not line.startswith("#")))
    if not found:
        raise InvalidParams(f"{file} holds no addresses", hint="one per line")
    return found


def _show_plan(terminal: Terminal, wanted: Sequence[Source]) -> int:
    rows = [
        {"collection": source.name, "url": url, "refused": reason}
        for source in wanted
        for url, reason in pipeline.plan(source)
    ]
    limits = [
        f"{each.name}: links up to {each.depth} away, at most {render.count(each.max_pages, 'page')}" for each in wanted
    ]
    lines = [f"{row['url']}{'  refused: ' + row['refused'] if row['refused'] else ''}" for row in rows]
    terminal.print({"plan": rows}, "\n".join([*lines, *limits]))
    return 0


def _report(terminal: Terminal, reports: Sequence[Report]) -> int:
    """Print what crawls did; 0 when every address gave a page, 1 when some did, else the first failure's code."""
    nothing = pipeline.nothing_read(reports)
    if terminal.json or not nothing:
        terminal.print({"crawls": [each.as_json() for each in reports]}, "\n".join(map(_report_lines, reports)))
    if nothing:
        raise nothing
    return 1 if any(each.failed for each in reports) else 0


def _report_lines(report: Report) -> str:
    outcomes = ", ".join(f"{count} {status}" for status, count in sorted(report.outcomes.items()))
    reasons: dict[str, list[str]] = {}
    for receipt in report.failed:
        reasons.setdefault(receipt.reason.replace(receipt.url, "the page"), []).append(receipt.url)
    lines = [f"{report.collection}: {outcomes or 'nothing'}"]
    for reason, urls in reasons.items():
        shown = urls[0] if len(urls) == 1 else f"{len(urls)} addresses, {urls[0]} among them"
        lines.append(f"  {shown}: {reason}")
    if report.cut:
        lines.append(f"  {report.cut} more were met; raise --max-pages to read them")
    return "\n".join(lines)


def _lost(app: App, file: Path, asked: Sequence[Question], scope: Sequence[str]) -> dict[str, list[str]]:
    """The questions of FILE that cannot be found; raises NotIndexed when that is all of them."""
    opened = app.generation(scope)
    opened.check_collections(scope)
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


def _recorded(lines: Iterable[evaluation.Line], path: Path | None) -> Iterator[evaluation.Line]:
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


@cli.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if version:
        print(__version__)  # noqa: T201
        raise typer.Exit


def main() -> None:
    """Run the command line; the only place where failures become exit codes."""
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    as_json = "--json" in sys.argv[1:]
    try:
        sys.exit(cli(standalone_mode=not as_json))  # standing alone, it prints wrong usage itself, for people
    except UsageError as exc:
        _fail(InvalidParams(exc.format_message(), hint="ragmacs --help"))
    except RagmacsError as exc:
        _fail(exc)
    except KeyboardInterrupt:
        _fail(Cancelled())
    except BrokenPipeError:  # `ragmacs … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as exc:  # stdout is full or gone
        _fail(StorageError(f"the output cannot be written: {exc.strerror}", hint="free some disk space"))
    except Exception as exc:  # noqa: BLE001 - the rim: whatever is left is a bug of ours
        if "-v" in sys.argv or "--verbose" in sys.argv:
            traceback.print_exc()
        _fail(RagmacsError(f"internal error: {type(exc).__name__}: {exc}", hint="run it again with -v"))


def _fail(exc: RagmacsError) -> None:
    """Say what went wrong on stderr, under --json as one JSON object, and exit."""
    as_json = "--json" in sys.argv[1:]
    print(render.failure(exc.code, exc.message, exc.hint, as_json=as_json), file=sys.stderr)  # noqa: T201
    sys.exit(exc.exit_code)


def run() -> None:
    """`main`, as a process of its own: it does not wait for an embedder that nobody waits for any more."""
    try:
        main()
    except SystemExit as exc:
        if not any(thread.daemon for thread in threading.enumerate()):
            raise
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(exc.code if isinstance(exc.code, int) else bool(exc.code))  # C++ threads do not survive Python's end


if __name__ == "__main__":
    run()
