"""An annotated function becomes a tool: a JSON schema, checked arguments, and a reply a model can act on.

    @tool(open_world=True)
    def read_page(app: Library, url: Annotated[str, "Its address."], limit: Annotated[int, "…", Between(1, 9)] = 5):
        '''What it does, in at most 60 words for a model.'''

One definition serves JSON-RPC, MCP, gptel and `ragmacs tool NAME JSON`. Some of their clients pair arguments by
position and know no unions, so required parameters come first and every type is plain; a parameter with a default
is optional, and null means that it is absent. Models send numbers and truth values as strings: arguments are
converted once, here.
"""

from __future__ import annotations

import base64
import hashlib
import inspect
import json
import math
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from .errors import AddressRefused, Cancelled, InvalidParams, RagmacsError
from .settings import nearest

BUDGET = 6000  # characters of a reply: more floods the context of a small model, and some clients choke on 24 KB
TRUE, FALSE = frozenset({"true", "t", "yes"}), frozenset({"false", ":json-false", "no"})
WORDS = {"string": "a string", "integer": "a whole number", "number": "a number", "boolean": "true or false"}


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool says: `text` for a model, `data` the same as JSON; a failure's text begins with `Error: `."""

    text: str
    data: dict[str, Any] = field(default_factory=dict)
    error: bool = False


@dataclass(frozen=True, slots=True)
class Between:
    """The least and the greatest number a parameter may be; stands in its annotation."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that a model may call.

    `parameters` is the JSON schema of its arguments. `open_world`: it may reach the network; `changes_state`: it
    may write. What is either of these wants a person's consent before `run(app, **arguments)`; `asks`, given the
    same, says what to ask the person, or "" where no question is needed.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    open_world: bool
    changes_state: bool
    run: Callable[..., Result]
    asks: Callable[..., str] | None = None

    def as_json(self) -> dict[str, Any]:
        """The tool as `tools/list` tells it."""
        return {
            "name": self.name,
            "description": self.description,
            "parameters": self.parameters,
            "open_world": self.open_world,
            "changes_state": self.changes_state,
        }


Run = TypeVar("Run", bound=Callable[..., Result])
_TOOLS: dict[str, Tool] = {}


def tool(
    *, open_world: bool = False, changes_state: bool = False, asks: Callable[..., str] | None = None
) -> Callable[[Run], Run]:
    """Register a function as a tool of its name; raises TypeError when its signature cannot be a schema."""

    def register(function: Run) -> Run:
        made = define(function, open_world=open_world, changes_state=changes_state, asks=asks)
        _TOOLS[made.name] = made
        return function

    return register


def tools() -> tuple[Tool, ...]:
    """Every registered tool, in the order they were defined."""
    return tuple(_TOOLS.values())


def define(
    function: Callable[..., Result],
    *,
    open_world: bool = False,
    changes_state: bool = False,
    asks: Callable[..., str] | None = None,
) -> Tool:
    """FUNCTION, whose first parameter is the app, as a Tool; raises TypeError as `tool` does."""
    description = " ".join((inspect.getdoc(function) or "").split())
    name = function.__name__
    return Tool(name, description, _schema(function), open_world, changes_state, function, asks)


def call(app: object, name: str, arguments: object = None) -> Result:
    """Run the tool NAME with ARGUMENTS, a JSON object.

    Every failure is a Result with `error`; only Cancelled, and what is a bug of ours, is raised.
    """
    try:
        found = lookup(name)
        return found.run(app, **converted(found, arguments))
    except Cancelled:
        raise
    except RagmacsError as exc:
        return failure(exc)


def question(app: object, name: str, arguments: object = None) -> str:
    """What a person should be asked before the tool NAME runs with ARGUMENTS; "" where nothing needs consent.

    Arguments that `call` will refuse need none.
    """
    try:
        found = lookup(name)
        given = converted(found, arguments)
        if found.asks is not None:
            return found.asks(app, **given)
    except Cancelled:
        raise
    except RagmacsError:
        return ""
    return f"Run {name}?" if found.open_world or found.changes_state else ""


def lookup(name: str) -> Tool:
    """The tool NAME; raises InvalidParams that offers the nearest."""
    if name not in _TOOLS:
        raise InvalidParams(f"there is no tool {name!r}", hint=nearest(name, list(_TOOLS)))
    return _TOOLS[name]


def failure(exc: RagmacsError) -> Result:
    """EXC as a reply that a model can act on."""
    shape = {"code": exc.code, "exit_code": exc.exit_code, "message": exc.message, "hint": exc.hint}
    sentence = exc.message if exc.message.endswith((".", "!", "?")) else exc.message + "."
    text = f"Error: {sentence} {_advice(exc)}".strip()[:BUDGET]  # it may repeat what was sent
    return Result("".join(each for each in text if each.isprintable() or each == "\n"), {"error": shape}, error=True)


def _advice(exc: RagmacsError) -> str:
    """The hint in words for a model: it cannot run our commands, and must not try to get around a refusal."""
    if isinstance(exc, AddressRefused) and "--allow" in exc.hint:
        return "Tools may not open other addresses. Tell the user, who can allow it: ragmacs crawl ADDRESS " + (
            exc.hint.split(" if ")[0] + "."
        )
    if exc.hint.startswith("ragmacs "):
        return f"Ask the user to run: {exc.hint}"
    return f"Hint: {exc.hint}" if exc.hint else ""


# Replies in parts


def bookmark(at: int, *what: object) -> str:
    """A cursor: an opaque word that stands for the place AT in WHAT: the arguments, and what was found for them."""
    return base64.urlsafe_b64encode(f"{at} {_digest(what)}".encode()).decode().rstrip("=")


def resumed(given: str, *what: object) -> int:
    """The place in WHAT that the cursor GIVEN stands for, 0 for "".

    Raises InvalidParams for a cursor that `bookmark` did not make for WHAT.
    """
    if not given:
        return 0
    with suppress(ValueError):
        at, digest = base64.b64decode(given + "=" * (-len(given) % 4), b"-_", validate=True).decode().split(" ")
        if digest == _digest(what) and at.isdecimal():
            return int(at)
    message = f"the cursor {_shown(given)} is none of this tool for these arguments, or what it stood for has changed"
    raise InvalidParams(message, hint="call the tool without a cursor to begin again")


def _digest(what: Sequence[object]) -> str:
    return hashlib.sha256(repr(what).encode("utf-8", "replace")).hexdigest()[:8]


# The schema


def _schema(function: Callable[..., Result]) -> dict[str, Any]:
    """The JSON schema of the parameters of FUNCTION behind its first."""
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = list(inspect.signature(function).parameters.values())[1:]
    required = [each.name for each in parameters if each.default is each.empty]
    if required != [each.name for each in parameters[: len(required)]]:
        raise TypeError(f"{function.__name__}: required parameters come first")
    properties = {each.name: _property(function.__name__, each, hints[each.name]) for each in parameters}
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _property(function: str, parameter: inspect.Parameter, hint: object) -> dict[str, Any]:
    extras = getattr(hint, "__metadata__", ())
    description = next((each for each in extras if isinstance(each, str)), "")
    if not description:
        raise TypeError(f"{function}: say what {parameter.name} is, as Annotated[TYPE, DESCRIPTION]")
    made = {**_type(f"{function}: {parameter.name}", typing.get_args(hint)[0]), "description": description}
    for each in extras:
        if isinstance(each, Between):
            made |= {"minimum": each.least, "maximum": each.most}
    if parameter.default not in (parameter.empty, "", ()):
        made["default"] = parameter.default
    return made


def _type(what: str, kind: object) -> dict[str, Any]:
    plain = {str: "string", int: "integer", float: "number", bool: "boolean"}
    if isinstance(kind, type) and kind in plain:
        return {"type": plain[kind]}
    if typing.get_origin(kind) is Literal:
        return {"type": "string", "enum": list(typing.get_args(kind))}
    if typing.get_origin(kind) in (list, Sequence) and typing.get_args(kind) == (str,):
        return {"type": "array", "items": {"type": "string"}}
    raise TypeError(f"{what} is no string, number, truth value, Literal, or list of strings, but {kind}")


# The arguments


def converted(given: Tool, arguments: object) -> dict[str, Any]:
    """ARGUMENTS as the parameters of the tool GIVEN declare them; those that are absent are left out.

    Raises InvalidParams, naming the argument and what it must be.
    """
    arguments = {} if arguments is None else arguments
    if not isinstance(arguments, Mapping):
        raise InvalidParams(f"the arguments of {given.name} must be an object", hint=usage(given))
    properties = given.parameters["properties"]
    for name in arguments:
        if name not in properties:
            hint = nearest(str(name), list(properties)) if properties else "call it without arguments"
            raise InvalidParams(f"{given.name} has no argument {name!r}", hint=hint)
    present = {name: value for name, value in arguments.items() if value is not None}
    for name in given.parameters["required"]:
        if name not in present:
            raise InvalidParams(f"{given.name} needs the argument {name!r}", hint=usage(given))
    return {name: _converted(name, value, properties[name]) for name, value in present.items()}


def usage(given: Tool) -> str:
    """How the tool GIVEN is called, in one line."""
    required = given.parameters["required"]
    parts = (
        f"{name}: {schema['type']}" if name in required else f"{name}?: {schema['type']}"
        for name, schema in given.parameters["properties"].items()
    )
    return f"{given.name}({', '.join(parts)})"


def _converted(name: str, value: object, schema: Mapping[str, Any]) -> object:
    try:
        made = _READ[schema["type"]](value)
        if "enum" in schema:
            made = _choice(made, schema["enum"])
        if not schema.get("minimum", made) <= made <= schema.get("maximum", made):
            raise ValueError
    except ValueError:
        message = f"the argument {name!r} must be {_wanted(schema)}, not {_shown(value)}"
        raise InvalidParams(message, hint=schema["description"]) from None
    return made


def _string(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError
    return str(value).encode("utf-8", "replace").decode()  # no half characters: they cannot be sent on


def _integer(value: object) -> int:
    number = _number(value)
    if number != int(number):
        raise ValueError
    return int(number)


def _number(value: object) -> float | int:
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d{1,15}\s*", value, re.ASCII):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError
    if isinstance(value, int):
        return value
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    if word not in TRUE | FALSE:
        raise ValueError
    return word in TRUE


def _strings(value: object) -> list[str]:
    """A list of strings; also one written as JSON within a string, and one string without a list around it."""
    if isinstance(value, str):
        try:
            inner = json.loads(value) if value.lstrip().startswith("[") else value
        except (ValueError, RecursionError):
            inner = value
        value = inner if isinstance(inner, list) else [value]
    if not isinstance(value, list | tuple):
        raise ValueError
    return [_string(each) for each in value]


def _choice(text: str, choices: Sequence[str]) -> str:
    same = [each for each in choices if each.lower() == text.strip().lower()]
    if not same:
        raise ValueError
    return text if text in choices else same[0]


_READ: dict[str, Callable[[object], Any]] = {
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "array": _strings,
}


def _wanted(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(schema["enum"])
    if schema["type"] == "array":
        return "a list of strings"
    bounds = f" from {schema['minimum']} to {schema['maximum']}" if "minimum" in schema else ""
    return WORDS[schema["type"]] + bounds


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:59] + "…"
