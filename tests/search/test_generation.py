import hashlib
import json
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ragmacs_srv.errors import IndexCorrupt, IndexMismatch, NotIndexed
from ragmacs_srv.search import generation
from ragmacs_srv.search.generation import DENSE, MANIFEST, TEXT, Dense, Generation, Scope
from ragmacs_srv.search.store import Store
from ragmacs_srv.search.terms import terms
from ragmacs_srv.search.vectors import Sizes
from tests.fakes import HashEmbedder
from tests.search import library
from tests.search.library import READER, SITE, build, page, publish, put, written

TUNING = "Call debug.SetMaxStack, or read net/http/pprof.\n\nNothing here is about C++ or the NEAR operator."


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three pages in "docs", one of which is in "guides" too; a fourth in "guides" alone."""
    folder = tmp_path_factory.mktemp("made")
    with Store(folder) as store:
        for made in (page("tuning", TUNING, "GOGC sets the pace."), written("heap"), written("stack")):
            put(store, made)
        put(store, written("heap"), "guides")
        put(store, written("pool"), "guides")
        publish(store, HashEmbedder())
    return folder


@pytest.fixture(scope="module")
def opened(made):
    with generation.current(made) as opened:
        yield opened


@pytest.fixture
def folder(made, tmp_path):
    """A copy to change."""
    return shutil.copytree(made, tmp_path / "store")


def names(opened, scored):
    """The pages of the chunks found, each once, best first."""
    urls = (hit.section.url for hit in opened.hits(scored))
    return list(dict.fromkeys(url.removeprefix(f"{SITE}/") for url in urls))


def numbers(folder):
    return sorted(path.name for path in folder.glob("gen-*"))


# What was published is found


def test_a_generation_says_what_is_in_it(opened):
    made = opened.manifest
    assert (made.number, made.pages, made.sections) == (1, 4, 11)
    assert made.collections == {"docs": 3, "guides": 2}
    assert (made.model, made.model_key, made.dim, made.chunker) == ("hash", "hash-16", 16, READER.recipe)
    assert made.files.keys() == {TEXT, DENSE}


@pytest.mark.parametrize(
    "query",
    ["debug.setmaxstack", "net/http/pprof", "SetMaxStack", "max", "debug.SetMaxStack(1<<20)", "pprof's pace"],
)
def test_identifiers_are_found_whole_and_in_parts(opened, query):
    assert names(opened, opened.lexical(terms(query), 10))[0] == "tuning"


@pytest.mark.parametrize("query", ['"', "NEAR(a b)", "terms:x", "a AND OR NOT", "-x ^y z*", "{}", "'", "", "C++"])
def test_operators_of_the_search_engine_are_plain_text(opened, query):
    assert isinstance(opened.lexical(terms(query), 10), list)


@settings(max_examples=3 * settings().max_examples, deadline=None)
@given(st.text(max_size=60))
@example("\0")
@example('a\0b NEAR "c"')
@example("İ ǅ ß ς ½ ² ٣ 𞤀 _ __ a_b ./: a./:b")
def test_no_question_breaks_the_search(opened, text):
    opened.lexical(terms(text), 10)
    for term in terms(text):
        assert opened.frequency(term) >= 0


@settings(max_examples=25, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80))
@example("pauses of 10 µs; Straße, ΣΊΣΥΦΟΣ, İ, ǅ, ½, ٣, 日本語, 𞤀, a_b, x.y:z")
def test_a_chunk_is_found_by_each_of_its_terms(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("store")
    with Store(folder) as store:
        put(store, page("any", "A page that has some text. " + text))
        publish(store)
    with generation.current(folder) as opened:
        for term in terms(text):
            assert opened.lexical([term], 1)
            assert opened.frequency(term) == 1


def test_the_best_lexical_hit_comes_first(opened):
    scored = opened.lexical(terms("heap"), 50)
    assert [score for _, score in scored] == sorted((score for _, score in scored), reverse=True)
    assert all(score > 0 for _, score in scored)
    assert len(opened.lexical(terms("heap"), 2)) == 2


def test_the_nearest_chunk_comes_first(opened):
    embedder = HashEmbedder()
    [hit] = opened.hits(opened.dense(embedder.embed(["tuning > Part 1\nGOGC sets the pace."])[0], 1))
    assert hit.text == "GOGC sets the pace."
    assert hit.score == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("collections", "expected"),
    [
        ([], {"tuning", "heap", "stack", "pool"}),
        (["docs"], {"tuning", "heap", "stack"}),
        (["guides"], {"heap", "pool"}),
    ],
    ids=["everywhere", "docs", "guides"],
)
def test_a_search_keeps_to_its_collections(opened, collections, expected):
    asked = terms("heap collector pace stack memory")
    query = HashEmbedder().embed(["heap"])[0]
    assert set(names(opened, opened.lexical(asked, 500, Scope(tuple(collections))))) == expected
    assert set(names(opened, opened.dense(query, 500, Scope(tuple(collections))))) == expected


@pytest.mark.parametrize("sizes", [Sizes(), Sizes(flat=0), Sizes(flat=0, half=0)], ids=["Flat", "SQfp16", "IVF,SQfp16"])
def test_every_kind_of_index_finds_the_same(folder, opened, sizes, request):
    embedder = HashEmbedder()
    with Store(folder) as store:
        known = store.known_vectors(embedder.key)
        dense = Dense("hash", embedder.key, 16, known, lambda passages: store.vectors(embedder.key, passages))
        pages = map(store.page, store.urls())
        made = generation.publish(folder, pages, revision="", chunker="", created="", dense=dense, sizes=sizes)
    assert made.index["kind"] == request.node.callspec.id
    assert made.index["recall"] >= 0.98
    query = embedder.embed(["heap collector pace"])[0]
    with generation.current(folder) as again:
        for collections in ((), ("guides",), ("docs", "guides")):
            expected, found = (dict(each.dense(query, 8, Scope(tuple(collections)))) for each in (opened, again))
            assert found == pytest.approx(expected, abs=1e-3)
        assert dict(again.dense(query, 3, among=[1, 5, 9])) == pytest.approx(
            dict(opened.dense(query, 3, among=[1, 5, 9])), abs=1e-3
        )


def test_a_common_term_is_left_out_of_a_large_generation_alone(opened, monkeypatch):
    total, asked = opened.manifest.chunks, ["ends", "setmaxstack", "nowhere"]
    common, everything = opened.frequency(terms("ends")[0]), terms(" ".join(asked))
    assert common > 0.1 * total > opened.frequency("setmaxstack") > 0
    small = opened.lexical(everything, 500)
    assert len(small) > common
    monkeypatch.setattr(generation, "LARGE", total)
    assert opened.lexical(everything, 500) == opened.lexical(["setmaxstack"], 500)
    assert len(opened.lexical(terms("ends"), 500)) == common, "a question of common terms alone"
    assert len(opened.lexical(terms("page ends"), 500)) < len(small), "the rarest of common terms"
    assert opened.lexical(["nowhere"], 500) == []
    monkeypatch.setattr(generation, "LARGE", total + 1)
    assert opened.lexical(everything, 500) == small


def test_counting_terms_ahead_changes_no_count(folder, opened, monkeypatch):
    monkeypatch.setattr(generation, "FREQUENT", 3)
    with Store(folder) as store:
        publish(store, HashEmbedder(), force=True)
    with generation.current(folder) as again:
        counted = [again.frequency(term) for term in terms("heap ends setmaxstack nowhere")]
    assert counted == [opened.frequency(term) for term in terms("heap ends setmaxstack nowhere")]
    assert max(counted) > 3 > min(counted) == 0


def test_among_gives_the_scores_of_the_whole_search(opened):
    asked = terms("heap collector pace stack memory")
    everything = dict(opened.lexical(asked, 500))
    some = sorted(everything)[::3]
    assert dict(opened.lexical(asked, 500, among=some)) == {key: everything[key] for key in some}
    in_docs = dict(opened.lexical(asked, 500, Scope(("docs",))))
    assert in_docs.items() < everything.items()


def test_also_brings_what_scores_too_low_in_the_same_search(opened):
    asked = terms("the heap")
    everything = opened.lexical(asked, 500)
    last = [key for key, _ in everything[-3:]]
    found = opened.lexical(asked, 5, also=[*last, 10**6])  # the last of these is no chunk
    assert found[:5] == everything[:5]
    assert found[-3:] == everything[-3:]
    assert len(found) <= 5 + 4


def test_a_hit_names_the_collection_that_was_asked_for(opened):
    [number] = [number for number, _ in opened.lexical(terms("heap"), 500) if "heap" in names(opened, [(number, 1)])][
        :1
    ]
    assert opened.hits([(number, 1.0)])[0].collection == "docs"
    assert opened.hits([(number, 1.0)], Scope(("guides",)))[0].collection == "guides"


def test_fewer_hits_are_the_first_of_all(opened):
    scored = opened.lexical(terms("heap memory gogc"), 500)
    everything = opened.hits(scored)
    assert len(everything) > 3
    assert opened.hits(scored, limit=3) == everything[:3]
    assert opened.hits(scored, limit=0) == opened.hits([]) == []


def test_asking_again_and_something_else_finds_the_same(opened):
    asked = [(terms("heap"), []), (terms("stack pace"), []), (terms("heap"), ["guides"])]
    first = [opened.lexical(query, 20, Scope(tuple(collections))) for query, collections in asked]
    assert [opened.lexical(query, 20, Scope(tuple(collections))) for query, collections in reversed(asked)] == first[
        ::-1
    ]
    assert all(first) and first[0] != first[2]


def test_hits_stand_where_they_say(opened):
    for hit in opened.hits(opened.lexical(terms("heap memory gogc"), 500)):
        assert hit.section in opened.sections(hit.section.url)
        assert hit.text == hit.chunks[0][0].text
        for chunk, _ in hit.chunks:
            assert hit.section.text[chunk.start : chunk.end] == chunk.text
            assert (chunk.url, chunk.anchor, chunk.heading) == (
                hit.section.url,
                hit.section.anchor,
                hit.section.heading,
            )


@settings(max_examples=25, deadline=None)
@given(library.any_page())
@example((page("0", "one\0two\0three four"), [[*library.split(page("0", "one\0two\0three four"))[0]]]))
def test_any_page_is_read_as_it_was_put(tmp_path_factory, made):
    made, chunks = made
    folder = tmp_path_factory.mktemp("store")
    with Store(folder) as store:
        put(store, made, chunks=chunks)
        publish(store, HashEmbedder())
    with generation.current(folder) as opened:
        assert opened.sections(made.url) == list(made.sections)
        assert opened.pages("docs") == [(made.url, made.title, library.AT)]
        flat = [chunk for part in chunks for chunk in part]
        hits = opened.hits((number, 1.0) for number in range(1, len(flat) + 1))
        assert [chunk for hit in hits for chunk, _ in hit.chunks] == flat
        assert opened.dense(HashEmbedder().embed(["any"])[0], 10, Scope(("docs",))) or not flat


def test_unknown_pages_and_collections(opened):
    assert opened.sections(f"{SITE}/unknown") == []
    assert opened.pages("unknown") == []
    opened.check_collections(["docs", "guides"])
    with pytest.raises(NotIndexed, match=r"'other'.*docs, guides") as error:
        opened.check_collections(["docs", "other"])
    assert error.value.hint == "ragmacs collections lists the names"


def test_without_a_model_a_generation_has_no_vectors(tmp_path):
    with Store(tmp_path) as store:
        put(store, written("heap"))
        made = publish(store)
    assert (made.model_key, made.dim, made.files.keys()) == ("", 0, {TEXT})
    with generation.current(tmp_path) as opened:
        assert opened.dense(HashEmbedder().embed(["heap"])[0], 10) == []
        assert opened.lexical(["heap"], 10)


def test_when_every_page_is_gone_nothing_is_found(folder):
    with Store(folder) as store:
        store.remove_collection("docs")
        store.remove_collection("guides")
        publish(store, HashEmbedder())
    with generation.current(folder) as opened:
        assert opened.manifest.pages == 0
        assert opened.lexical(["heap"], 10) == []
        assert opened.dense(HashEmbedder().embed(["heap"])[0], 10) == []


@pytest.mark.parametrize("name", ["100%41 #1?mode=rw", "ünï cødé", "a&b=c"])
def test_the_folder_may_have_any_name(tmp_path, name):
    build(tmp_path / name)
    assert library.found(tmp_path / name, "heap")


# Publishing


def test_nothing_is_published_when_nothing_changed(folder):
    with Store(folder) as store:
        assert publish(store, HashEmbedder()) is None
        assert publish(store, HashEmbedder(), force=True).number == 2
        assert publish(store).model_key == ""
        put(store, written("heap"), at="later")
        assert publish(store, HashEmbedder()).number == 4


def test_a_generation_stays_readable_while_newer_ones_are_made_and_goes_after(folder):
    with generation.current(folder) as old, Store(folder) as store:
        for name in ("arena", "limit", "leak"):
            put(store, written(name))
            publish(store, HashEmbedder())
        assert numbers(folder) == ["gen-000001", "gen-000004"]
        assert set(names(old, old.lexical(terms("heap gogc pace stack"), 500))) == {"tuning", "heap", "stack", "pool"}
        assert old.dense(HashEmbedder().embed(["heap"])[0], 5)
        with generation.current(folder) as new:
            assert new.manifest.pages == 7
    generation.prune(folder)
    assert numbers(folder) == ["gen-000004"]


def test_a_reader_in_another_process_keeps_its_generation(folder):
    code = (
        "import sys; from pathlib import Path; from ragmacs_srv.search import generation\n"
        "with generation.current(Path(sys.argv[1])) as opened:\n"
        "    print('open', flush=True); sys.stdin.read(); print(len(opened.lexical(['heap'], 500)))"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with generation.current(folder) as opened:
        expected = len(opened.lexical(["heap"], 500))
    with subprocess.Popen([sys.executable, "-c", code, folder], **pipes) as reader, Store(folder) as store:
        assert reader.stdout.readline() == "open\n"
        for _ in range(2):
            publish(store, HashEmbedder(), force=True)
        assert numbers(folder) == ["gen-000001", "gen-000003"]
        assert int(reader.communicate()[0]) == expected
        generation.prune(folder)
    assert numbers(folder) == ["gen-000003"]


def test_what_a_killed_publish_left_confuses_nobody(folder):
    left = folder / "gen-000002.tmp"
    left.mkdir()
    (left / TEXT).write_bytes(b"half a file")
    with generation.current(folder) as opened:
        assert opened.manifest.number == 1
    assert list(generation.problems(folder)) == []
    with Store(folder) as store:
        put(store, written("arena"))
        assert publish(store, HashEmbedder()).number == 2
    assert numbers(folder) == ["gen-000002"]


def test_a_publish_that_fails_leaves_the_old_generation(folder):
    def pages():
        with Store(folder) as store:
            yield store.page(f"{SITE}/heap")
        raise IndexCorrupt("crawl.db: a row of sections is not what was written")

    with pytest.raises(IndexCorrupt):
        generation.publish(folder, pages(), revision="r", chunker="c", created="now", dense=None)
    assert numbers(folder) == ["gen-000001"]
    assert library.found(folder, "heap")


def test_nothing_was_ever_published(tmp_path):
    assert generation.current(tmp_path) is None
    assert generation.current(tmp_path / "absent") is None
    assert generation.newest_manifest(tmp_path) is None
    assert list(generation.problems(tmp_path / "absent")) == []


# Damage


@pytest.mark.parametrize("name", [TEXT, DENSE, MANIFEST])
@pytest.mark.parametrize(
    "harm",
    [lambda raw: raw[:-1], lambda raw: b"", lambda raw: raw[:99] + bytes([raw[99] ^ 1]) + raw[100:], None],
    ids=["truncated", "emptied", "flipped", "gone"],
)
def test_a_damaged_file_is_named(folder, name, harm):
    path = folder / "gen-000001" / name
    if harm is None:
        path.unlink()
    else:
        path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(IndexCorrupt, match=f"gen-000001: {name} is") as error:
        generation.current(folder)
    assert error.value.hint == "ragmacs reindex"
    assert [name in line for line in generation.problems(folder)] == [True]
    assert generation.damaged(folder) == [path.parent]


def test_a_generation_that_leads_nowhere_is_corrupt(folder):
    (folder / "gen-000002").symlink_to(folder / "gone")
    with pytest.raises(IndexCorrupt, match="gen-000002: MANIFEST is missing") as error:
        generation.current(folder)
    assert error.value.hint == "ragmacs reindex"


def test_a_folder_that_only_looks_like_a_generation_is_none(folder):
    for name in ("gen-2", "gen-0000003", "gen-x"):
        (folder / name).mkdir()
    with generation.current(folder) as opened:
        assert opened.folder.name == "gen-000001"


@pytest.mark.parametrize("name", [TEXT, DENSE])
def test_what_the_stamp_does_not_tell_is_left_to_verify(folder, name):
    """Opening does not read gigabytes again: bytes that change by themselves are found when all are hashed."""
    path = folder / "gen-000001" / name
    before, raw = path.stat(), path.read_bytes()
    path.write_bytes(raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    generation.current(folder).close()
    assert [name in line for line in generation.problems(folder)] == [True]
    os.utime(path)
    with pytest.raises(IndexCorrupt, match=f"{name} is not what was written"):
        generation.current(folder)


def test_a_copy_that_lost_its_times_is_opened(made, tmp_path):
    copy = shutil.copytree(made, tmp_path / "store", copy_function=shutil.copyfile)
    for path in copy.glob("gen-*/*"):
        os.utime(path, ns=(1, 1))
    with generation.current(copy) as opened:
        assert opened.lexical(["heap"], 10)


def test_a_file_of_another_generation_is_noticed(folder):
    with Store(folder) as store, generation.current(folder):
        put(store, written("arena"))
        publish(store, HashEmbedder())
    shutil.copy2(folder / "gen-000001" / DENSE, folder / "gen-000002" / DENSE)
    with pytest.raises(IndexCorrupt, match=f"gen-000002: {DENSE} is not what was written"):
        generation.current(folder)


@pytest.mark.parametrize(("version", "hint"), [(0, "ragmacs reindex"), (99, "upgrade ragmacs-srv")])
def test_a_manifest_of_another_format_is_refused(folder, version, hint):
    path = folder / "gen-000001" / MANIFEST
    fields = json.loads(path.read_text().rpartition("}")[0] + "}") | {"format": version, "new_member": 1}
    text = json.dumps(fields) + "\n"
    path.write_text(text + hashlib.sha256(text.encode()).hexdigest() + "\n")
    with pytest.raises(IndexMismatch, match=f"format {version}") as error:
        generation.current(folder)
    assert error.value.hint == hint
    assert [f"format {version}" in line for line in generation.problems(folder)] == [True]
    assert generation.newest_manifest(folder) is None


def test_a_generation_that_cannot_be_opened_holds_no_lock(folder):
    (folder / "gen-000001" / DENSE).write_bytes(b"")
    with pytest.raises(IndexCorrupt):
        Generation(folder / "gen-000001")
    with Store(folder) as store:
        publish(store, HashEmbedder(), force=True)
    assert numbers(folder) == ["gen-000002"]


def test_many_readers_may_open_the_same_generation(folder):
    with ExitStack() as stack:
        readers = [stack.enter_context(generation.current(folder)) for _ in range(5)]
        assert len({len(reader.lexical(["heap"], 99)) for reader in readers}) == 1
