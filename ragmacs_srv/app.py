"""What ragmacs can do, whoever asks: crawl, search, ask, summarize, measure; the parts come from `composition`."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, astuple, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from . import pipeline, proposal
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
from .aside import PREPARE, Preparation
from .composition import Composition, Warm
from .errors import (
    AddressRefused,
    Busy,
    Cancelled,
    EmbedderMissing,
    InvalidParams,
    NotIndexed,
    SettingsError,
    ToolchainMissing,
)
from .events import Cancel, Progress, Sink, ignore, timed
from .golang import helper
from .ingest import kinds, lists, plans, sources, walls
from .ingest.address import check_allow, is_allowed, parse_mirror
from .ingest.kinds import handbook
from .ingest.lists import Entry
from .ingest.plans import Guess
from .ingest.urls import Parts, origin, parse, split_fragment
from .model import Answer, Page, Response, Source, Standing
from .pipeline import Growth, Reader, Report
from .proposal import Plan
from .search import generation, history, query, retrieve, roster, soundness
from .search.database import mapped, writer
from .search.deadline import within
from .search.embed import (
    Embedder,
    Named,
    OnnxEmbedder,
    OpenVinoEmbedder,
    space,
)
from .search.generation import Generation, Manifest, Scope
from .search.history import Change
from .search.query import Query, Weights
from .search.retrieve import Results
from .search.store import CRAWL_DB, Receipt, Store, look
from .settings import Settings

if TYPE_CHECKING:
    from .answer.llm import Chat

MAX_QUESTION = 4000  # characters
SOON = 64  # chunks that are embedded in seconds: not worth a generation without their vectors
ENOUGH = 0.9  # of the chunks have vectors, or words alone find more: MRR .46 with a third, .55 with 3/4, .59 without
UNREADABLE = "cannot be read"
WITHOUT = {"failed", "refused", "gone", "left"}  # what became of an address that gave no page, or none any more
GROWN_CHUNKS, GROWN_VECTORS = 100, 256  # the least that makes a new generation worth its while

log = logging.getLogger(__name__)


class Where(TypedDict):
    """Where a question is searched for, and what weighs how much."""

    scope: Scope
    weights: Weights


PARTS = ("model", "chat", "judge", "go", "_handbook_store")  # which know nothing of the request that needed them first


class App(Composition):
    """Everything ragmacs can do, in this process. One call at a time, but see `request`; close it when done."""

    def __init__(
        self, settings: Settings, environ: Mapping[str, str], *, sink: Sink = ignore, cancel: Cancel | None = None
    ) -> None:
        self.settings = settings
        self.sink = timed(sink)
        self.cancel = cancel or Cancel()
        self._environ = environ
        self._warm = Warm()
        self._first = self  # whom `request` copies: what outlives a request is not stopped by its cancel
        self._generation: Generation | None = None
        self.own = True  # who asks sits at this machine, and may name what is on it
        self.roots: tuple[Path, ...] = tuple(Path(each).expanduser() for each in settings.go.roots)

    def __enter__(self) -> App:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._release()
        self._warm.generations.close()

    @contextmanager
    def request(
        self, *, sink: Sink = ignore, cancel: Cancel | None = None, roots: Sequence[Path] = ()
    ) -> Iterator[App]:
        """This App for one request in one thread, with the same warm parts; any number at the same time.

        The generation that it reads stays readable until the end, whatever is published meanwhile. Go code is read
        below ROOTS, too; no other documents of this machine are.
        """
        mine = copy.copy(self)
        mine.roots, mine.own = (*roots, *self.roots), False
        mine.sink, mine.cancel, mine._generation = timed(sink), cancel or Cancel(), None
        try:
            yield mine
        finally:
            mine._release()
            vars(self).update((name, part) for name, part in vars(mine).items() if name in PARTS)  # for the next one

    def _release(self) -> None:
        if self._generation is not None:
            self._warm.generations.release(self._generation)
            self._generation = None

    # The parts

    def asker(self, opened: Generation) -> tuple[Embedder | None, str]:
        """What embeds a question to OPENED, or None with the reason why there is none; it keeps nobody waiting.

        What is not ready is made ready by another process, for the questions to come.
        """
        if self.settings.search.mode == "lexical":
            return None, ""
        made = opened.manifest
        try:
            if self.settings.embed.engine != "endpoint":
                _ = self.model  # raises where there is none
            if made.vectors >= ENOUGH * made.chunks:
                return self._prompt(), ""
        except EmbedderMissing as exc:
            if exc.hint == PREPARE:
                return None, self._preparation.start("the model", self._environ)
            return None, f"{exc.message}; run: {exc.hint}"
        if opened.folder.parent == self._handbook_store:
            return None, self._preparation.start("the handbook", self._environ)
        return None, self._so_far(made)

    def _prompt(self) -> Embedder:
        """What embeds questions; raises EmbedderMissing when that must be exported first."""
        deadline = self.settings.search.deadline
        with self._warm.lock:
            if self._warm.asker is None:
                engine = self._first._engine(wait=deadline <= 0)
                if isinstance(engine, OnnxEmbedder | OpenVinoEmbedder):
                    engine.embed([""], query=True)  # loads it: our own third of a second, no time of waiting
                self._warm.asker = within(engine, deadline) if deadline > 0 else engine
            return self._warm.asker

    def _so_far(self, made: Manifest) -> str:
        """How much of a generation has no vectors yet, or ""."""
        if made.vectors == made.chunks:
            return ""
        hint = " so far" if writer(self.settings.folders.store) else "; run: ragmacs reindex"
        return f"vectors for {made.vectors:,} of {made.chunks:,} chunks{hint}"

    @property
    def _preparation(self) -> Preparation:
        return Preparation(self.settings.folders.cache, repr(self.settings.embed))

    def generation(self, collections: Sequence[str] = ()) -> Generation:
        """What readers see now; the handbook's own while nothing is indexed, or where it alone is asked for."""
        folder = self.settings.folders.store
        made = generation.newest_manifest(folder) if list(collections) == [sources.HANDBOOK] else None
        if generation.newest(folder) is None or (made and sources.HANDBOOK not in made.collections):
            folder = self._handbook_store
            self._read_handbook(folder)
            if self.settings.search.deadline <= 0:
                self._embed_handbook(folder)
        if self._generation is None or self._generation.folder != generation.newest(folder):
            self._release()
            self._generation = self._warm.generations.open(folder)
        if self._generation is None:
            raise NotIndexed(f"nothing is indexed in {folder}", hint="ragmacs crawl go-gc")
        return self._generation

    @cached_property
    def _handbook_store(self) -> Path:
        """Where the handbook that ships with us is indexed, apart: whoever writes to the store is not in its way."""
        digest = hashlib.sha256(b"%d" % generation.FORMAT)
        for response in handbook.responses():
            digest.update(response.body)
        return self.settings.folders.handbook / digest.hexdigest()[:8]

    def _read_handbook(self, folder: Path) -> None:
        """Publish the handbook in FOLDER, if it is not there yet, without waiting for vectors."""
        while generation.newest(folder) is None:
            try:
                with Store(folder) as store, self.reader() as reader:
                    pipeline.crawl(store, reader, handbook.source(), cancel=self.cancel)
                    pipeline.publish(store, reader, None, force=True)
            except Busy:
                self.cancel.wait(0.1)  # another process does just this: it takes a second

    def _embed_handbook(self, folder: Path) -> None:
        """Give the handbook in FOLDER the vectors it lacks, if there is a model."""
        while (made := generation.newest_manifest(folder)) and made.missing and self.embedder[0] is not None:
            try:
                with Store(folder) as store, self.reader() as reader:
                    self._publish(store, reader)
                    return
            except Busy:
                self.cancel.wait(0.1)  # another process does just this

    # Reading

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

    def indexed(self, url: str) -> Page | None:
        """The page at URL as readers see it, or None; raises AddressRefused for what is no address."""
        return self.generation().page(kinds.canonical(url.partition("#")[0]))

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
        """The origins of all collections: of those with a file by their seeds, of others by their pages."""
        found: set[str] = set()
        known = sources.files(self.settings.folders.sources)
        for path in known.values():
            with suppress(SettingsError, AddressRefused):
                found.update(origin(seed) for seed in sources.read(path).seeds if seed.startswith("http"))
        opened = self.generation()
        for name in opened.manifest.collections:
            if name not in known and name != sources.HANDBOOK:
                found.update(origin(url) for url, _, _ in opened.pages(name) if url.startswith("http"))
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

    # Reading lists

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

    def shelve(self, name: str, title: str, rows: Sequence[Row], journal: Journal, **options: Sequence[str]) -> Report:
        """Make the pages of ROWS, as JOURNAL has them, the collection NAME; OPTIONS are those of an update of it."""
        done = [(row.entry.url, row.record.page) for row in rows if row.record.points]
        urls = tuple(url for url, _ in done)
        if not done:
            raise NotIndexed(f"no page of the list could be read: there is nothing to index as {name!r}")
        source = self.added(Source(name, title, urls, depth=0, max_pages=len(urls)))
        arrivals = ((url, page, journal.page(page)) for url, page in done)
        known = {key: list(value) for key, value in options.items()}
        with self.store() as store, self.reader() as reader:
            report = pipeline.shelve(store, reader, source, arrivals, options=known, sink=self.sink, cancel=self.cancel)
            pipeline.drop_repeats(store, reader, sorted({origin(url) for url in urls}))
            self._publish(store, reader)
        return report

    # Measuring

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

    # Writing

    def source(self, name: str) -> Source:
        """The collection NAME: the handbook, or one with a file."""
        if name == sources.HANDBOOK:
            return handbook.source()
        return sources.load(name, self.settings.folders.sources)

    def wanted(self, targets: Sequence[str], name: str | None = None) -> list[Source]:
        """The collections that TARGETS name, and one, called NAME, made of the addresses among them."""
        name = checked_name(name)
        addresses = [each for each in targets if kinds.is_address(each)]
        if not self.own:
            for each in addresses:
                kinds.check_open(each)
        found = [self.source(each) for each in targets if each not in addresses]
        if addresses:
            host = re.sub(r"[^\w.-]+", "-", addresses[0].split("://")[-1].partition("/")[0]).strip("-")[:64] or "pages"
            found.append(self.added(Source(name or host, f"Pages of {host}", tuple(addresses), depth=2, max_pages=200)))
        if not found:
            known = ", ".join(sources.files(self.settings.folders.sources))
            raise InvalidParams("nothing to crawl", hint=f"name a collection ({known}) or an address")
        return found

    def added(self, source: Source) -> Source:
        """SOURCE, made of addresses, with those that a collection of its name was made of before.

        Raises InvalidParams for the name of a collection that has a file: it would lose its pages.
        """
        if source.name == sources.HANDBOOK or source.name in sources.files(self.settings.folders.sources):
            raise InvalidParams(f"{source.name!r} is the name of another collection", hint="name yours with --name")
        if not (self.settings.folders.store / CRAWL_DB).exists():
            return source
        with self.store() as store:
            known = store.collection(source.name)
        seeds = tuple(dict.fromkeys((*(known[0].seeds if known else ()), *source.seeds)))
        return replace(source, seeds=seeds, max_pages=max(source.max_pages, len(seeds)))

    def meant(self, address: str, look: plans.Look) -> Guess | Source:
        """What ADDRESS means: a collection that there is, by its name or its seeds, or else one that could be made.

        Raises InvalidParams for what cannot be one, AddressRefused for what this App may not name.
        """
        files = sources.files(self.settings.folders.sources)
        if address in {*files, sources.HANDBOOK}:
            return self.source(address)
        if address in {name for name, _, _ in self.known_collections()}:
            raise InvalidParams(f"{address!r} is indexed already", hint=f"ragmacs update {shlex.quote(address)}")
        guess = plans.guess(address, look)
        if not self.own:
            for seed in guess.source.seeds:
                kinds.check_open(seed)
        seeds = tuple(map(kinds.canonical, guess.source.seeds))
        for path in files.values():
            with suppress(SettingsError, AddressRefused):
                known = sources.read(path)
                if len(known.seeds) == 1 and tuple(map(kinds.canonical, known.seeds)) == seeds:
                    return known
        return replace(guess, source=replace(guess.source, seeds=seeds))

    def named(self, guesses: Sequence[Guess], name: str | None) -> list[Guess]:
        """GUESSES under names that no other collection has: all of them as NAME, where one is given.

        Raises InvalidParams where NAME is that of another collection.
        """
        taken = {each for each, _, _ in self.known_collections()}
        if checked_name(name) in taken:
            raise InvalidParams(f"{name!r} is the name of another collection", hint="choose another --name")
        found = []
        for each in plans.merged(guesses, name or ""):
            free = plans.free_name(each, taken)
            taken.add(free)
            found.append(replace(each, source=replace(each.source, name=free)))
        return found

    def propose(self, guess: Guess, *, allow: Sequence[str] = (), mirror: Sequence[str] = ()) -> Plan:
        """The plan for GUESS, which asks its first pages what they are; nothing is stored."""
        with self.reader(allow=allow, mirror=mirror) as reader:
            return proposal.propose(guess, reader, self.cancel)

    def crawl(self, source: Source, *, allow: Sequence[str] = (), mirror: Sequence[str] = ()) -> Report:
        """Read SOURCE into the store and publish; what a stopped crawl had read is not read again."""
        options = {"allow": list(allow), "mirror": list(mirror)}
        with self.store() as store, self.reader(allow=allow, mirror=mirror) as reader:
            report = self._read(store, reader, source, options)
            self._publish(store, reader)
            return report

    def prepare(self) -> Manifest | None:
        """Make ready what the first question would have to wait for: the model, and the handbook's vectors.

        Returns what the handbook's index is then; None where other pages are indexed, or without a model.
        """
        with self._preparation.remembered():
            embedder, reason = self.embedder
            if embedder is None:
                raise EmbedderMissing(reason or "search is lexical by configuration", hint="ragmacs model pull")
            embedder.embed(["ready?"])
        if generation.newest(self.settings.folders.store) is not None:
            return None
        self._read_handbook(self._handbook_store)
        self._embed_handbook(self._handbook_store)
        return generation.newest_manifest(self._handbook_store)

    def update(
        self, names: Sequence[str] = (), *, failed: bool = False, allow: Sequence[str] = (), mirror: Sequence[str] = ()
    ) -> list[Report]:
        """Crawl collections again, all by default, each with its last options where none are given; publish once.

        With FAILED only the addresses that failed or were refused the last time are read, and nothing is dropped.
        """
        reports = []
        with self.store() as store:
            for name in names or [each for each, _, _ in store.collections()]:
                source, options = self._known(store, name, named=bool(names))
                options = {"allow": list(allow) or options["allow"], "mirror": list(mirror) or options["mirror"]}
                with self.reader(allow=options["allow"], mirror=options["mirror"]) as reader:
                    reports.append(self._read(store, reader, source, None if failed else options))
            if reports:
                with self.reader() as reader:
                    self._publish(store, reader)
        return reports

    def _known(self, store: Store, name: str, *, named: bool) -> tuple[Source, dict[str, Any]]:
        """A collection as it is to be crawled again, and the options that it was crawled with.

        One that was not NAMED is crawled as it was last, where its file is wrong: it keeps none of the others waiting.
        """
        known = store.collection(name)
        if known is None:
            raise NotIndexed(f"the collection {name!r} was never crawled", hint=f"ragmacs crawl {name}")
        source, options = known
        if name == sources.HANDBOOK or name in sources.files(self.settings.folders.sources):
            try:
                source = self.source(name)  # its file may have changed
            except SettingsError as exc:
                if named:
                    raise
                log.warning("%s is read as it was the last time: %s", name, exc.message)
        return source, options

    def remove(self, target: str) -> int:
        """Forget a collection or one page and publish; returns how many pages went."""
        with self.store() as store, self.reader() as reader:
            if kinds.is_address(target):
                removed = store.remove_url(kinds.canonical(target))
            elif store.collection(target):
                removed = store.remove_collection(target)
            else:
                known = ", ".join(name for name, _, _ in store.collections()) or "none"
                raise NotIndexed(f"no collection {target!r} (there are: {known})", hint="ragmacs collections")
            self._publish(store, reader)
            return removed

    def forget(self, target: str) -> tuple[int, Path | None, bool]:
        """`remove`, and the file of the collection, if nobody changed what `sources.write` wrote.

        Returns how many pages went, the file, and whether it went.
        """
        own = self.settings.folders.sources
        has_file = not kinds.is_address(target) and (own / f"{target}.toml").is_file()
        with self.store() as store:
            indexed = not has_file or store.collection(target) is not None
        removed = self.remove(target) if indexed else 0
        file, gone = sources.discard(target, own) if has_file else (None, False)
        return removed, file, gone

    def reindex(self) -> Manifest:
        """Chunk, embed and publish anew what is stored, without any network."""
        with self.store() as store, self.reader() as reader:
            if not store.urls():
                raise NotIndexed("there is nothing to index", hint="ragmacs crawl go-gc")
            manifest = self._publish(store, reader, force=True)
        assert manifest is not None
        return manifest

    # The state of things

    def manifest(self) -> Manifest | None:
        """What the newest generation was made from, its files unread; None before the first one."""
        return generation.newest_manifest(self.settings.folders.store)

    def known_collections(self) -> list[tuple[str, str, str]]:
        """(name, title, licence) of every collection that has a file, is indexed, or ships with us."""
        rows = {sources.HANDBOOK: (handbook.source().title, handbook.source().licence)}
        for name, path in sources.files(self.settings.folders.sources).items():
            try:
                source = sources.read(path)
                rows[name] = (source.title, source.licence)
            except SettingsError as exc:
                rows[name] = (f"{UNREADABLE}: {exc.message}", "")
        made = self.manifest()
        for name in made.collections if made else ():
            rows.setdefault(name, ("", ""))
        return [(name, *row) for name, row in sorted(rows.items())]

    def collections(self) -> list[dict[str, Any]]:
        """What is known of each collection without opening `crawl.db`, by name: size, age, state."""
        folder, made = self.settings.folders.store, self.manifest()
        indexed, states, writing = made.collections if made else {}, roster.read(folder), bool(writer(folder))
        rows = []
        for name, title, licence in self.known_collections():
            pages, state = indexed.get(name, 0), states.get(name)
            word = roster.standing(state, pages=pages, writing=writing, old_days=self.settings.answer.old_days)
            if name == sources.HANDBOOK and not pages:
                word = "built in"
            if title.startswith(UNREADABLE):
                word = UNREADABLE
            days = roster.days_since(state.confirmed) if state else None
            row = asdict(state or roster.State(name, title)) | {"pages": pages}
            row |= {"title": title or row["title"], "licence": licence or row["licence"]}
            rows.append({**row, "age": "" if days is None else roster.age(days), "state": word})
        return rows

    def collection(self, name: str) -> dict[str, Any]:
        """The pages of a collection as readers see them, and the addresses that gave none, or none any more.

        Raises InvalidParams for one of which there is neither.
        """
        made, folder = self.manifest(), self.settings.folders.store
        indexed = name == sources.HANDBOOK or (made is not None and name in made.collections)
        pages = self.generation([name]).pages(name) if indexed else []
        receipts: list[Receipt] = []
        if (folder / CRAWL_DB).exists():
            with look(folder) as store:
                receipts = [each for each in store.receipts(name) if each.status in WITHOUT]
        if not pages and not receipts:
            raise InvalidParams(f"no pages of {name!r}", hint=f"ragmacs crawl {name}")
        listed = [{"url": url, "title": title, "fetched_at": at} for url, title, at in pages]
        names = ("url", "status", "reason", "at")
        without = [{name: getattr(each, name) for name in names} | {"kept": bool(each.page)} for each in receipts]
        return {"pages": listed, "without": without}

    def diff(self, name: str = "", since: str = "") -> list[Change]:
        """What changed in a collection, in all by default, since its last crawl began, or since another time.

        SINCE is as in `history.since`. Raises NotIndexed for a collection that was never read.
        """
        when, folder = history.since(since) if since else "", self.settings.folders.store
        if not (folder / CRAWL_DB).exists():
            raise NotIndexed("nothing was read yet", hint="ragmacs crawl go-gc")
        with look(folder) as store:
            known = [each for each, _, _ in store.collections()]
            if name and name not in known:
                message = f"the collection {name!r} was never read (there are: {', '.join(known) or 'none'})"
                raise NotIndexed(message, hint=f"ragmacs crawl {name}")
            found = {each: None for name in ([name] if name else known) for each in store.history(name, when)}
        return sorted(found, key=lambda each: each.at)

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

    def verify(self) -> list[str]:
        """Every damage in the store, a line each; none means that it is sound."""
        return soundness.problems(self.settings.folders.store)

    def repair(self) -> list[str]:
        """Remove what is damaged, index the rest anew; says what was done, a line each."""
        done = soundness.repair(self.settings.folders.store)
        if done:
            with self.store() as store, self.reader() as reader:
                if store.urls():
                    self._publish(store, reader, force=True)
        return done

    def diagnose(self) -> list[dict[str, Any]]:
        """What works on this machine: a row {what, ok, found} per part, folders with their size first."""
        return [{"what": what, "ok": ok, "found": found} for what, ok, found in self._diagnosis()]

    def _diagnosis(self) -> Iterator[tuple[str, bool, str]]:
        where = self.settings.folders
        for what, path in (("config", where.config), ("data", where.data), ("cache", where.cache)):
            yield f"{what} folder", True, f"{path} ({_size(path)})"
        free = shutil.disk_usage(_existing(where.data)).free
        yield "disk", free > 500 * 2**20, f"{free / 2**30:.1f} GiB free"
        yield "model", *self._diagnosed_model()
        made = self.manifest()
        found = (
            f"{made.pages} pages, {made.chunks} chunks"
            if made
            else "none yet: questions are answered from the handbook"
        )
        yield "index", True, found
        llm = self.settings.llm
        yield "llm", True, f"{llm.model} at {llm.base_url}" if llm.base_url else "none: answers are extracted"
        yield from self._diagnosed_go()

    def _diagnosed_go(self) -> Iterator[tuple[str, bool, str]]:
        try:
            go = self.go
        except ToolchainMissing as exc:
            yield "go", False, f"{exc.message}; the Go tools need it: {exc.hint}"
            return
        yield "go", True, f"{go.version} at {go.program}"
        built = helper.is_built(go, self.settings.folders.golang)
        yield (
            "go helper",
            True,
            "built" if built else "not built yet: the first layout does it, or ragmacs doctor --warm",
        )

    def _diagnosed_model(self) -> tuple[bool, str]:
        settings = self.settings.embed
        if settings.engine == "endpoint":
            server = settings.base_url or "no server: set [embed] base_url"
            return bool(settings.base_url), f"{settings.model} at {server}"
        try:
            return True, f"{self.model.name}, {self.model.origin}: {self.model.path}"
        except EmbedderMissing as exc:
            return False, f"{exc.message}; run: {exc.hint}"

    def _read(self, store: Store, reader: Reader, source: Source, options: dict[str, Any] | None) -> Report:
        """Read SOURCE into STORE, without OPTIONS only what failed the last time; much of it is shown meanwhile."""
        growth = Growth(lambda: self._show(store, reader), store.count()[1], GROWN_CHUNKS)
        walk = pipeline.retry if options is None else partial(pipeline.crawl, options=options)
        report = walk(
            store,
            reader,
            source,
            sink=self.sink,
            cancel=self.cancel,
            grown=lambda: growth(store.count()[1]),
        )
        sites = {origin(url) for url in source.seeds if url.startswith("http")}
        pipeline.drop_repeats(store, reader, sorted(sites))
        return report

    def _publish(self, store: Store, reader: Reader, *, force: bool = False) -> Manifest | None:
        """Embed what has no vector yet, and show readers all of STORE: its text at once, vectors as they come."""
        if not force and not store.urls() and generation.newest(store.folder) is None:
            return None
        pipeline.rechunk(store, reader)
        model = self._embed(store, reader) if self.settings.search.mode == "hybrid" else None
        return self._show(store, reader, model, force=force)

    def _embed(self, store: Store, reader: Reader) -> Named | None:
        """Give every chunk its vectors and return whose they are; what is there can be searched meanwhile."""
        rerank, compact = self.settings.search.rerank, self.settings.search.compact
        if pipeline.missing(store, self._indexed_by(store), rerank=rerank) > SOON:
            self._show(store, reader)
        embedder, reason = self.embedder
        if embedder is None:
            log.warning("no vectors are made: %s", reason)
            return None
        made = generation.newest_manifest(store.folder)
        published = made.vectors if made and (made.model_key, made.numeric) == (embedder.key, embedder.numeric) else 0
        growth = Growth(lambda: self._show(store, reader, embedder), published, GROWN_VECTORS)
        try:
            options = {"rerank": rerank, "compact": compact}
            pipeline.embed(store, embedder, **options, sink=self.sink, cancel=self.cancel, grown=growth)
        except EmbedderMissing as exc:
            log.warning("no vectors are made: %s; %s", exc.message, exc.hint)
            return None
        return embedder

    def _show(
        self, store: Store, reader: Reader, model: Named | None = None, *, force: bool = False
    ) -> Manifest | None:
        """Publish STORE as it is now, with the vectors of MODEL that there are."""
        model = model or self._indexed_by(store)
        return pipeline.publish(store, reader, model, rerank=self.settings.search.rerank, force=force)

    def _indexed_by(self, store: Store) -> Named | None:
        """Whose vectors are kept while no others are made: those that readers have, or else the model's."""
        made = generation.newest_manifest(store.folder)
        indexed = _Indexed(made.model, made.model_key, made.numeric) if made and made.model_key else None
        if indexed and store.known_vectors(space(indexed)):
            return indexed
        engine = self.settings.embed.engine
        try:
            numeric = "bf16" if engine == "openvino-bf16" else "exact"
            return None if engine == "endpoint" else _Indexed(self.model.name, self.model.key, numeric)
        except EmbedderMissing:
            return None


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


@dataclass(frozen=True, slots=True)
class _Indexed:
    """The model that readers' vectors are of."""

    name: str
    key: str
    numeric: str


def checked_name(name: str | None) -> str | None:
    """NAME, if it was given; raises InvalidParams for what cannot name a collection."""
    if name is not None and not re.fullmatch(r"[\w.-]{1,64}", name):
        raise InvalidParams(f"{name!r} cannot be the name of a collection", hint="letters, digits, dots and hyphens")
    return name


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


def _existing(path: Path) -> Path:
    """The nearest folder above PATH that exists."""
    return path if path.exists() else _existing(path.parent)


def _size(path: Path) -> str:
    if not path.exists():
        return "absent"
    used = sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    return f"{used / 2**20:.1f} MiB"
