"""What ragmacs can do, whoever asks: search, ask, summarize, measure; the parts come from `composition`."""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from . import tools as _tools  # noqa: F401 - whoever has an App has our tools in the registry
from .answer import aged, evaluation, feeds, jobs, kept, themes
from .answer import ask as answering
from .answer import batch as batching
from .answer import summarize as summarizing
from .answer.batch import Row
from .answer.jobs import Job
from .answer.journal import Journal, Kept
from .answer.questions import Question
from .answer.rerank import DEPTH
from .answer.summarize import LENGTH, Point, Summary, check_form, check_length
from .answer.themes import Digest
from .collecting import Collecting, checked_name
from .errors import (
    AddressRefused,
    Cancelled,
    EmbedderMissing,
    InvalidParams,
    SettingsError,
)
from .events import Progress, ignore
from .ingest import kinds, lists, sources, walls
from .ingest.address import check_allow, is_allowed, parse_mirror
from .ingest.kinds import handbook
from .ingest.lists import Entry
from .ingest.urls import Parts, origin, parse, split_fragment
from .model import Answer, Page, Response, Standing
from .pipeline import Reader
from .search import query, retrieve, roster
from .search.database import mapped, writer
from .search.generation import Generation, Scope
from .search.query import Query, Weights
from .search.retrieve import Results
from .search.store import CRAWL_DB, Store

if TYPE_CHECKING:
    from .answer.llm import Chat

MAX_QUESTION = 4000  # characters


class Where(TypedDict):
    """Where a question is searched for, and what weighs how much."""

    scope: Scope
    weights: Weights


class App(Collecting):
    """Everything ragmacs can do, in this process. One call at a time, but see `request`; close it when done."""

    def search(self, question: str, *, k: int = 0, collections: Sequence[str] = ()) -> Results:
        """The chunks that answer QUESTION best; it may hold filters, and COLLECTIONS weights: see `search.query`."""
        asked, opened, where = self._narrowed(question, collections)
        embedder, reason = self.asker(opened)
        k = k or self.settings.search.limit
        results = retrieve.search(
            opened,
            embedder,
            asked.text,
            k=max(k, DEPTH) if self.judge else k,
            rerank=self.settings.search.rerank,
            reason=reason,
            facets=True,
            **where,
        )
        results = replace(results, notes=(*asked.notes, *results.notes))
        if embedder:
            results = replace(results, reason=results.reason or self._so_far(opened.manifest))
        return self.judge.best(asked.text, results, k=k, cancel=self.cancel) if self.judge else results

    def ask(self, question: str, *, collections: Sequence[str] = ()) -> Iterator[str | Answer]:
        """The answer to QUESTION, which COLLECTIONS hold: pieces of text as they come, then the Answer."""
        settings = self.settings.answer
        asked, opened, where = self._narrowed(question, collections)
        embedder, reason = self.asker(opened)
        pieces = answering.ask(
            opened,
            embedder,
            self.chat,
            asked.text,
            budget=answering.Budget(settings.max_chars, settings.context_chars, self.settings.llm.max_tokens),
            rerank=self.settings.search.rerank,
            judge=self.judge,
            reason=reason,
            cancel=self.cancel,
            **where,
        )
        for piece in pieces:
            if isinstance(piece, Answer):
                piece = replace(piece, notes=(*asked.notes, *piece.notes, *self._notes(opened, piece)))
            yield piece

    def _narrowed(self, question: str, collections: Sequence[str]) -> tuple[Query, Generation, Where]:
        """QUESTION without its filters, what is read to answer it, and where in there, with what weights.

        Raises InvalidParams for what cannot be asked, NotIndexed where there are no such pages.
        """
        names, given = query.weighted(collections)
        asked = query.parse(checked_question(question), query.today())
        opened = self.generation(names)
        opened.check_collections(names, self.way_to)
        weights = {**self._weights(opened.manifest.collections), **given}
        return asked, opened, {"scope": query.scope(opened, asked, names), "weights": weights}

    def _weights(self, names: Iterable[str]) -> dict[str, float]:
        """What collections weigh by the settings, and NAMES by their files; only what weighs otherwise than 1."""
        weights = {name: sources.weight(name, self.settings.folders.sources) for name in names}
        try:
            weights |= query.weighted(self.settings.search.weights)[1]
        except InvalidParams as exc:
            raise SettingsError(f"[search] weights: {exc.message}", hint='weights = ["go-gc=2", "blog=0.5"]') from exc
        return {name: weight for name, weight in weights.items() if weight != 1}

    def _notes(self, opened: Generation, answer: Answer) -> Iterator[str]:
        """What a reader should know of the generation that an answer was found in."""
        made = opened.manifest
        if answer.mode == "hybrid" and (partly := self._so_far(made)):
            yield partly
        if answer.abstained and writer(self.settings.folders.store):
            yield "pages are being read right now: ask again later"
        if list(made.collections) == [sources.HANDBOOK]:
            yield "answered from the handbook that ships with ragmacs; for the real guide: ragmacs crawl go-gc"
        cited = [each for each in answer.citations if not each.url.startswith(handbook.SCHEME)]
        if cited and self.settings.answer.old_days:
            states = roster.read(opened.folder.parent)
            collections = opened.collections_of({each.url for each in cited})
            yield from aged.notes(cited, collections, states, days=self.settings.answer.old_days)

    def read(
        self, url: str, *, allow: Sequence[str] = (), mirror: Sequence[str] = (), known_only: bool = False
    ) -> Page:
        """One page, fetched and extracted, nothing stored.

        KNOWN_ONLY is for who may not choose where to go, as a tool: only what `standing` knows is then fetched,
        and no document of this machine.
        """
        if known_only:
            kinds.check_open(url)
        with self.reader(allow=allow, mirror=mirror, only=self._only_known() if known_only else None) as reader:
            return self._fetched(reader, url)[1]

    def _fetched(self, reader: Reader, url: str) -> tuple[Response, Page]:
        """What the address URL leads to; raises NoContent for a wall in front of it."""
        if not self.own:
            kinds.check_open(url)
        asked = kinds.canonical(url)
        response = reader.read(asked, self.cancel)
        page = reader.extractor.extract(response, cancel=self.cancel)
        walls.check(asked, page)
        return response, page

    def extracted(self, response: Response) -> Page:
        """The page in RESPONSE; raises NoContent."""
        with self.reader() as reader:
            return reader.extractor.extract(response, cancel=self.cancel)

    def standing(self, url: str) -> Standing:
        """How well URL is known: indexed, opened by the settings, on the site of a collection, or not at all."""
        if self.indexed(url) or url.startswith(handbook.SCHEME):
            return "indexed"
        network = self.settings.network
        entries = (*map(check_allow, network.allow), *(parse_mirror(each)[0] for each in network.mirror))
        if is_allowed(parse(url), map(parse, entries)):
            return "allowed"
        return "collection" if origin(url) in self._sites() else "unknown"

    def _only_known(self, allow: Sequence[str] = ()) -> Callable[[Parts], bool]:
        opened = [parse(check_allow(entry)) for entry in allow]

        def known(parts: Parts) -> bool:
            if is_allowed(parts, opened):
                return True
            with self.request(cancel=self.cancel) as mine:  # of any thread
                return mine.standing(parts.url) != "unknown"

        return known

    def _sites(self) -> set[str]:
        """The origins of all collections: of those with a file by their seeds, of others by the pages they got."""
        found: set[str] = set()
        known = sources.files(self.settings.folders.sources)
        for path in known.values():
            with suppress(SettingsError, AddressRefused):
                found.update(origin(seed) for seed in sources.read(path).seeds if seed.startswith("http"))
        opened = self.generation()
        for name in opened.manifest.collections:
            if name not in known and name != sources.HANDBOOK:
                found.update(map(origin, opened.fetched(name)))
        return found

    def summarize(
        self,
        url: str,
        *,
        length: int = LENGTH,
        allow: Sequence[str] = (),
        mirror: Sequence[str] = (),
        known_only: bool = False,
        page: Page | None = None,
        style: str = "bullets",
        language: str = "",
        refresh: bool = False,
    ) -> Iterator[Point | Summary]:
        """A summary of PAGE, else of the page at URL: points as they come, then the Summary that holds them.

        An indexed page is not fetched; with #anchor only that section, and what is below it, is summarized.
        ALLOW, MIRROR and KNOWN_ONLY are as in `read`. STYLE and LANGUAGE are as in `summarize.summarize`. What an
        LLM wrote is kept; REFRESH has it write again.
        """
        check_length(length)
        check_form(style, language)
        cached = self.indexed(url) if page is None else None
        page = section_of(page or cached or self.read(url, allow=allow, mirror=mirror, known_only=known_only), url)
        settings, llm = self.settings.answer, self.settings.llm
        budget = answering.Budget(settings.max_chars, settings.context_chars, llm.max_tokens, settings.summary_tokens)
        summaries = kept.Kept(self.settings.folders.summaries)
        key = kept.key(page, llm.base_url, llm.model, length, style, language, *astuple(budget)) if self.chat else ""
        if key and not refresh and (known := summaries.get(key)):
            yield from known.points
            yield known
            return
        pieces = summarizing.summarize(
            page,
            self.chat,
            length=length,
            style=style,
            language=language,
            budget=budget,
            from_cache=cached is not None,
            sink=self.sink,
            cancel=self.cancel,
        )
        for piece in pieces:
            if key and isinstance(piece, Summary) and piece.model and piece.complete:
                summaries.put(key, piece)
            yield piece

    def listed(
        self, address: str, *, allow: Sequence[str] = (), mirror: Sequence[str] = (), known_only: bool = False
    ) -> list[Entry]:
        """What the list at ADDRESS names: a page of links, a feed, or a list in any other form."""
        only = self._only_known(allow) if known_only else None
        with self.reader(allow=allow, mirror=mirror, only=only) as reader:
            response = reader.means.fetcher.get(address, also=lists.TYPES, cancel=self.cancel)
        return lists.fold(lists.parse(response.body, base=response.url, charset=response.charset))

    def subscribed(
        self,
        entries: Sequence[Entry],
        journal: Journal,
        *,
        allow: Sequence[str] = (),
        mirror: Sequence[str] = (),
        known_only: bool = False,
    ) -> list[Entry]:
        """ENTRIES with the newest entries of the feeds that they subscribe to, in the place of those."""
        if not any(entry.feed for entry in entries):
            return list(entries)
        only = self._only_known(allow) if known_only else None
        with self.reader(allow=allow, mirror=mirror, only=only) as reader:
            fetch = partial(reader.means.fetcher.get, also=lists.TYPES, cancel=self.cancel)
            return feeds.brought(entries, journal, fetch, sink=self.sink, cancel=self.cancel)

    def batch(
        self,
        entries: Sequence[Entry],
        journal: Journal,
        options: batching.Options,
        *,
        allow: Sequence[str] = (),
        mirror: Sequence[str] = (),
        known_only: bool = False,
    ) -> tuple[list[Row], Digest]:
        """Read and summarize ENTRIES, as far as JOURNAL does not record it: what became of each, and a digest.

        ALLOW, MIRROR and KNOWN_ONLY are as in `read`; with KNOWN_ONLY, ALLOW opens its origins, too.
        """
        check_length(options.length)
        check_form(options.style, options.language)
        only = self._only_known(allow) if known_only else None
        chat = batching.Metered(self.chat, options.max_tokens) if self.chat else None
        with self.reader(allow=allow, mirror=mirror, only=only) as reader:
            asking = copy.copy(self)
            asking.own = self.own and not known_only
            reading = _Reading(asking, reader, options)
            batching.run(entries, journal, reading, options, chat=chat, sink=self.sink, cancel=self.cancel)
        rows = batching.rows(entries, journal.records())
        if chat is None or chat.spent:
            return rows, themes.digest(rows)
        return rows, themes.written(rows, chat, budget=self.settings.answer.context_chars, cancel=self.cancel)

    def job(
        self,
        entries: Sequence[Entry],
        title: str,
        options: batching.Options,
        *,
        collection: str = "",
        allow: Sequence[str] = (),
        mirror: Sequence[str] = (),
    ) -> Job:
        """`batch` for who may not choose where to go, remembered in the cache; `known_job` gives it again.

        Cancelled names the job, too. With COLLECTION its pages become one of that name.
        """
        checked_name(collection or None)
        with jobs.begun(self.settings.folders.batches, entries, title) as (name, journal):
            try:
                entries = self.subscribed(entries, journal, allow=allow, mirror=mirror, known_only=True)
                jobs.remember(journal, entries)
                rows, digest = self.batch(entries, journal, options, allow=allow, mirror=mirror, known_only=True)
            except Cancelled as exc:
                raise Cancelled(hint="send the list again to go on", data={"job": name}) from exc
            journal.remember("digest", json.dumps(digest.as_json()))
            if collection:
                self.shelve(collection, title, rows, journal, allow=allow, mirror=mirror)
            return Job(name, title, rows, digest)

    def known_job(self, name: str) -> Job:
        """The job NAME as it is now; raises InvalidParams where there is none, Busy while it is under way."""
        return jobs.known(self.settings.folders.batches, name)

    def evaluate(
        self, asked: Sequence[Question], *, answers: bool = False, k: int = 10, collections: Sequence[str] = ()
    ) -> Iterator[evaluation.Line]:
        """What is found for each of ASKED, as lines of a run file; with ANSWERS the answer is all that is found.

        It waits for the model and the handbook's vectors: words alone, for the moment, are not what is measured.
        """
        if self.settings.search.mode == "hybrid":
            with suppress(EmbedderMissing):
                self.prepare()
        for n, question in enumerate(asked):
            self.cancel.check()
            self.sink(Progress("eval", n, len(asked)))
            if answers:
                *_, answer = self.ask(question.text, collections=collections)
                assert isinstance(answer, Answer)
                yield evaluation.answer_line(question, answer)
            else:
                yield evaluation.result_line(question, self.search(question.text, k=k, collections=collections))
        self.sink(Progress("eval", len(asked), len(asked)))

    @contextmanager
    def trial(self, model: Path) -> Iterator[App]:
        """An App over the same pages, indexed aside with the model in the folder MODEL; nothing stays of its index.

        Raises EmbedderMissing when MODEL is none that can be used.
        """
        pages = self.generation().folder.parent
        where = self.settings.folders
        with mapped(str(where.cache)):
            where.cache.mkdir(parents=True, exist_ok=True)
            made = tempfile.TemporaryDirectory(prefix="trial-", dir=where.cache)
        with made as aside:
            folders = replace(where, data=Path(aside))
            embed = replace(self.settings.embed, path=str(model))
            settings = replace(self.settings, folders=folders, embed=embed)
            with App(settings, self._environ, sink=self.sink, cancel=self.cancel) as app:
                name = app.model.name
                with Store(pages), mapped(CRAWL_DB):  # nobody writes while it is copied
                    folders.store.mkdir()
                    shutil.copyfile(pages / CRAWL_DB, folders.store / CRAWL_DB)
                if not app.reindex().model:
                    raise EmbedderMissing(f"{name} in {model} embeds nothing", hint="ragmacs -v names the reason")
                yield app

    def status(self) -> dict[str, Any]:
        """What is indexed and who is writing, in the shape every transport gives it."""
        made = self.manifest()
        index = {
            "store": str(self.settings.folders.store),
            "generation": made.number if made else 0,
            "created": made.created if made else "",
            "collections": made.collections if made else {},
            "pages": made.pages if made else 0,
            "chunks": made.chunks if made else 0,
            "model": made.model if made else "",
            "vectors": made.vectors if made else 0,
            "dense": made.index if made else {},
            "writer": writer(self.settings.folders.store),
        }
        return {"index": index}


@dataclass(frozen=True, slots=True)
class _Reading:
    """What a run over a reading list asks for, from many threads: each time of an App of its own."""

    app: App
    reader: Reader
    options: batching.Options

    def fetch(self, url: str) -> Kept | Page:
        app = self.app
        if app.manifest() is not None:
            with app.request(cancel=app.cancel) as mine:
                if page := mine.indexed(url):
                    return page
        response, page = app._fetched(self.reader, url)
        return Kept.of(page, response)

    def summarize(self, page: Page, chat: Chat | None) -> Summary:
        mine = copy.copy(self.app)  # no `request`: the next one would have its LLM, which is metered for this run
        mine.chat, mine.sink, mine._generation = chat, ignore, None
        try:
            form: dict[str, Any] = {key: getattr(self.options, key) for key in ("length", "style", "language")}
            *_, summary = mine.summarize(page.url, page=page, **form)
        finally:
            mine._release()
        assert isinstance(summary, Summary)
        return summary


def checked_question(question: str) -> str:
    """QUESTION without surrounding blanks; raises InvalidParams for what cannot be one."""
    text = question.encode("utf-8", "replace").decode().strip()  # no half characters from the command line
    if not text:
        raise InvalidParams("the question is empty", hint='ragmacs ask "What does GOGC do?"')
    if "\0" in text:
        raise InvalidParams("the question holds a NUL byte", hint="ask with text only")
    if len(text) > MAX_QUESTION:
        message = f"the question has {len(text):,} characters, at most {MAX_QUESTION:,} are read"
        raise InvalidParams(message, hint="ask for one thing")
    return text


def section_of(page: Page, url: str) -> Page:
    """PAGE, or the part of it at the #anchor of URL; raises InvalidParams for an anchor that is not there."""
    anchor = split_fragment(url)[1]
    if anchor and not page.part(anchor):
        raise InvalidParams(f"no section #{anchor} in {page.url}", hint="leave the anchor out to see the page")
    return replace(page, sections=page.part(anchor))
