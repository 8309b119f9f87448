"""The composition root: the only place that builds parts from Settings, each when it is first needed."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from . import pipeline
from .answer import ask as answering
from .answer import evaluation
from .answer.llm import Chat, OpenAIChat
from .answer.questions import Question
from .answer.rerank import DEPTH, Judge
from .errors import Busy, EmbedderMissing, InvalidParams, NotIndexed, SettingsError
from .events import Cancel, Progress, Sink, ignore
from .ingest import handbook, sources
from .ingest.address import check_allow, parse_mirror
from .ingest.fetch import Fetcher
from .ingest.urls import origin
from .ingest.worker import Extractor
from .model import Answer, Page, Source
from .pipeline import Reader, Report
from .search import generation, retrieve, soundness
from .search.database import mapped, writer
from .search.embed import (
    Embedder,
    ModelFolder,
    OnnxEmbedder,
    SentenceTransformerEmbedder,
    Tokens,
    Words,
    find_model,
)
from .search.export import Unexportable, exported
from .search.generation import Generation, Manifest
from .search.retrieve import Results
from .search.store import CRAWL_DB, Store
from .settings import Settings, llm_key

MAX_QUESTION = 4000  # characters

log = logging.getLogger(__name__)


class App:
    """Everything ragmacs can do, in this process. One call at a time; close it when done."""

    def __init__(
        self, settings: Settings, environ: Mapping[str, str], *, sink: Sink = ignore, cancel: Cancel | None = None
    ) -> None:
        self.settings = settings
        self.sink = sink
        self.cancel = cancel or Cancel()
        self._environ = environ
        self._generation: Generation | None = None

    def __enter__(self) -> App:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._generation is not None:
            self._generation.close()
            self._generation = None

    # The parts

    def store(self) -> Store:
        """The store, opened for writing; close it."""
        return Store(self.settings.folders.store)

    @cached_property
    def model(self) -> ModelFolder:
        """The embedding model on this machine; raises EmbedderMissing."""
        return find_model(self.settings.embed, self.settings.folders.models, self._environ)

    @cached_property
    def embedder(self) -> tuple[Embedder | None, str]:
        """The embedder, or None with the reason why there is none."""
        if self.settings.search.mode == "lexical":
            return None, ""
        try:
            model = self.model
        except EmbedderMissing as exc:
            return None, f"{exc.message}; run: {exc.hint}"
        return self._engine(model), ""

    def _engine(self, model: ModelFolder) -> Embedder:
        """What runs MODEL; both engines give the same vectors, so either may go on with the other's index."""
        settings = self.settings.embed
        if settings.engine == "onnx":
            try:
                made = exported(model, self.settings.folders.exported, cancel=self.cancel)
                return OnnxEmbedder(model, made, threads=settings.threads)
            except Unexportable as exc:
                log.warning("%s is run by torch, which starts slowly: %s", model.name, exc)
        return SentenceTransformerEmbedder(model, threads=settings.threads)

    @cached_property
    def tokens(self) -> pipeline.TokenCounter:
        """Counts as the model does, also when only its tokenizer is used."""
        try:
            return Tokens(self.model)
        except EmbedderMissing:
            return Words()

    @cached_property
    def chat(self) -> Chat | None:
        """The LLM that writes answers, or None when none is configured."""
        llm = self.settings.llm
        if not llm.base_url:
            return None
        key = llm_key(llm, self._environ)
        return OpenAIChat(llm.base_url, llm.model, key=key, timeout=llm.timeout, ca_file=self.settings.network.ca_file)

    @cached_property
    def judge(self) -> Judge | None:
        """What puts hits in order: the LLM, when the settings allow it and there is one."""
        search = self.settings.search
        return Judge(self.chat, search.llm_rerank_timeout) if search.llm_rerank and self.chat else None

    @contextmanager
    def reader(self, *, allow: Sequence[str] = (), mirror: Sequence[str] = ()) -> Iterator[Reader]:
        """What reads pages, by the network rules of the settings widened by ALLOW and MIRROR."""
        network = self.settings.network
        fetcher = Fetcher(
            allow=[check_allow(entry) for entry in (*network.allow, *allow)],
            mirrors=dict(parse_mirror(entry) for entry in (*network.mirror, *mirror)),
            proxy=network.proxy or None,
            ca_file=network.ca_file or None,
            delay=network.delay,
        )
        with fetcher, Extractor() as extractor:
            yield Reader(fetcher, extractor, self.tokens)

    def generation(self) -> Generation:
        """What readers see now; the handbook where nothing was ever indexed."""
        folder = self.settings.folders.store
        if self._generation is None:
            self._generation = generation.current(folder)
        if self._generation is None:
            self._index_handbook()
            self._generation = generation.current(folder)
        if self._generation is None:
            raise NotIndexed(f"nothing is indexed in {folder}", hint="ragmacs crawl go-gc")
        return self._generation

    def _index_handbook(self) -> None:
        try:
            self.crawl(handbook.source())
        except Busy as exc:
            message = f"nothing is indexed yet: {exc.message}"
            raise NotIndexed(message, hint="ask again when the first crawl has ended") from exc

    # Reading

    def search(self, question: str, *, k: int = 0, collections: Sequence[str] = ()) -> Results:
        """The chunks that answer QUESTION best."""
        embedder, reason = self.embedder
        question = checked_question(question)
        k = k or self.settings.search.limit
        results = retrieve.search(
            self.generation(),
            embedder,
            question,
            k=max(k, DEPTH) if self.judge else k,
            collections=collections,
            rerank=self.settings.search.rerank,
            reason=reason,
        )
        return self.judge.best(question, results, k=k, cancel=self.cancel) if self.judge else results

    def ask(self, question: str, *, collections: Sequence[str] = ()) -> Iterator[str | Answer]:
        """The answer to QUESTION: pieces of text as they come, then the Answer."""
        question = checked_question(question)
        embedder, reason = self.embedder
        settings = self.settings.answer
        opened = self.generation()
        pieces = answering.ask(
            opened,
            embedder,
            self.chat,
            question,
            budget=answering.Budget(settings.max_chars, settings.context_chars, self.settings.llm.max_tokens),
            collections=collections,
            rerank=self.settings.search.rerank,
            judge=self.judge,
            reason=reason,
            cancel=self.cancel,
        )
        only_handbook = list(opened.manifest.collections) == [sources.HANDBOOK]
        for piece in pieces:
            if isinstance(piece, Answer) and only_handbook:
                note = "answered from the handbook that ships with ragmacs; for the real guide: ragmacs crawl go-gc"
                piece = replace(piece, notes=(*piece.notes, note))
            yield piece

    def read(self, url: str, *, allow: Sequence[str] = (), mirror: Sequence[str] = ()) -> Page:
        """One page, fetched and extracted, nothing stored."""
        with self.reader(allow=allow, mirror=mirror) as reader:
            if url.startswith(handbook.SCHEME):
                response = handbook.response(url.partition("#")[0])
            else:
                response = reader.fetcher.get(url, cancel=self.cancel)
            return reader.extractor.extract(response, cancel=self.cancel)

    # Measuring

    def evaluate(
        self, asked: Sequence[Question], *, answers: bool = False, k: int = 10, collections: Sequence[str] = ()
    ) -> Iterator[evaluation.Line]:
        """What is found for each of ASKED, as lines of a run file; with ANSWERS the answer is all that is found."""
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
        self.generation()  # the handbook, where nothing else is
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
                with self.store() as store, mapped(CRAWL_DB):  # nobody writes while it is copied
                    folders.store.mkdir()
                    shutil.copyfile(store.folder / CRAWL_DB, folders.store / CRAWL_DB)
                if not app.reindex().model:
                    raise EmbedderMissing(f"{name} in {model} embeds nothing", hint="ragmacs -v names the reason")
                yield app

    # Writing

    def source(self, name: str) -> Source:
        """The collection NAME: the handbook, or one with a file."""
        if name == sources.HANDBOOK:
            return handbook.source()
        return sources.load(name, self.settings.folders.sources)

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

    def crawl(self, source: Source, *, allow: Sequence[str] = (), mirror: Sequence[str] = ()) -> Report:
        """Read SOURCE into the store and publish; what a stopped crawl had read is not read again."""
        options = {"allow": list(allow), "mirror": list(mirror)}
        with self.store() as store, self.reader(allow=allow, mirror=mirror) as reader:
            return self._crawl(store, reader, source, options)

    def update(self, name: str) -> Report:
        """Crawl a collection again, with the options it was last crawled with."""
        with self.store() as store:
            known = store.collection(name)
            if known is None:
                raise NotIndexed(f"the collection {name!r} was never crawled", hint=f"ragmacs crawl {name}")
            source, options = known
            if name == sources.HANDBOOK or name in sources.files(self.settings.folders.sources):
                source = self.source(name)  # its file may have changed
            with self.reader(allow=options["allow"], mirror=options["mirror"]) as reader:
                return self._crawl(store, reader, source, options)

    def remove(self, target: str) -> int:
        """Forget a collection or one page and publish; returns how many pages went."""
        with self.store() as store, self.reader() as reader:
            if "://" in target or target.startswith(handbook.SCHEME):
                removed = store.remove_url(target)
            elif store.collection(target):
                removed = store.remove_collection(target)
            else:
                known = ", ".join(name for name, _, _ in store.collections()) or "none"
                raise NotIndexed(f"no collection {target!r} (there are: {known})", hint="ragmacs collections")
            self._publish(store, reader)
            return removed

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
                rows[name] = (f"cannot be read: {exc.message}", "")
        made = self.manifest()
        for name in made.collections if made else ():
            rows.setdefault(name, ("", ""))
        return [(name, *row) for name, row in sorted(rows.items())]

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
        try:
            yield "model", True, f"{self.model.name}, {self.model.origin}: {self.model.path}"
        except EmbedderMissing as exc:
            yield "model", False, f"{exc.message}; run: {exc.hint}"
        made = self.manifest()
        found = f"{made.pages} pages, {made.chunks} chunks" if made else "none yet: the first question makes one"
        yield "index", True, found
        llm = self.settings.llm
        yield "llm", True, f"{llm.model} at {llm.base_url}" if llm.base_url else "none: answers are extracted"
        go = shutil.which("go", path=self._environ.get("PATH"))
        yield "go", go is not None, go or "not found; the Go tools need it"

    def _crawl(self, store: Store, reader: Reader, source: Source, options: dict[str, Any]) -> Report:
        grown = _Growth(store, lambda: self._publish(store, reader))
        report = pipeline.crawl(store, reader, source, options=options, sink=self.sink, cancel=self.cancel, grown=grown)
        sites = {origin(url) for url in source.seeds if url.startswith("http")}
        pipeline.drop_repeats(store, reader, sorted(sites))
        self._publish(store, reader)
        return report

    def _publish(self, store: Store, reader: Reader, *, force: bool = False) -> Manifest | None:
        if not force and not store.urls() and self.manifest() is None:
            return None
        embedder, _ = self.embedder
        rerank = self.settings.search.rerank
        pipeline.rechunk(store, reader)
        if embedder is not None:
            try:
                pipeline.embed(store, embedder, rerank=rerank, sink=self.sink, cancel=self.cancel)
            except EmbedderMissing:
                embedder = None
        manifest = pipeline.publish(store, reader, embedder, rerank=rerank, force=force)
        if manifest is not None:
            self.close()  # the next reader opens the new one
        return manifest


class _Growth:
    """Publishes during a long crawl, each time the corpus has grown by half and by a thousand chunks."""

    def __init__(self, store: Store, publish: Callable[[], object]) -> None:
        self._store = store
        self._publish = publish
        self._published = store.count()[1]

    def __call__(self) -> None:
        chunks = self._store.count()[1]
        if chunks - self._published >= max(1000, self._published // 2):
            self._publish()
            self._published = chunks


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


def _existing(path: Path) -> Path:
    """The nearest folder above PATH that exists."""
    return path if path.exists() else _existing(path.parent)


def _size(path: Path) -> str:
    if not path.exists():
        return "absent"
    used = sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    return f"{used / 2**20:.1f} MiB"
