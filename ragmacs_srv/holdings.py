"""What is indexed is opened for readers, and made by the writer: generations, vectors, the handbook's own index."""

from __future__ import annotations

import copy
import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from . import pipeline
from .aside import PREPARE, Preparation
from .composition import Composition, Warm
from .errors import (
    Busy,
    EmbedderMissing,
    NotIndexed,
)
from .events import Cancel, Sink, ignore, timed
from .ingest import kinds, sources
from .ingest.kinds import handbook
from .model import Page
from .pipeline import Growth, Reader
from .search import generation, soundness
from .search.database import writer
from .search.deadline import within
from .search.embed import (
    Embedder,
    Named,
    OnnxEmbedder,
    OpenVinoEmbedder,
    space,
)
from .search.generation import Generation, Manifest
from .search.store import Store
from .settings import Settings

SOON = 64  # chunks that are embedded in seconds: not worth a generation without their vectors

ENOUGH = 0.9  # of the chunks have vectors, or words alone find more: MRR .46 with a third, .55 with 3/4, .59 without

GROWN_CHUNKS, GROWN_VECTORS = 100, 256  # the least that makes a new generation worth its while

PARTS = ("model", "chat", "judge", "go", "_handbook_store")  # which know nothing of the request that needed them first


class Holdings(Composition):
    """What is indexed: opened for readers, made and published by the one writer."""

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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._release()
        self._warm.generations.close()

    @contextmanager
    def request(
        self, *, sink: Sink = ignore, cancel: Cancel | None = None, roots: Sequence[Path] = ()
    ) -> Iterator[Self]:
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

    def indexed(self, url: str) -> Page | None:
        """The page at URL as readers see it, or None; raises AddressRefused for what is no address."""
        return self.generation().page(kinds.canonical(url.partition("#")[0]))

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

    def reindex(self) -> Manifest:
        """Chunk, embed and publish anew what is stored, without any network."""
        with self.store() as store, self.reader() as reader:
            if not store.urls():
                raise NotIndexed("there is nothing to index", hint="ragmacs crawl go-gc")
            manifest = self._publish(store, reader, force=True)
        assert manifest is not None
        return manifest

    def manifest(self) -> Manifest | None:
        """What the newest generation was made from, its files unread; None before the first one."""
        return generation.newest_manifest(self.settings.folders.store)

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
        made = pipeline.publish(store, reader, model, rerank=self.settings.search.rerank, force=force)
        if made:
            store.tell(*(name for name, _, _ in store.collections()))
        return made

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


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Indexed:
    """The model that readers' vectors are of."""

    name: str
    key: str
    numeric: str
