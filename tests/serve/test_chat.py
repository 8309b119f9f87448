"""What is asked in a chat-completions request, and how an answer is told; nothing here touches a wire."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragmacs_srv.errors import InvalidParams
from ragmacs_srv.model import Answer, Citation
from ragmacs_srv.serve import chat
from ragmacs_srv.serve.refusal import Refusal

LONG = "How does the garbage collector of Go decide when the next collection cycle starts?"
CONTEXT = "Request context:\n\nIn buffer `a.go`:\n\n```go\nfunc f() {\n```go\n}\n```\n\nIn file `b`:\n\n```\nx\n```\n\n"


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def system(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text}


def asked(*messages: dict[str, Any], **more: Any) -> chat.Asked:
    return chat.parse(json.dumps({"model": "ragmacs", "messages": messages, **more}).encode())


@pytest.mark.parametrize(
    ("messages", "question"),
    [
        ([user("What does GOGC do?")], "What does GOGC do?"),
        ([system("You live inside Emacs. What is heap?"), user("What does GOGC do?")], "What does GOGC do?"),
        ([user([{"type": "text", "text": "a"}, {"type": "image_url"}, {"type": "text", "text": "b"}])], "a\nb"),
        ([user("What is a heap?"), assistant("It is …"), user(LONG)], LONG),
        ([user("What is GOGC?"), assistant(None), user("And GOMEMLIMIT?")], "And GOMEMLIMIT?\nWhat is GOGC?"),
        ([user("What is GOGC?"), assistant("…"), user(LONG + " Is it fast?")], LONG + " Is it fast?\nWhat is GOGC?"),
        ([user(CONTEXT + "What does f do?")], "What does f do?"),
        ([user(CONTEXT + "What is GOGC?"), assistant("…"), user("Why?")], "Why?\nWhat is GOGC?"),
        ([user("What is GOGC?"), assistant("…"), user("  ")], "What is GOGC?"),
        ([user("x" * 3995), assistant("…"), user("And why?")], "And why?"),
    ],
    ids=[
        "one", "the system message is no question", "parts", "one that stands alone", "a short one", "a pronoun",
        "context in front", "context in front of the one before", "an empty one", "too long together",
    ],
)  # fmt: skip
def test_question_is_the_last_user_message_with_the_one_it_leans_on(messages: list[Any], question: str) -> None:
    assert asked(*messages).question == question


@pytest.mark.parametrize("messages", [[], [system("hi")], [user(None)], [user([{"type": "image_url"}])]])
def test_request_without_a_word_of_the_user_is_refused(messages: list[Any]) -> None:
    with pytest.raises(InvalidParams):
        _ = asked(*messages).question


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"{}", b'{"messages": 1}', b'{"messages": [1]}', b'{"messages": [{"role": 1}]}',
     b'{"messages": [{"role": "user", "content": 1}]}', b'{"messages": [], "model": 1}', b"\xff",
     b"[" * 200_000, b'{"messages": ' + b"9" * 5000 + b"}"],
    ids=lambda body: body[:40],
)  # fmt: skip
def test_body_that_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidParams):
        chat.parse(body)


MEMBERS = ["role", "content", "type", "text", "messages", "tools", "stream_options", "tool_calls", "response_format"]
LEAVES = st.none() | st.booleans() | st.integers() | st.text()


@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(MEMBERS), inner)))
def test_any_json_is_a_request_or_refused(value: object) -> None:
    try:
        request = chat.parse(json.dumps(value).encode())
        assert isinstance(request.needs_model, bool)
        assert isinstance(request.question, str)
    except InvalidParams:
        pass


def test_unknown_members_are_ignored() -> None:
    request = asked(user("a"), temperature=0.7, citations=True, stream=True, stream_options={"include_usage": True})
    assert (request.stream, request.usage, request.needs_model) == (True, True, False)


@pytest.mark.parametrize(
    "request_",
    [
        asked(user("a"), tools=[{"type": "function"}]),
        asked(user("a"), assistant(None, tool_calls=[{}]), {"role": "tool", "content": "b"}),
        asked(user("a"), response_format={"type": "json_schema"}),
    ],
    ids=["tools", "a tool's answer", "a schema"],
)
def test_only_a_model_can_do(request_: chat.Asked) -> None:
    assert request_.needs_model
    assert not request_.rewrites


TURN = assistant("What is the required change?  I will generate only the final replacement.")
DIRECTIVE = (
    "You are a go programmer.  Follow my instructions and refactor go code I provide.\n- Generate ONLY go code as "
    "output, without any explanation or markdown code fences.\n- Generate code in full."
)
EDITOR = "You are an editor.  Generate ONLY the replacement text, without any explanation or markdown code fences."


@pytest.mark.parametrize(
    "messages",
    [
        [system(DIRECTIVE), user("func f() {}"), TURN, user("Rename f to g")],
        [system("Mine."), user("func f() {}"), TURN, user("Rename f to g")],
        [system(EDITOR), user("text"), user("shorter")],
        [user(DIRECTIVE + "\n\nfunc f() {}"), TURN, user("Rename f to g")],
    ],
)
def test_rewriting_is_recognized(messages: list[Any]) -> None:
    assert asked(*messages).rewrites


def test_talking_about_rewriting_is_not_rewriting() -> None:
    assert not asked(system("Be brief."), user("How do I rewrite code with gptel?"), assistant("x"), user("a")).rewrites


def test_model_names_a_collection() -> None:
    assert asked(user("a")).collections == ()
    assert chat.parse(b'{"model": "ragmacs:go-gc", "messages": []}').collections == ("go-gc",)
    known = chat.models({"handbook", "go-gc"})
    assert known == ["ragmacs", "ragmacs:go-gc", "ragmacs:handbook"]
    with pytest.raises(Refusal, match="ragmacs:go-gc, ragmacs:handbook") as caught:
        chat.check_model("gpt-4", known)
    assert caught.value.status == 404


def events(frames: list[bytes]) -> list[Any]:
    lines = b"".join(frames).decode().split("\n\n")
    assert lines.pop() == ""
    assert lines.pop() == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def test_stream_is_role_content_finish_usage_in_this_order() -> None:
    request = asked(user("abcdefgh"), stream=True, stream_options={"include_usage": True})
    first, second, finish, usage = events(list(chat.frames(request, ["Grü", "\ud800ße"])))
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "Grü"}
    assert second["choices"][0]["delta"] == {"content": "\ud800ße"}
    assert [each["choices"][0]["finish_reason"] for each in (first, second, finish)] == [None, None, "stop"]
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}
    assert {each["id"] for each in (first, second, finish, usage)} == {request.id}


def test_usage_comes_only_when_asked_for() -> None:
    assert "usage" not in events(list(chat.frames(asked(user("a"), stream=True), ["b"])))[-1]


def test_stream_that_cannot_go_on_says_so_as_text_and_ends_properly() -> None:
    text, finish = events([chat.broken(asked(user("a"), stream=True), "no disk")])
    assert text["choices"][0]["delta"]["content"] == "\n\n[ragmacs error: no disk]"
    assert finish["choices"][0]["finish_reason"] == "stop"


def test_citations_are_lines_whose_addresses_are_links_in_markdown_and_org() -> None:
    def cited(n: int, *heading: str) -> Citation:
        return Citation(n, "https://go.dev/doc/gc-guide", "GOGC", "GC guide", heading, "q", "", "")

    citations = (cited(1, "GC guide", "GO\x1bGC\n\x07"), cited(2, "GC guide"), cited(3))
    answer = Answer("a [1]", citations, "lexical", 1.0, notes=("words only",))
    assert chat.ending(answer) == (
        "\n\n[1] GC guide, GOGC <https://go.dev/doc/gc-guide#GOGC>\n[2] GC guide <https://go.dev/doc/gc-guide#GOGC>"
        "\n[3] GC guide <https://go.dev/doc/gc-guide#GOGC>\n\n[ragmacs: words only]"
    )
    assert chat.ending(Answer("a", (), "lexical", 1.0)) == ""
