"""Stored pages become what readers search: cleaned, split, embedded, published."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ..events import Cancel, Progress, Sink, ignore
from ..ingest.sections import block_texts, repeated, without
from ..ingest.urls import origin
from ..model import Chunk
from ..search import generation
from ..search.embed import Embedder, Named, TokenEmbedder, space
from ..search.generation import Dense, Late, Manifest
from ..search.store import Store, passage_hash
from ..search.tokens import COMPACT, DIM, SAMPLE, Projection, train
from .reader import Reader, now

if TYPE_CHECKING:  # a search reads no page: httpx and what comes with it take 0.1 CPU-seconds
    import numpy as np
    from numpy.typing import NDArray


EMBED_WINDOW = 2048  # chunks sorted by length together, so that a batch holds little padding
EMBED_BATCH = 32  # chunks committed together: what a kill can cost


def drop_repeats(store: Store, reader: Reader, origins: Iterable[str]) -> int:
    """Remove the lines that stand on most pages of a site without semantic markup; returns pages changed.

    Only pages whose content element was guessed are looked at. What was found once is remembered, so
    that a page read again later is cleaned alike.
    """
    changed = 0
    for site in origins:
        pages = [store.page(url).page for url in store.unmarked(site)]
        found = repeated([block_texts(page) for page in pages]) - store.repeats(site)
        if found:
            store.add_repeats(site, found)
        drop = store.repeats(site)
        for page in pages:
            sections = [without(each, drop) for each in page.sections]
            if sections != list(page.sections):
                store.rewrite_page(page.url, sections, reader.split(sections), chunker=reader.recipe)
                changed += 1
    return changed


def rechunk(store: Store, reader: Reader) -> int:
    """Split pages again that another chunker split; returns how many."""
    stale = store.other_chunkers(reader.recipe)
    for url in stale:
        sections = store.page(url).page.sections
        store.rewrite_page(url, sections, reader.split(sections), chunker=reader.recipe)
    return len(stale)


def missing(store: Store, model: Named | None, *, rerank: bool = False) -> int:
    """How many chunks in STORE lack a vector of MODEL, or with RERANK those of their tokens."""
    dense, late = _dense(store, model), _late(store, model) if rerank else None
    if dense is None:
        return store.count()[1]
    passages = map(passage_hash, _chunks(store))
    return sum(each not in dense.known or (late is not None and each not in late.known) for each in passages)


def embed(
    store: Store,
    embedder: Embedder,
    *,
    rerank: bool = False,
    compact: bool = False,
    sink: Sink = ignore,
    cancel: Cancel | None = None,
    grown: Callable[[int], None] = lambda known: None,
) -> int:
    """Give every chunk in STORE a vector of EMBEDDER's; returns how many were missing.

    With RERANK its tokens get theirs in the same pass, where EMBEDDER can tell them: half as large when COMPACT,
    and all of them anew when that was otherwise before. Each batch is committed, so that a kill costs one batch,
    or the tokens of the sample that a new projection is trained on; GROWN is then told how many there are.
    Vectors nothing needs any more are dropped.
    """
    cancel = cancel or Cancel()
    kept = space(embedder)
    wanted = {passage_hash(each): each.passage for each in _chunks(store)}
    known = store.known_vectors(kept)
    if known - wanted.keys():
        store.drop_vectors(kept, keep=set(wanted))
    if known and wanted.keys() - known and store.dim(kept) != embedder.dim:  # a server's model of the same name
        store.drop_vectors(kept, keep=set())
        known = set()
    step, done = partial(_embed_batch, store, embedder), 0
    if rerank and wanted and isinstance(embedder, TokenEmbedder):
        projection = store.projection(kept)
        dim = COMPACT if compact else DIM
        if projection is None or projection.outgrown(len(wanted)) or not projection.keeps(dim):
            projection, done = _train(store, kept, embedder, wanted, dim, sink, cancel)
        step = partial(_encode_batch, store, embedder, projection)
        known = store.known_vectors(kept) & store.known_tokens(projection)
    missing = [item for item in wanted.items() if item[0] not in known]
    total = done + len(missing)
    for batch in _alike(missing):
        cancel.check()
        sink(Progress("embed", done, total, "chunks"))
        step(batch)
        done += len(batch)
        grown(len(wanted) - total + done)
    if total:
        sink(Progress("embed", done, total, "chunks"))
    return done


_Batch = Sequence[tuple[str, str]]  # passage hashes with their passages


def _embed_batch(store: Store, embedder: Embedder, batch: _Batch) -> None:
    store.put_vectors(space(embedder), [key for key, _ in batch], embedder.embed([text for _, text in batch]))


def _encode_batch(store: Store, embedder: TokenEmbedder, projection: Projection, batch: _Batch) -> None:
    keys = [key for key, _ in batch]
    encoded = embedder.encode([text for _, text in batch])
    store.put_vectors(projection.model, keys, encoded.vectors)
    store.put_tokens(projection, keys, encoded.tokens)


def _train(
    store: Store, kept: str, embedder: TokenEmbedder, wanted: Mapping[str, str], dim: int, sink: Sink, cancel: Cancel
) -> tuple[Projection, int]:
    """A projection to DIM directions for what is WANTED, and how many passages were encoded for it; all are kept."""
    sample: list[tuple[list[str], list[NDArray[np.float32]]]] = []
    done = tokens = 0
    for batch in _windows(sorted(wanted.items()), EMBED_BATCH):  # in the order of their hashes: any passages
        cancel.check()
        sink(Progress("embed", done, len(wanted), "chunks"))
        keys, encoded = [key for key, _ in batch], embedder.encode([text for _, text in batch])
        store.put_vectors(kept, keys, encoded.vectors)
        sample.append((keys, encoded.tokens))
        done += len(batch)
        tokens += sum(map(len, encoded.tokens))
        if tokens >= SAMPLE:
            break
    made = train(kept, [each for _, part in sample for each in part], passages=len(wanted), dim=dim)
    store.put_projection(made)
    for keys, part in sample:
        store.put_tokens(made, keys, part)
    return made, done


def _alike(items: _Batch) -> Iterator[_Batch]:
    """Batches of ITEMS of one length, as far as that goes: they hold little padding."""
    for window in _windows(items, EMBED_WINDOW):
        yield from _windows(sorted(window, key=lambda item: len(item[1])), EMBED_BATCH)


def publish(
    store: Store, reader: Reader, model: Named | None, *, rerank: bool = False, force: bool = False
) -> Manifest | None:
    """Make a generation of what STORE holds; None when the newest one is that already, unless FORCE.

    All of its text is in it, and the vectors of MODEL that there are by now, with RERANK those of tokens too.
    """
    dense, late = _dense(store, model), _late(store, model) if rerank else None
    revision = store.revision()
    newest = generation.newest_manifest(store.folder)
    vectors = (dense.key, dense.numeric) if dense else ("", "exact")
    made_from = (revision, *vectors, late.projection.key if late else "", reader.recipe)
    if (
        newest
        and not force
        and made_from == _made_from(newest)
        and newest.missing in {0, missing(store, model, rerank=rerank) if newest.missing else 0}
    ):
        generation.prune(store.folder)  # what a killed run left
        return None
    pages = map(store.page, store.urls())
    return generation.publish(
        store.folder, pages, revision=revision, chunker=reader.recipe, created=now(), dense=dense, late=late
    )


def _made_from(made: Manifest) -> tuple[str, ...]:
    return made.revision, made.model_key, made.numeric, made.projection, made.chunker


def _dense(store: Store, model: Named | None) -> Dense | None:
    """The vectors of MODEL that STORE has, or None."""
    if model is None:
        return None
    kept = space(model)
    known = store.known_vectors(kept)
    if not known:
        return None
    rows = partial(store.vectors, kept)
    return Dense(model.name, model.key, store.dim(kept), known, rows, model.numeric)


def _late(store: Store, model: Named | None) -> Late | None:
    """The token vectors of MODEL that STORE has, or None."""
    projection = store.projection(space(model)) if model else None
    if projection is None:
        return None
    known = store.known_tokens(projection)
    return Late(projection, known, lambda passages: _tokens(store, projection, known, passages))


def _tokens(
    store: Store, projection: Projection, known: set[str], passages: Iterable[str]
) -> Iterator[NDArray[np.int8]]:
    """What `store.tokens` gives; nothing for a passage that is not KNOWN."""
    for passage in passages:
        yield from store.tokens(projection, [passage]) if passage in known else [projection.nothing]


class Growth:
    """Calls PUBLISH each time a number has grown by half, and by LEAST: what is made anew every time costs no more."""

    def __init__(self, publish: Callable[[], object], published: int, least: int) -> None:
        self._publish = publish
        self._published = published
        self._least = least

    def __call__(self, number: int) -> None:
        if number - self._published >= max(self._least, self._published // 2):
            self._publish()
            self._published = number


def origins(store: Store) -> list[str]:
    """The sites that the stored pages come from."""
    return sorted({origin(url) for url in store.urls() if url.startswith("http")})


def _chunks(store: Store) -> Iterator[Chunk]:
    for url in store.urls():
        for chunks in store.page(url).chunks:
            yield from chunks


def _windows(items: _Batch, size: int) -> Iterator[_Batch]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
