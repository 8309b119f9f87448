"""A function with annotations becomes a schema that every client understands, and arguments a function understands."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragmacs_srv import registry
from ragmacs_srv.errors import AddressRefused, Cancelled, FetchError, InvalidParams
from ragmacs_srv.registry import Between, Result, Tool, converted, define

Kind = Literal["page", "section"]


def locate(
    app: object,
    query: Annotated[str, "What to look for."],
    limit: Annotated[int, "How many.", Between(1, 20)] = 5,
    share: Annotated[float, "Of what."] = 0.5,
    whole: Annotated[bool, "All of it."] = False,
    kind: Annotated[Kind, "Of what kind."] = "page",
    names: Annotated[list[str], "Where."] = (),  # type: ignore[assignment]
) -> Result:
    """Find things.

    In the second sentence they are found.
    """
    return Result(json.dumps([query, limit, share, whole, kind, list(names)]))


LOCATE = define(locate, open_world=True)


@pytest.fixture(autouse=True)
def only_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_TOOLS", {"locate": LOCATE})


def raising(exc: BaseException) -> Tool:
    def fail(app: object) -> Result:
        """Fail."""
        raise exc

    return define(fail)


def test_a_function_becomes_this_schema() -> None:
    assert LOCATE.as_json() == {
        "name": "locate",
        "description": "Find things. In the second sentence they are found.",
        "parameters": {
            "type": "object",
            "properties": {
                "query": {"type": "string", "description": "What to look for."},
                "limit": {"type": "integer", "description": "How many.", "minimum": 1, "maximum": 20, "default": 5},
                "share": {"type": "number", "description": "Of what.", "default": 0.5},
                "whole": {"type": "boolean", "description": "All of it.", "default": False},
                "kind": {
                    "type": "string",
                    "enum": ["page", "section"],
                    "description": "Of what kind.",
                    "default": "page",
                },
                "names": {"type": "array", "items": {"type": "string"}, "description": "Where."},
            },
            "required": ["query"],
            "additionalProperties": False,
        },
        "open_world": True,
        "changes_state": False,
    }


def test_a_parameter_that_is_not_plain_is_no_tool() -> None:
    def union(app: object, name: Annotated[str | None, "A name."] = None) -> Result:
        return Result("")

    def silent(app: object, name: str) -> Result:
        return Result("")

    def backwards(app: object, *, name: Annotated[str, "A name."] = "", other: Annotated[str, "Needed."]) -> Result:
        return Result("")

    for function, says in ((union, "None"), (silent, "say what name is"), (backwards, "come first")):
        with pytest.raises(TypeError, match=says):
            define(function)


@pytest.mark.parametrize(
    ("sent", "means"),
    [
        ({"limit": "7"}, {"limit": 7}),
        ({"limit": 7.0}, {"limit": 7}),
        ({"limit": " 7 "}, {"limit": 7}),
        ({"limit": None, "whole": None}, {}),
        ({"whole": "true"}, {"whole": True}),
        ({"whole": "False"}, {"whole": False}),
        ({"whole": ":json-false"}, {"whole": False}),
        ({"whole": "t"}, {"whole": True}),
        ({"share": "0.25"}, {"share": 0.25}),
        ({"share": 1}, {"share": 1}),
        ({"kind": "Section"}, {"kind": "section"}),
        ({"names": "go-gc"}, {"names": ["go-gc"]}),
        ({"names": '["a", "b"]'}, {"names": ["a", "b"]}),
        ({"names": ["a", 5]}, {"names": ["a", "5"]}),
        ({"query": 1.25}, {"query": "1.25"}),
        ({"query": "\ud800"}, {"query": "?"}),
    ],
    ids=str,
)
def test_arguments_are_read_as_they_were_meant(sent: dict[str, Any], means: dict[str, Any]) -> None:
    assert converted(LOCATE, {"query": "x", **sent}) == {"query": "x", **means}


@pytest.mark.parametrize(
    ("sent", "must_be"),
    [
        ({"limit": 0}, "'limit' must be a whole number from 1 to 20, not 0"),
        ({"limit": "many"}, "'limit' must be a whole number from 1 to 20, not \"many\""),
        ({"limit": 1.5}, "'limit' must be a whole number"),
        ({"limit": True}, "'limit' must be a whole number"),
        ({"share": float("nan")}, "'share' must be a number"),
        ({"share": "inf"}, "'share' must be a number"),
        ({"whole": 1}, "'whole' must be true or false, not 1"),
        ({"kind": "book"}, "'kind' must be one of page, section"),
        ({"names": {"a": 1}}, "'names' must be a list of strings"),
        ({"query": {"text": "x"}}, "'query' must be a string"),
        ({"query": False}, "'query' must be a string, not false"),
        ({"query": None}, "needs the argument 'query'"),
        ({"limits": 3}, "no argument 'limits'. Hint: did you mean 'limit'?"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_named_with_what_it_must_be(sent: dict[str, Any], must_be: str) -> None:
    done = registry.call(None, "locate", {"query": "x", **sent})
    assert done.error
    assert done.text.startswith("Error: ")
    assert must_be in done.text
    assert done.data["error"]["code"] == InvalidParams.code


@pytest.mark.parametrize("sent", [[], ["x"], "x", 5, True])
def test_arguments_are_an_object(sent: object) -> None:
    assert "must be an object" in registry.call(None, "locate", sent).text


def test_a_missing_argument_shows_how_the_tool_is_called() -> None:
    assert "locate(query: string, limit?: integer" in registry.call(None, "locate", None).text


def test_an_unknown_tool_offers_the_nearest() -> None:
    assert registry.call(None, "locat").text == "Error: there is no tool 'locat'. Hint: did you mean 'locate'?"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ARGUMENTS = st.dictionaries(st.sampled_from(["query", "limit", "share", "whole", "kind", "names", "x"]), JSON)


@given(JSON | ARGUMENTS)
def test_whatever_is_sent_the_answer_is_a_result(sent: object) -> None:
    done = registry.call(None, "locate", sent)
    assert done.error == done.text.startswith("Error: ")
    done.text.encode()


@given(ARGUMENTS)
def test_what_arrives_has_the_types_of_the_schema(sent: dict[str, Any]) -> None:
    try:
        made = converted(LOCATE, sent)
    except InvalidParams:
        return
    types = {"query": str, "limit": int, "share": int | float, "whole": bool, "kind": str, "names": list}
    assert all(isinstance(value, types[name]) for name, value in made.items())
    assert 1 <= made.get("limit", 1) <= 20
    assert made.get("kind", "page") in {"page", "section"}
    assert converted(LOCATE, made) == made


@given(st.integers(1, 20), st.booleans())
def test_text_means_the_same_as_the_value(limit: int, whole: bool) -> None:
    as_text = {"query": "x", "limit": str(limit), "whole": json.dumps(whole)}
    assert converted(LOCATE, as_text) == {"query": "x", "limit": limit, "whole": whole}


@pytest.mark.parametrize(
    ("exc", "text"),
    [
        (FetchError("it is gone", hint="ragmacs update x"), "Error: it is gone. Ask the user to run: ragmacs update x"),
        (FetchError("it is gone."), "Error: it is gone."),
        (FetchError("gone", hint="try again later"), "Error: gone. Hint: try again later"),
        (
            AddressRefused("refused http://10.0.0.1/", hint="--allow http://10.0.0.1 if you trust it"),
            "Error: refused http://10.0.0.1/. Tools may not open other addresses. Tell the user, who can allow it: "
            "ragmacs crawl ADDRESS --allow http://10.0.0.1.",
        ),
    ],
)
def test_a_failure_says_what_a_model_can_do(exc: FetchError, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._TOOLS, "fail", raising(exc))
    assert registry.call(None, "fail") == registry.failure(exc)
    assert registry.failure(exc).text == text


def test_a_cancel_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._TOOLS, "fail", raising(Cancelled()))
    with pytest.raises(Cancelled):
        registry.call(None, "fail")


def test_what_reaches_the_network_asks_a_person_first() -> None:
    assert registry.question(None, "locate", {"query": "x"}) == "Run locate?"
    assert registry.question(None, "locate", {}) == ""
