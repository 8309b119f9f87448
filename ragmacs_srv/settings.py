"""Configuration from four places, later ones winning: defaults, TOML, environment, flags.

Names map one to one: `[llm] model` is `RAGMACS_LLM_MODEL` is the flag key `llm.model`. An unknown name is
an error that offers the nearest known one. Secrets are never settings: see `api_key`. Nothing here writes.
"""

from __future__ import annotations

import difflib
import shlex
import subprocess
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from .errors import SettingsError

NOT_SETTINGS = {"RAGMACS_HOME", "RAGMACS_LLM_KEY", "RAGMACS_EMBED_KEY", "RAGMACS_STACKEXCHANGE_KEY", "RAGMACS_DEBUG"}


@dataclass(frozen=True, slots=True)
class Folders:
    """Where state lives; RAGMACS_HOME puts all of it into one folder, else the XDG folders hold it."""

    config: Path  # config.toml and sources/*.toml, written by the user, and by `ragmacs add`
    data: Path  # the store: crawl.db and the generations
    cache: Path  # can be deleted at any time

    @property
    def config_file(self) -> Path:
        return self.config / "config.toml"

    @property
    def sources(self) -> Path:
        return self.config / "sources"

    @property
    def store(self) -> Path:
        return self.data / "store"

    @property
    def models(self) -> Path:
        return self.data / "models"

    @property
    def http_token(self) -> Path:
        """The token of the HTTP server, while one runs: at the same place for whoever reads it anew each time."""
        return self.data / "http-token"

    @property
    def exported(self) -> Path:
        return self.cache / "onnx"

    @property
    def golang(self) -> Path:
        """Our Go program, for each toolchain that built it."""
        return self.cache / "go"

    @property
    def summaries(self) -> Path:
        return self.cache / "summaries"

    @property
    def batches(self) -> Path:
        """What clients had read of their reading lists: to be done again when it is deleted, and no more."""
        return self.cache / "batches"

    @property
    def handbook(self) -> Path:
        return self.cache / "handbook"


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """How questions find sections."""

    mode: Literal["hybrid", "lexical"] = "hybrid"
    rerank: bool = True  # let the tokens of the best candidates decide; costs 20 KB of disk per chunk
    compact: bool = False  # half of that, for a little less precision; switching makes the token vectors anew
    limit: int = 8  # results of `ragmacs search`
    llm_rerank: bool = False  # let the LLM put the best 20 sections in order; it is sent 400 characters of each
    llm_rerank_timeout: float = 8.0  # seconds; then the order stays as it is
    weights: tuple[str, ...] = ()  # of collections, for example go-gc=2: what their sections' scores are multiplied by
    deadline: float = 1.5  # seconds that a question waits for the embedding model; 0: until it is ready


@dataclass(frozen=True, slots=True)
class EmbedSettings:
    """Which model turns text into vectors."""

    model: str = "all-MiniLM-L6-v2"  # its name on the hub, looked for on this machine only; or what the server calls it
    path: str = ""  # a sentence-transformers folder; wins over `model`
    # torch is the reference: the same vectors as onnx, seconds to start. See `search.embed` for the others.
    engine: Literal["onnx", "torch", "openvino-bf16", "endpoint"] = "onnx"
    threads: int = 0  # 0: as many as there are cores
    base_url: str = ""  # of the engine "endpoint": an OpenAI-compatible server, http://127.0.0.1:11434/v1
    key_command: str = ""  # prints that server's API key; RAGMACS_EMBED_KEY wins


@dataclass(frozen=True, slots=True)
class LLMSettings:
    """An OpenAI-compatible server that writes the answers; none: answers are extracted."""

    base_url: str = ""  # for example http://127.0.0.1:11434/v1
    model: str = ""
    key_command: str = ""  # prints the API key; RAGMACS_LLM_KEY wins
    max_tokens: int = 800
    timeout: float = 120.0  # seconds between two tokens; a laptop may take that long to read the prompt


@dataclass(frozen=True, slots=True)
class AnswerSettings:
    """What an answer may cost the reader, and the LLM."""

    max_chars: int = 1000  # an extractive answer
    context_chars: int = 12000  # passages shown to the LLM
    # Of prompts and replies for one summary: three long guides, minutes on a laptop. A longer page is shown in part.
    summary_tokens: int = 60000
    old_days: int = 180  # a page that was last read, or found unchanged, so long ago is cited with a note; 0: never


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """The few ways to widen the network rules; no flag of a tool and no page can."""

    allow: tuple[str, ...] = ()  # exact origins, for example http://127.0.0.1:8080
    mirror: tuple[str, ...] = ()  # FROM=TO origins: fetched from TO, known and cited as FROM
    proxy: str = ""
    ca_file: str = ""
    delay: float = 1.0  # seconds between two requests to one public origin


@dataclass(frozen=True, slots=True)
class StackExchangeSettings:
    """The interface that questions and answers are read by; it needs no key for 300 requests a day."""

    key_command: str = ""  # prints a key for more, free at stackapps.com; RAGMACS_STACKEXCHANGE_KEY wins


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """The server that Emacs, the shell and other clients share."""

    http: bool = False  # listen on HTTP, too, whoever started the server; it then does not end by itself
    http_port: int = 8425  # on 127.0.0.1: fixed, as clients have it in their configuration
    idle_minutes: float = 30.0  # it ends when there was no client for so long; 0: never
    queue: int = 128  # searches that may wait, and answers; the next client is told to come back


@dataclass(frozen=True, slots=True)
class GoSettings:
    """The Go that looks at your code."""

    path: str = ""  # of the program `go`; default: the one on PATH
    roots: tuple[str, ...] = ()  # folders whose code a tool may read for clients that name none


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything `app` builds from. `origins` says where each value that is no default came from."""

    folders: Folders
    search: SearchSettings = field(default_factory=SearchSettings)
    embed: EmbedSettings = field(default_factory=EmbedSettings)
    llm: LLMSettings = field(default_factory=LLMSettings)
    answer: AnswerSettings = field(default_factory=AnswerSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    stackexchange: StackExchangeSettings = field(default_factory=StackExchangeSettings)
    serve: ServeSettings = field(default_factory=ServeSettings)
    go: GoSettings = field(default_factory=GoSettings)
    origins: Mapping[str, str] = field(default_factory=dict)

    def rows(self) -> Iterator[tuple[str, object, str]]:
        """(key, value, origin) of every setting, in the order they are declared."""
        for key in _types():
            section, name = key.split(".")
            yield key, getattr(getattr(self, section), name), self.origins.get(key, "default")


SECTIONS: Mapping[str, type] = {
    "search": SearchSettings,
    "embed": EmbedSettings,
    "llm": LLMSettings,
    "answer": AnswerSettings,
    "network": NetworkSettings,
    "stackexchange": StackExchangeSettings,
    "serve": ServeSettings,
    "go": GoSettings,
}


def load(environ: Mapping[str, str], flags: Mapping[str, Any] | None = None) -> Settings:
    """Read the settings that ENVIRON and the configuration file it leads to give; FLAGS ("llm.model") win.

    Raises SettingsError for a file that cannot be read, an unknown name, or a value of the wrong type.
    """
    where = folders(environ)
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    for origin, key, raw in (
        *_from_file(where.config_file),
        *_from_environ(environ),
        *(("flag", key, raw) for key, raw in (flags or {}).items() if raw is not None),
    ):
        values[key] = _convert(key, raw, origin)
        origins[key] = origin
    sections = {name: cls(**_of(name, values)) for name, cls in SECTIONS.items()}
    return Settings(where, **sections, origins=origins)


def folders(environ: Mapping[str, str]) -> Folders:
    """RAGMACS_HOME if set, else the XDG base directories."""
    if home := environ.get("RAGMACS_HOME"):
        base = Path(home).expanduser().absolute()
        return Folders(base, base, base / "cache")
    user = Path(environ.get("HOME") or Path.home())

    def xdg(variable: str, default: str) -> Path:
        return Path(environ.get(variable) or user / default) / "ragmacs"

    return Folders(
        xdg("XDG_CONFIG_HOME", ".config"), xdg("XDG_DATA_HOME", ".local/share"), xdg("XDG_CACHE_HOME", ".cache")
    )


def llm_key(llm: LLMSettings, environ: Mapping[str, str]) -> str:
    """The API key of the server that writes answers, or ""."""
    return api_key("llm", llm.key_command, environ)


def api_key(section: str, command: str, environ: Mapping[str, str]) -> str:
    """The API key of the server in SECTION: RAGMACS_(SECTION)_KEY, else what COMMAND prints, else none."""
    if key := environ.get(f"RAGMACS_{section.upper()}_KEY"):
        return key
    if not command:
        return ""
    try:
        done = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=30, check=True)
    except (OSError, ValueError, subprocess.SubprocessError) as exc:
        raise SettingsError(f"[{section}] key_command failed: {type(exc).__name__}", hint="run it in a shell") from exc
    return done.stdout.strip()


def nearest(name: str, known: Sequence[str]) -> str:
    """A hint that offers the known name NAME was probably meant to be."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else "known names: " + ", ".join(known)


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file; raises SettingsError naming file and line."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise SettingsError(f"{path}: {exc}", hint="correct the file, or move it away") from exc


def _types() -> dict[str, object]:
    return {
        f"{section}.{item.name}": typing.get_type_hints(cls)[item.name]
        for section, cls in SECTIONS.items()
        for item in fields(cls)
    }


def _of(section: str, values: Mapping[str, object]) -> dict[str, Any]:
    return {key.split(".")[1]: value for key, value in values.items() if key.startswith(section + ".")}


def _from_file(path: Path) -> Iterator[tuple[str, str, object]]:
    try:
        tables = read_toml(path)
    except FileNotFoundError:
        return
    for section, table in tables.items():
        if section not in SECTIONS or not isinstance(table, dict):
            raise SettingsError(f"{path}: unknown table [{section}]", hint=nearest(section, list(SECTIONS)))
        for name, raw in table.items():
            yield str(path), _known(f"{section}.{name}", str(path)), raw


def _from_environ(environ: Mapping[str, str]) -> Iterator[tuple[str, str, object]]:
    variables = {f"RAGMACS_{key.replace('.', '_').upper()}": key for key in _types()}
    for name, raw in environ.items():
        if not name.startswith("RAGMACS_") or name in NOT_SETTINGS:
            continue
        if name not in variables:
            raise SettingsError(f"unknown variable {name}", hint=nearest(name, [*variables, *sorted(NOT_SETTINGS)]))
        yield f"${name}", variables[name], raw


def _known(key: str, origin: str) -> str:
    if key in _types():
        return key
    if key.rpartition(".")[2] in {"key", "api_key", "token", "password"}:
        section = key.partition(".")[0]
        section = section if section in {"embed", "stackexchange"} else "llm"
        hint = f"set RAGMACS_{section.upper()}_KEY or [{section}] key_command"
        raise SettingsError(f"{origin}: {key} looks like a secret", hint=hint)
    raise SettingsError(f"{origin}: unknown key {key}", hint=nearest(key, list(_types())))


def _convert(key: str, raw: object, origin: str) -> object:
    """RAW as the type that KEY declares; text from the environment is read as that type."""
    kind = _types()[key]
    choices = typing.get_args(kind) if typing.get_origin(kind) is Literal else ()
    try:
        if choices:
            if raw in choices:
                return raw
            raise ValueError("one of " + ", ".join(map(str, choices)))
        if isinstance(kind, types.GenericAlias):  # tuple[str, ...]
            return _strings(raw)
        return _scalar(typing.cast(type, kind), raw)
    except ValueError as exc:
        raise SettingsError(
            f"{origin}: {key} = {raw!r} must be {exc}", hint="ragmacs config shows all settings"
        ) from exc


def _strings(raw: object) -> tuple[str, ...]:
    if isinstance(raw, str):
        return tuple(part for part in raw.replace(",", " ").split() if part)
    if isinstance(raw, list | tuple) and all(isinstance(part, str) for part in raw):
        return tuple(raw)
    raise ValueError("a list of strings")


def _scalar(kind: type, raw: object) -> object:
    if kind is bool:
        return _truth(raw)
    if isinstance(raw, bool):
        raise ValueError(_article(kind))
    if kind in (int, float):
        if not isinstance(raw, str | int | float) or (kind is int and isinstance(raw, float)):
            raise ValueError(_article(kind))
        try:
            number = kind(raw)
        except ValueError:
            raise ValueError(_article(kind)) from None
        if not 0 <= number < float("inf"):
            raise ValueError("zero or more")
        return number
    if not isinstance(raw, str):
        raise ValueError(_article(kind))
    return raw


def _truth(raw: object) -> bool:
    word = str(raw).lower()
    if not isinstance(raw, bool | str) or word not in {"true", "false"}:
        raise ValueError("true or false")
    return word == "true"


def _article(kind: type) -> str:
    return {int: "a whole number", float: "a number", str: "a string"}[kind]
