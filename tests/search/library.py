"""Pages, and a store that holds some: what the tests of this room start from."""

from __future__ import annotations

import random
import resource
from contextlib import contextmanager
from itertools import pairwise

from hypothesis import strategies as st

from ragmacs_srv import pipeline
from ragmacs_srv.ingest import chunk
from ragmacs_srv.model import Block, Chunk, Page, Response, Section, Source
from ragmacs_srv.search import generation
from ragmacs_srv.search.embed import Words
from ragmacs_srv.search.history import Change
from ragmacs_srv.search.store import Receipt, Store
from tests.fakes import HashEmbedder

AT = "2026-03-01T12:00:00+00:00"
SITE = "https://go.example/doc"
READER = pipeline.Reader(means=None, extractor=None, tokens=Words())  # to publish, only its recipe is needed
VOCABULARY = """heap collector cycle GOGC GOMEMLIMIT limit live memory pointer struct field padding stack escape
goroutine leak channel pool arena profile finalizer cleanup weak root mark sweep pause latency throughput
debug.SetGCPercent runtime.GC runtime/metrics sync.Pool unsafe.Pointer allocs_per_op go1.25""".split()  # noqa: SIM905


def section(url, text, *, anchor="", heading=("Guide",)):
    """A section of the paragraphs that blank lines divide TEXT into."""
    blocks, start = [], 0
    for paragraph in text.split("\n\n"):
        blocks.append(Block("paragraph", start, start + len(paragraph)))
        start += len(paragraph) + 2
    return Section(url, anchor, heading, text, tuple(blocks))


def page(name, *texts, **fields):
    """The page SITE/NAME with one section per text."""
    url = f"{SITE}/{name}"
    sections = (section(url, text, anchor=f"s{n}", heading=(name, f"Part {n}")) for n, text in enumerate(texts))
    return Page(url, f"About {name}", tuple(sections), **fields)


def written(name, seed=0, *, sections=3, words=60):
    """A page of random words from our field."""
    rng = random.Random(f"{name} {seed}")
    texts = [" ".join(rng.choices(VOCABULARY, k=words)) for _ in range(sections)]
    return page(
        name, *[f"{text}.\n\nThe {name} ends here." for text in texts], links=(f"{SITE}/next",), author="Gopher"
    )


def split(page):
    """The chunks of each section, small ones."""
    return [list(chunk.split(each, limit=24, count=Words().count)) for each in page.sections]


def put(
    store,
    page,
    collection="docs",
    *,
    chunks=None,
    status="new",
    at=AT,
    etag='"1"',
    marks="",
    recipe=READER.recipe,
    changes=(),
):
    """Store PAGE as a crawl of COLLECTION would."""
    response = Response(page.url, page.url, 200, b"", "text/html", "utf-8", etag, "Sun, 01 Mar 2026", at)
    receipt = Receipt(collection, page.url, status, page.url, "", etag, "body" + etag, 0, at)
    chunks = split(page) if chunks is None else chunks
    store.put_page(response, page, chunks, receipt, text_hash=marks or page.url, chunker=recipe, changes=changes)


def publish(store, embedder=None, **options):
    """Embed and publish what STORE holds."""
    if embedder is not None:
        pipeline.embed(store, embedder, rerank=True)
    return pipeline.publish(store, READER, embedder, rerank=True, **options)


def build(folder, names=("heap", "stack", "pool", "limit"), *, embedder=None, words=60):
    """A published store of pages NAMES in "docs"; the first one is in "guides" too."""
    with Store(folder) as store:
        store.start_crawl(source("docs"), {"allow": []}, AT)
        for name in names:
            put(store, written(name, words=words))
        changed = Change(f"{SITE}/{names[0]}", AT, "docs", "changed", "a", (names[0],), "before", "after")
        put(store, written(names[0], words=words), "guides", changes=[changed])
        store.add_repeats("https://go.example", ["Skip to content"])
        publish(store, embedder or HashEmbedder())
    return folder


def source(name):
    return Source(name, name.title(), (f"{SITE}/",), allow=(f"{SITE}/*",), depth=2)


def pages(folder):
    """Every page in the store of FOLDER, by address."""
    with Store(folder) as store:
        return {url: store.page(url) for url in store.urls()}


def found(folder, text, k=10, collections=()):
    """The addresses of the pages that hold the words of TEXT, best first."""
    with generation.current(folder) as opened:
        scope = generation.Scope(tuple(collections))
        hits = opened.hits(opened.lexical(text.lower().split(), k, scope), scope)
        return list(dict.fromkeys(hit.section.url for hit in hits))


@contextmanager
def disk_of(size):
    """While inside, a file that grows beyond SIZE bytes meets a full disk (Python ignores SIGXFSZ)."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


LINES = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


@st.composite
def sections(draw, url, n):
    """A section of any text, with a chunk for each of any spans in it."""
    text = draw(LINES)
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=6)))
    spans = list(pairwise(cuts))
    kinds = st.sampled_from(["paragraph", "code", "item"])
    made = Section(
        url,
        draw(LINES),
        tuple(draw(st.lists(LINES, max_size=3))),
        text,
        tuple(Block(draw(kinds), *span) for span in spans),
    )
    ids = [f"{url} {n} {start}" for start, _ in spans]
    chunks = [
        Chunk(key, url, made.anchor, made.heading, text[a:b], a, b) for key, (a, b) in zip(ids, spans, strict=True)
    ]
    return made, chunks


@st.composite
def any_page(draw):
    """(page, chunks) of any text."""
    url = f"{SITE}/{draw(st.integers(0, 3))}"
    parts = [draw(sections(url, n)) for n in range(draw(st.integers(0, 4)))]
    made = Page(
        url,
        draw(LINES),
        tuple(part for part, _ in parts),
        tuple(draw(st.lists(LINES, max_size=3))),
        draw(LINES),
        draw(LINES),
        draw(st.booleans()),
    )
    return made, [chunks for _, chunks in parts]
