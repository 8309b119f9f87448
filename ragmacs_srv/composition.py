"""Settings become parts: the only place where anything is built from them, each when it is first needed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from . import pipeline
from .answer.rerank import Judge
from .errors import EmbedderMissing, SettingsError
from .events import Cancel, Sink
from .golang import toolchain
from .golang.godoc import Documentation
from .golang.toolchain import Toolchain
from .golang.workshop import Workshop
from .ingest.address import check_allow, parse_mirror
from .ingest.kinds import Means
from .ingest.urls import Parts
from .pipeline import Reader
from .search.embed import (
    Embedder,
    ModelFolder,
    OnnxEmbedder,
    OpenVinoEmbedder,
    SentenceTransformerEmbedder,
    Tokens,
    Words,
    find_model,
)
from .search.export import Unexportable, exported
from .search.shared import Shared
from .search.store import Store
from .settings import Settings, api_key, llm_key

if TYPE_CHECKING:
    from .answer.llm import Chat

log = logging.getLogger(__name__)


class Warm:
    """What all requests of a process share: the generations they read, and what embeds pages and their questions."""

    def __init__(self) -> None:
        self.generations = Shared()
        self.lock = threading.Lock()
        self.engine: Embedder | None = None
        self.asker: Embedder | None = None


class Composition:
    """What an App is made of, for one request; what is `warm` is shared by all requests of the process."""

    settings: Settings
    sink: Sink
    cancel: Cancel
    roots: tuple[Path, ...]
    _environ: Mapping[str, str]
    _warm: Warm

    @cached_property
    def go(self) -> Toolchain:
        """The Go on this machine; raises ToolchainMissing."""
        return toolchain.find(self._environ, self.settings.go.path)

    @property
    def workshop(self) -> Workshop:
        """With what Go code below `roots` is looked at."""
        return Workshop(lambda: self.go, self.settings.folders.golang, self.roots, self.cancel, self.sink)

    def store(self) -> Store:
        """The store, opened for writing; close it."""
        return Store(self.settings.folders.store)

    @cached_property
    def model(self) -> ModelFolder:
        """The embedding model on this machine; raises EmbedderMissing."""
        return find_model(self.settings.embed, self.settings.folders.models, self._environ)

    @cached_property
    def embedder(self) -> tuple[Embedder | None, str]:
        """What embeds pages, made ready first if need be, or None with the reason why there is none."""
        if self.settings.search.mode == "lexical":
            return None, ""
        try:
            return self._engine(), ""
        except EmbedderMissing as exc:
            return None, f"{exc.message}; run: {exc.hint}"

    def _engine(self, *, wait: bool = True) -> Embedder:
        """What the settings say gives vectors; an engine of another numeric class never takes its place.

        Raises EmbedderMissing where it cannot run, SettingsError where it could not anywhere. Without WAIT it
        raises EmbedderMissing, too, when the model must be exported first.
        """
        if self.settings.embed.engine == "endpoint":
            return self._endpoint()
        if self._warm.engine is None:
            self._warm.engine = self._local(wait=wait)  # two at once make two, light as they are, and keep one
        return self._warm.engine

    def _local(self, *, wait: bool) -> Embedder:
        """What runs the model in this process, nothing of it loaded yet."""
        settings, model = self.settings.embed, self.model
        if settings.engine == "torch":
            return SentenceTransformerEmbedder(model, threads=settings.threads)
        engine = OpenVinoEmbedder if settings.engine == "openvino-bf16" else OnnxEmbedder
        try:
            made = exported(model, self.settings.folders.exported, cancel=self.cancel, wait=wait)
            return engine(model, made, threads=settings.threads)
        except Unexportable as exc:
            if engine.numeric != "exact":
                hint = 'ragmacs reindex, with [embed] engine = "torch"'
                raise EmbedderMissing(f"OpenVINO cannot run {model.name}: {exc}", hint=hint) from exc
            log.warning("%s is run by torch, which starts slowly: %s", model.name, exc)
        return SentenceTransformerEmbedder(model, threads=settings.threads)

    def _endpoint(self) -> Embedder:
        from .search.remote import EndpointEmbedder  # httpx: only who asks a server pays for it

        settings = self.settings.embed
        if not settings.base_url:
            hint = "set [embed] base_url, for example to http://127.0.0.1:11434/v1"
            raise SettingsError('[embed] engine is "endpoint", but it names no server', hint=hint)
        key = api_key("embed", settings.key_command, self._environ)
        ca_file = self.settings.network.ca_file
        return EndpointEmbedder(settings.base_url, settings.model, key=key, ca_file=ca_file, cancel=self.cancel)

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
        from .answer.llm import OpenAIChat  # httpx takes 0.1 CPU-seconds: only who has an LLM pays them

        key = llm_key(llm, self._environ)
        return OpenAIChat(llm.base_url, llm.model, key=key, timeout=llm.timeout, ca_file=self.settings.network.ca_file)

    @cached_property
    def judge(self) -> Judge | None:
        """What puts hits in order: the LLM, when the settings allow it and there is one."""
        search = self.settings.search
        return Judge(self.chat, search.llm_rerank_timeout) if search.llm_rerank and self.chat else None

    @contextmanager
    def reader(
        self,
        *,
        allow: Sequence[str] = (),
        mirror: Sequence[str] = (),
        only: Callable[[Parts], bool] | None = None,
    ) -> Iterator[Reader]:
        """What reads pages, by the network rules of the settings widened by ALLOW and MIRROR, narrowed by ONLY."""
        from .ingest.fetch import Fetcher  # httpx again: a search reads no page
        from .ingest.worker import Extractor

        network = self.settings.network
        fetcher = Fetcher(
            allow=[check_allow(entry) for entry in (*network.allow, *allow)],
            only=only,
            mirrors=dict(parse_mirror(entry) for entry in (*network.mirror, *mirror)),
            proxy=network.proxy or None,
            ca_file=network.ca_file or None,
            delay=network.delay,
        )
        with fetcher, Extractor() as extractor:
            means = Means(fetcher, go=Documentation(self.workshop), stackexchange_key=cache(self._stackexchange_key))
            yield Reader(means, extractor, self.tokens)

    def _stackexchange_key(self) -> str:
        return api_key("stackexchange", self.settings.stackexchange.key_command, self._environ)
