"""A function becomes a command: its arguments, the options that all have, and a Terminal to speak through."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import render, settings
from ..app import App
from ..errors import Cancelled, InvalidParams
from ..events import Cancel, Progress, Sink, ignore
from ..meeting import EXCLUDING

cli = typer.Typer(
    name="ragmacs",
    help="A local documentation assistant: crawl, search, ask, summarize; and what your Go says of memory.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Allow = Annotated[list[str] | None, typer.Option("--allow", metavar="ORIGIN[,ORIGIN…]", help="May be fetched too.")]
Mirror = Annotated[list[str] | None, typer.Option("--mirror", metavar="FROM=TO", help="Fetch FROM's pages from TO.")]
Collections = Annotated[
    list[str] | None, typer.Option("-c", "--collection", help="Search here only; NAME=2: with this weight.")
]
Mode = Annotated[str | None, typer.Option("--mode", metavar="hybrid|lexical", help="With vectors, or words alone.")]

HERE = (Path(), Path("/"))  # roots of a command: a person may have read what they can, and means this folder

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
    no_server: bool
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

    def confirm(self, question: str) -> bool:
        """Whether the person at the terminal says yes to QUESTION, or nothing; raises Cancelled at a signal to stop."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        # Who is asked need not ask to stop.
        before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
        try:
            return typer.confirm(question, default=True, err=True)
        except typer.Abort as exc:
            raise Cancelled(hint="nothing was begun") from exc
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


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
    level = [logging.WARNING, logging.INFO, logging.DEBUG][min(verbose, 2)]
    logging.basicConfig(level=level, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    for noisy in ("httpx", "httpcore", "trafilatura", "sentence_transformers", "transformers"):
        logging.getLogger(noisy).setLevel(max(level, logging.WARNING) if verbose < 2 else level)
    environ = dict(os.environ)
    if home:
        environ["RAGMACS_HOME"] = home
    cancel = Cancel()
    with _stoppable(cancel), _progress(quiet) as sink:
        yield Terminal(environ, as_json, no_server, sink, cancel)


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
    from rich.table import Column

    rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")  # what is narrow cuts the address, not the time left
    columns = (
        bars.TextColumn("{task.description}", markup=False),  # an address may have brackets
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[rate]}"),
        bars.TimeRemainingColumn(),
        bars.TextColumn("{task.fields[message]}", style="dim", markup=False, table_column=rest),
    )
    bar = bars.Progress(*columns, console=Console(stderr=True), transient=True)
    tasks: dict[str, bars.TaskID] = {}

    def sink(progress: Progress) -> None:
        bar.start()  # with the first word of it: a question to the person is not drawn over
        task = tasks.get(progress.job)
        if task is None:
            task = tasks[progress.job] = bar.add_task(progress.job, rate="", message="")
        speed = bar.tasks[task].speed
        rate = f"{speed:.1f}/s" if speed else ""
        message = render.printable(progress.message[-60:])
        bar.update(task, completed=progress.done, total=progress.total, rate=rate, message=message)

    try:
        yield sink
    finally:
        bar.stop()


def shielded(argv: Sequence[str]) -> list[str]:
    """ARGV with what excludes pages from a search, such as -site:go.dev, so that it is taken for no option."""
    return [f" {each}" if each.startswith(EXCLUDING) else each for each in argv]


def question_of(words: Sequence[str]) -> str:
    """WORDS of a question, shielded or not, as one text; what stdin has where that is "-"."""
    return text_of(" ".join(each[1:] if each[1:].startswith(EXCLUDING) else each for each in words))


def text_of(argument: str) -> str:
    """ARGUMENT, or what stdin has where it is "-"."""
    try:
        return sys.stdin.read(200_000) if argument == "-" else argument
    except UnicodeDecodeError as exc:
        raise InvalidParams(f"stdin is no text: {exc}", hint="give it as UTF-8") from exc


def entries(values: Sequence[str] | None) -> list[str]:
    """The entries of a flag that was given several times, with several each."""
    return [part for value in values or () for part in value.split(",") if part]
