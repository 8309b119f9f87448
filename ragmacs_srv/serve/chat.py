"""A chat-completions request becomes a question; pieces of an answer become the response that gptel understands.

What gptel sends and what it takes, request by request and byte by byte, is written down in its parser and was tried:
errors inside of a stream and unknown statuses are silent, usage is read from the last line before `[DONE]`.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..app import MAX_QUESTION
from ..errors import InvalidParams
from ..model import Answer, Citation
from ..render import printable
from ..search.terms import content_spans
from .refusal import Refusal

MODEL = "ragmacs"
DONE = b"data: [DONE]\n\n"
KEEPALIVE = b": keepalive\n\n"
FEW = 6  # content words; a question with fewer leans on the one before
PRONOUNS = frozenset(
    """it its they them their theirs this that these those one ones there former latter same
    es sie davon dazu dafür damit dessen deren ça cela ceci eso esto ello""".split()  # noqa: SIM905 - reads better
)
CHARS_PER_TOKEN = 4  # an estimate: no model that has tokens need be there

# gptel-rewrite sends its directive as the system message, and between the text and the instruction this turn:
_REWRITE_TURN = "What is the required change?"
_REWRITE_DIRECTIVE = re.compile(r"Generate ONLY .{1,200}without any explanation or markdown code fences", re.DOTALL)
# gptel's context, where an option puts it in front of the question: fenced blocks with a line that names each.
_CONTEXT = re.compile(r"\s*Request context:\n\n.*\n```\s*?\n\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for a completion: `messages` as they came, and in `body` all there was."""

    model: str
    messages: tuple[Mapping[str, Any], ...]
    stream: bool
    usage: bool  # the stream ends with the number of tokens
    body: Mapping[str, Any]
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def collections(self) -> tuple[str, ...]:
        """Where to look; nowhere in particular when empty."""
        name = self.model.partition(":")[2]
        return (name,) if name else ()

    @property
    def rewrites(self) -> bool:
        """It wants a text changed, as `gptel-rewrite` does: an answer with citations would end up in someone's code."""
        system = [_text(each) for each in self.messages if each["role"] in {"system", "developer"}]
        turns = [_text(each) for each in self.messages if each["role"] == "assistant"]
        first = [_text(each) for each in self.messages[:1]]  # of models without a system message
        directed = any(_REWRITE_DIRECTIVE.search(text[:10_000]) for text in (*system, *first))
        return directed or any(turn.startswith(_REWRITE_TURN) for turn in turns[-1:])

    @property
    def needs_model(self) -> bool:
        """Only a language model can do it: call tools, go on after one, write JSON by a schema, rewrite a text."""
        tools = bool(self.body.get("tools") or self.body.get("functions"))
        called = any(each["role"] in {"tool", "function"} or each.get("tool_calls") for each in self.messages)
        form = self.body.get("response_format")
        shaped = isinstance(form, dict) and form.get("type") not in {None, "text"}
        return tools or called or shaped or self.rewrites

    @property
    def question(self) -> str:
        """The last user message; one that leans on the one before brings it along. Raises InvalidParams for none."""
        said = [text for each in self.messages if each["role"] == "user" and (text := asked_text(_text(each)))]
        if not said:
            raise InvalidParams("there is no user message with text", hint="the last user message is the question")
        last = said[-1]
        if len(said) == 1 or len(last) > MAX_QUESTION or not leans(last):
            return last
        both = f"{last}\n{said[-2]}"
        return both if len(both) <= MAX_QUESTION else last


def leans(question: str) -> bool:
    """QUESTION says too little to be understood alone, or points at what was said before."""
    words = set(re.findall(r"\w+", question.lower()))
    return len(content_spans(question)) < FEW or not PRONOUNS.isdisjoint(words)


def asked_text(text: str) -> str:
    """TEXT of a user without the context blocks that gptel puts in front."""
    context = _CONTEXT.match(text)
    return (text[context.end() :] if context else text).strip()


def parse(body: bytes) -> Asked:
    """The request in BODY; raises InvalidParams. Members we do not know are nobody's mistake."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise InvalidParams("the body is not JSON", hint="send a chat completion request") from exc
    messages = value.get("messages") if isinstance(value, dict) else None
    if not isinstance(messages, list) or not all(map(_is_message, messages)):
        raise InvalidParams("`messages` must be a list of objects with a role and a content", hint=_MESSAGES_HINT)
    model = value.get("model") or MODEL
    if not isinstance(model, str):
        raise InvalidParams("`model` must be a string", hint="/v1/models lists what there is")
    options = value.get("stream_options")
    usage = isinstance(options, dict) and bool(options.get("include_usage"))
    return Asked(model, tuple(messages), bool(value.get("stream")), usage, value)


_MESSAGES_HINT = '[{"role": "user", "content": "What does GOGC do?"}]'


def _is_message(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    return isinstance(value.get("role"), str) and isinstance(value.get("content"), str | list | None)


def _text(message: Mapping[str, Any]) -> str:
    """What MESSAGE says: its content may be null, a string, or parts of which some are text."""
    content = message.get("content")
    if not isinstance(content, list):
        return content or ""
    parts = (part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text")
    return "\n".join(part for part in parts if isinstance(part, str))


# Models


def models(collections: Collection[str]) -> list[str]:
    """The names that may be asked for."""
    return [MODEL, *(f"{MODEL}:{name}" for name in sorted(collections))]


def check_model(name: str, known: Sequence[str]) -> None:
    """Raise the Refusal that lists what is KNOWN."""
    if name not in known:
        raise Refusal(404, f"there is no model {name[:100]!r}; there are: {', '.join(known)}", "model_not_found")


def model_list(names: Iterable[str]) -> dict[str, Any]:
    return {"object": "list", "data": [model_entry(name) for name in names]}


def model_entry(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "ragmacs"}


# Answers


def ending(answer: Answer) -> str:
    """What a reader of the text alone needs beside it: where its numbers lead, and what was not as asked for."""
    lines = [_source(citation) for citation in answer.citations]
    parts = ["\n".join(lines), "\n".join(f"[ragmacs: {note}]" for note in answer.notes)]
    return "".join(f"\n\n{part}" for part in parts if part)


def _source(citation: Citation) -> str:
    """A citation as a line; the address in angle brackets is a link in Markdown and in Org alike."""
    heading = citation.heading[-1] if citation.heading else citation.title
    name = heading if heading == citation.title else f"{citation.title}, {heading}"
    return f"[{citation.n}] {' '.join(printable(name).split())} <{citation.link}>"


def frames(asked: Asked, pieces: Iterable[str]) -> Iterator[bytes]:
    """PIECES of text as events. Nothing comes before the first piece: until then an error has a status."""
    length = 0
    for n, piece in enumerate(pieces):
        role = {} if n else {"role": "assistant"}
        length += len(piece)
        yield _chunk(asked, [_choice({**role, "content": piece})])
    yield _last(asked, length)


def broken(asked: Asked, message: str) -> bytes:
    """The end of a stream that cannot go on; an error that is not text would be shown to nobody."""
    return _chunk(asked, [_choice({"content": f"\n\n[ragmacs error: {message}]"})]) + _last(asked, 0)


def whole(asked: Asked, pieces: Iterable[str]) -> bytes:
    """All PIECES of text as one completion."""
    text = "".join(pieces)
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return _dump({**_head(asked, "chat.completion"), "choices": [choice], "usage": _usage(asked, len(text))})


def _last(asked: Asked, length: int) -> bytes:
    finish = _chunk(asked, [_choice({}, "stop")])
    usage = _chunk(asked, [], usage=_usage(asked, length)) if asked.usage else b""
    return finish + usage + DONE


def _choice(delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def _chunk(asked: Asked, choices: Sequence[Mapping[str, Any]], **more: object) -> bytes:
    return b"data: " + _dump({**_head(asked, "chat.completion.chunk"), "choices": choices, **more}) + b"\n\n"


def _head(asked: Asked, kind: str) -> dict[str, Any]:
    return {"id": asked.id, "object": kind, "created": asked.created, "model": asked.model}


def _usage(asked: Asked, length: int) -> dict[str, int]:
    """Tokens of the conversation and of an answer of LENGTH characters, as an estimate."""
    prompt = max(1, sum(len(_text(each)) for each in asked.messages) // CHARS_PER_TOKEN)
    completion = max(1, length // CHARS_PER_TOKEN)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _dump(value: object) -> bytes:
    """VALUE as JSON in one line of ASCII: a lone surrogate in it hurts nobody."""
    return json.dumps(value).encode()
