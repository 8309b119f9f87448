"""From a question to a checked answer: a real store, a scripted LLM on loopback, an embedder without a model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragmacs_srv import pipeline
from ragmacs_srv.answer.ask import Budget, ask
from ragmacs_srv.answer.llm import OpenAIChat
from ragmacs_srv.answer.rerank import Judge
from ragmacs_srv.errors import NotIndexed
from ragmacs_srv.ingest.fetch import Fetcher
from ragmacs_srv.ingest.kinds import Means, handbook
from ragmacs_srv.ingest.worker import Extractor
from ragmacs_srv.model import Answer
from ragmacs_srv.pipeline import Reader
from ragmacs_srv.search import generation, retrieve
from ragmacs_srv.search.embed import Words
from ragmacs_srv.search.generation import Generation, Scope
from ragmacs_srv.search.store import Store
from tests.fakes import HashEmbedder
from tests.llm_server import DONE, Reply, delta, finish, refuses, says, scripted

QUESTION = "Why is my heap about twice as large as my live data?"
EMBEDDER = HashEmbedder()


@pytest.fixture(scope="module")
def opened(page_reader: Extractor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generation]:
    """The handbook, indexed with vectors."""
    folder: Path = tmp_path_factory.mktemp("store")
    with Store(folder) as store, Fetcher() as fetcher:
        reader = Reader(Means(fetcher), page_reader, Words())
        pipeline.crawl(store, reader, handbook.source())
        pipeline.embed(store, EMBEDDER)
        pipeline.publish(store, reader, EMBEDDER)
    made = generation.current(folder)
    assert made is not None
    with made:
        yield made


def answer(opened: Generation, question: str = QUESTION, chat: OpenAIChat | None = None, **options: object) -> Answer:
    pieces = list(ask(opened, EMBEDDER, chat, question, budget=Budget(), **options))  # type: ignore[arg-type]
    text, last = "".join(piece for piece in pieces if isinstance(piece, str)), pieces[-1]
    assert isinstance(last, Answer)
    assert text.strip() == last.text.strip()
    return last


def quoted(opened: Generation, made: Answer) -> bool:
    """Whether every quote is a substring of the very section that it is cited from."""
    return all(
        any(each.anchor == citation.anchor and citation.quote in each.text for each in opened.sections(citation.url))
        for citation in made.citations
    )


def marks(text: str) -> set[int]:
    return {int(n) for n in re.findall(r"\[(\d+)\]", text)}


def test_an_extracted_answer_is_short_and_every_line_is_cited(opened: Generation) -> None:
    made = answer(opened)
    assert made.mode == "hybrid"
    assert len(made.text) <= 1000
    assert marks(made.text) == {citation.n for citation in made.citations}
    assert len(made.citations) >= 2
    assert quoted(opened, made)


def test_what_else_was_found_is_named_after_the_quotes(opened: Generation) -> None:
    made = answer(opened)
    quotes, _, others = made.text.partition("See also: ")
    assert marks(others)
    assert marks(quotes).isdisjoint(marks(others))
    assert len({citation.link for citation in made.citations}) == len(made.citations)


@pytest.mark.parametrize("length", [60, 300, 1000, 5000])
def test_an_answer_is_never_longer_than_asked_for(opened: Generation, length: int) -> None:
    for question in (QUESTION, "How do I find leaked goroutines?", "What escapes to the heap?"):
        (*_, made) = ask(opened, EMBEDDER, None, question, budget=Budget(answer=length))
        assert isinstance(made, Answer)
        assert len(made.text) <= length


def test_without_an_embedder_the_answer_is_lexical_and_says_why(opened: Generation) -> None:
    pieces = list(ask(opened, None, None, QUESTION, budget=Budget(), reason="no model here"))
    made = pieces[-1]
    assert isinstance(made, Answer)
    assert made.mode == "lexical"
    assert any("no model here" in note for note in made.notes)
    assert quoted(opened, made)


def test_vectors_of_another_model_are_not_compared(opened: Generation) -> None:
    (*_, made) = ask(opened, HashEmbedder(dim=8), None, QUESTION, budget=Budget())
    assert isinstance(made, Answer)
    assert made.mode == "lexical"
    assert any("reindex" in note for note in made.notes)


def test_a_question_nothing_covers_names_the_word_and_the_nearest_sections(opened: Generation) -> None:
    made = answer(opened, "Which autovacuum threshold suits a postgres replica?")
    assert made.abstained
    assert {"autovacuum", "postgres"} <= set(made.uncovered)
    assert '"autovacuum"' in made.text
    assert made.citations
    assert quoted(opened, made)


def test_one_unknown_word_alone_is_no_reason_to_refuse(opened: Generation) -> None:
    made = answer(opened, "Why does GOGC let the heap grow to twice the live heap in frobnicator?")
    assert not made.abstained
    assert made.uncovered == ("frobnicator",)


def test_an_unknown_collection_is_an_error(opened: Generation) -> None:
    with pytest.raises(NotIndexed, match="nothing"):
        answer(opened, scope=Scope(("nothing",)))


def test_an_llm_writes_and_its_citations_are_checked(opened: Generation) -> None:
    with scripted(
        says("The heap may double ", "before a cycle starts [1], as the formula ", "says [2][99].")
    ) as server:
        made = answer(opened, chat=OpenAIChat(server.url, "tiny"))
    assert made.text == "The heap may double before a cycle starts [1], as the formula says [2]."
    assert [citation.n for citation in made.citations] == [1, 2]
    assert made.model == "tiny"
    assert any("1 citation" in note for note in made.notes)
    assert quoted(opened, made)


def test_the_llm_is_shown_numbered_passages_and_no_tools(opened: Generation) -> None:
    with scripted(says("Yes [1].")) as server:
        answer(opened, chat=OpenAIChat(server.url, "tiny"))
        (request,) = server.requests
    sent = str(request)
    assert QUESTION in sent
    assert "GOGC" in sent
    assert "tools" not in sent


@pytest.mark.parametrize(
    "reply",
    [refuses(401, "bad key"), refuses(500, "oops"), Reply([DONE])],
    ids=["401", "500", "empty stream"],
)
def test_an_llm_that_says_nothing_is_replaced_by_an_extracted_answer(opened: Generation, reply: Reply) -> None:
    with scripted(reply) as server:
        made = answer(opened, chat=OpenAIChat(server.url, "tiny"))
    assert made.model == ""
    assert made.citations
    assert made.notes
    assert quoted(opened, made)


def test_no_llm_at_that_address_is_said_in_a_note(opened: Generation) -> None:
    made = answer(opened, chat=OpenAIChat("http://127.0.0.1:9/v1", "tiny"))
    assert made.citations
    assert any("127.0.0.1:9" in note for note in made.notes)


def test_a_stream_that_stops_in_the_middle_keeps_what_came_and_says_so(opened: Generation) -> None:
    with scripted(Reply([delta("The heap doubles [1] and ")])) as server:
        made = answer(opened, chat=OpenAIChat(server.url, "tiny"))
    assert made.text.startswith("The heap doubles [1]")
    assert any("incomplete" in note for note in made.notes)
    assert [citation.n for citation in made.citations] == [1]


def test_an_llm_cannot_speak_to_the_terminal(opened: Generation) -> None:
    with scripted(says("It \x1b[31m", "doubles\x07 \u202e[1].")) as server:
        made = answer(opened, chat=OpenAIChat(server.url, "tiny"))
    assert made.text == "It [31mdoubles [1]."


def test_an_answer_without_citations_is_marked_unchecked(opened: Generation) -> None:
    with scripted(Reply([delta("It just is."), finish(), DONE])) as server:
        made = answer(opened, chat=OpenAIChat(server.url, "tiny"))
    assert any("checked" in note for note in made.notes)


def test_answers_are_made_in_the_order_that_an_llm_gave(opened: Generation) -> None:
    plain = [hit.section.link for hit in retrieve.search(opened, EMBEDDER, QUESTION, k=20).hits]
    with scripted(says("3, 2"), says("3, 2"), says("So says [1].")) as server:
        chat = OpenAIChat(server.url, "tiny")
        extracted = answer(opened, judge=Judge(chat))
        written = answer(opened, chat=chat, judge=Judge(chat))
    assert extracted.citations[0].link == plain[2]
    assert [citation.link for citation in written.citations] == [plain[2]]
    assert {extracted.reranked_by, written.reranked_by} == {"tiny"}
    assert quoted(opened, extracted)


def test_an_llm_that_gives_no_order_is_named_in_a_note(opened: Generation) -> None:
    with scripted(refuses(500, "oops")) as server:
        made = answer(opened, judge=Judge(OpenAIChat(server.url, "tiny")))
    assert made.text == answer(opened).text
    assert made.reranked_by == ""
    assert any("not re-ranked" in note and "oops" in note for note in made.notes)


def test_no_order_is_asked_for_where_nothing_answers(opened: Generation) -> None:
    with scripted() as server:
        made = answer(opened, "Which autovacuum threshold suits postgres?", judge=Judge(OpenAIChat(server.url, "t")))
    assert made.abstained
    assert server.requests == []
