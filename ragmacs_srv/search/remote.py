"""What the model's room asks of servers: vectors for texts, and a model's files, the one download we do.

Vectors come from the server that `[embed] base_url` names, a model from the hub when `ragmacs model pull` is
told to. No variable of the environment leads anywhere else.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache, cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..errors import EmbedderMissing, FetchError, InvalidParams, SettingsError, StorageError
from ..events import Cancel, Progress, Sink, ignore
from .embed import DEFAULT_MODEL, WEIGHTS, check_pinned

TEXTS = 32  # in one request
MAX_BYTES = 64 << 20  # of a reply: 32 vectors of 4,096 numbers are 3 MB
MAX_QUOTE = 200  # characters of what a server said, in an error of ours


def hints(table: str) -> tuple[str, str]:
    """What to check of the server that TABLE names: its address, its key."""
    return (
        f"check `[{table}] base_url`; for most servers it ends in /v1",
        f"check the key: environment variable RAGMACS_{table.upper()}_KEY, or `[{table}] key_command`",
    )


_URL_HINT, _KEY_HINT = hints("embed")
_MODEL_HINT = "check [embed] model and [embed] base_url"
_HINTS = {401: _KEY_HINT, 403: _KEY_HINT, 404: _MODEL_HINT, 400: _MODEL_HINT, 422: _MODEL_HINT}
_AGAIN = {408, 429, 500, 502, 503, 504}  # statuses that may be gone in a moment


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server is waited for; in seconds."""

    connect: float
    silence: float
    total: float  # of one attempt, as far as the server sends anything
    retries: int
    pause: float  # before the first retry, twice as long before each next one
    longest: float  # that a server may ask us to wait


INDEXING = Patience(connect=5, silence=60, total=120, retries=3, pause=0.5, longest=20)
ASKING = Patience(connect=0.5, silence=1, total=1.4, retries=0, pause=0, longest=0)  # a search goes on without


class EndpointEmbedder:
    """Vectors from a server that speaks OpenAI's embeddings: Ollama, llama.cpp, vLLM, LM Studio, hosted ones.

    BASE_URL is what these programs call so; /embeddings is appended, and /v1 supplied where there is no path.
    The key goes to this server only: no redirect is followed. CA_FILE names a certificate authority to trust as
    well. A question has ASKING's patience. Every failure is EmbedderMissing, so that search goes on lexically;
    an address or key that cannot be meant is SettingsError.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        key: str = "",
        ca_file: str = "",
        cancel: Cancel | None = None,
        indexing: Patience = INDEXING,
        asking: Patience = ASKING,
    ) -> None:
        self.name = model
        self.numeric = f"remote:{model}"
        self.base_url = server_address(base_url, "embed", "/embeddings")
        self.key = hashlib.sha256(f"{self.base_url}\0{model}".encode()).hexdigest()[:16]
        self._secret = sendable(key, "embed")
        self._ca_file = ca_file
        self._cancel = cancel or Cancel()
        self._indexing, self._asking = indexing, asking

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r}, {self.name!r})"

    @cached_property
    def dim(self) -> int:
        """As many numbers as the first vector had; where there was none yet, one is asked for."""
        return int(self._vectors(["dimension"], self._asking).shape[1])

    def embed(self, texts: Sequence[str], *, query: bool = False) -> NDArray[np.float32]:
        patience = self._asking if query else self._indexing
        parts = [self._vectors(texts[n : n + TEXTS], patience) for n in range(0, len(texts), TEXTS)]
        return np.concatenate(parts) if parts else np.empty((0, self.dim), np.float32)

    def _vectors(self, texts: Sequence[str], patience: Patience) -> NDArray[np.float32]:
        """Unit vectors of at most TEXTS texts, all as wide as the first ones were."""
        body = self._reply({"model": self.name, "input": list(texts), "encoding_format": "float"}, patience)
        try:
            vectors = unit_vectors(body, len(texts))
        except ValueError as exc:
            raise self._missing(f"sent no usable vectors: {exc}", _MODEL_HINT) from exc
        width = self.__dict__.setdefault("dim", vectors.shape[1])
        if vectors.shape[1] != width:
            raise self._missing(f"sent vectors of {width} numbers, then of {vectors.shape[1]}", "ragmacs reindex")
        return vectors

    def _reply(self, asked: Mapping[str, object], patience: Patience) -> bytes:
        """The body of the reply to what is ASKED, after as many attempts as PATIENCE allows."""
        pause = patience.pause
        for left in reversed(range(patience.retries + 1)):
            try:
                return self._attempt(asked, patience)
            except _Later as exc:
                wait = pause if exc.after is None else exc.after
                if not left or wait > patience.longest:
                    raise exc.error from exc.__cause__
            self._cancel.wait(wait)
            pause *= 2
        raise AssertionError("unreachable")

    def _attempt(self, asked: Mapping[str, object], patience: Patience) -> bytes:
        """One request over a connection of its own: of a kept one, `trace` would not tell the socket."""
        line, ends = _Line(self._cancel), time.monotonic() + patience.total
        with self._mapped(patience), self._cancel.on_cancel(line.cut), self._client(patience) as client:
            url = f"{self.base_url}/embeddings"
            with client.stream("POST", url, json=asked, extensions={"trace": line.trace}) as response:
                body = self._body(response, ends)
                if not response.is_success:
                    raise self._refusal(response, body)
                return body

    def _body(self, response: httpx.Response, ends: float) -> bytes:
        body = bytearray()
        for block in response.iter_bytes():
            body += block
            if len(body) > MAX_BYTES:
                raise self._missing(f"sent more than {MAX_BYTES >> 20} MiB", _URL_HINT)
            if time.monotonic() > ends:
                raise self._missing("was not done in time")
        self._cancel.check()  # a line that we cut looks ended
        return bytes(body)

    @contextmanager
    def _mapped(self, patience: Patience) -> Iterator[None]:
        """Where httpx's exceptions become ours."""
        try:
            yield
        except (httpx.ReadTimeout, httpx.WriteTimeout) as exc:
            self._cancel.check()
            raise self._missing(f"sent nothing for {patience.silence:g} s") from exc
        except httpx.RequestError as exc:
            self._cancel.check()  # a line that we cut looks broken
            said = self._quoted(str(exc)) or type(exc).__name__
            raise _Later(self._missing(f"cannot be reached: {said}", "is the server running?")) from exc

    def _refusal(self, response: httpx.Response, body: bytes) -> Exception:
        """What a RESPONSE that is not a success means."""
        status = response.status_code
        said = self._quoted(_complaint(body)) or response.reason_phrase
        error = self._missing(f"answered {status}: {said}", _HINTS.get(status, ""))
        if response.is_redirect:
            return self._missing(f"answered {status}; a redirect is not followed", _URL_HINT)
        return _Later(error, _retry_after(response)) if status in _AGAIN else error

    def _client(self, patience: Patience) -> httpx.Client:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", **_agent()}
        if self._secret:
            headers["Authorization"] = f"Bearer {self._secret}"
        timeout = httpx.Timeout(patience.silence, connect=patience.connect)
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if self.base_url.startswith("http:") else _trust(self._ca_file)
        return httpx.Client(headers=headers, timeout=timeout, verify=trust, trust_env=False)

    def _missing(self, what: str, hint: str = "try again later") -> EmbedderMissing:
        return EmbedderMissing(f"{self.base_url}, which gives vectors, {what}", hint=hint)

    def _quoted(self, said: str) -> str:
        """One printable line of what a server SAID, who may have repeated the key."""
        said = said.replace(self._secret, "…") if self._secret else said
        line = " ".join("".join(char if char.isprintable() else " " for char in said).split())
        return line if len(line) <= MAX_QUOTE else f"{line[:MAX_QUOTE]}…"


def unit_vectors(body: bytes, count: int) -> NDArray[np.float32]:
    """COUNT vectors of length 1 out of a reply's BODY, in the order of their indexes; raises ValueError.

    Servers that leave out the indexes send them in the order asked for.
    """
    try:
        reply: Any = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    rows = reply.get("data") if isinstance(reply, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("no list of data")
    places = [row.get("index", n) for n, row in enumerate(rows)]
    if sorted(places, key=str) != sorted(range(count), key=str):
        raise ValueError(f"{len(rows)} vectors for {count} texts" if len(rows) != count else "their indexes are wrong")
    listed = [row.get("embedding") for _, row in sorted(zip(places, rows, strict=True), key=lambda pair: pair[0])]
    widths = {len(each) if isinstance(each, list) else 0 for each in listed}
    vectors = np.array(listed if len(widths) == 1 else [])
    if vectors.ndim != 2 or not vectors.shape[1] or vectors.dtype.kind not in "if":
        raise ValueError("they are not lists of numbers of one length")
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(vectors.astype(np.float32), axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and lengths.all()):
        raise ValueError("a number in them is not finite, or all are zero")
    return np.asarray(vectors / lengths, np.float32)


class _Later(Exception):
    """An ERROR that may be gone AFTER that many seconds, if the server said how many."""

    def __init__(self, error: EmbedderMissing, after: float | None = None) -> None:
        super().__init__()
        self.error = error
        self.after = after


class _Line:
    """The socket of a request, for another thread to cut while we are blocked in reading from it."""

    def __init__(self, cancel: Cancel) -> None:
        self._cancel = cancel
        self._socket: socket.socket | None = None

    def trace(self, event: str, about: Mapping[str, Any]) -> None:
        """httpcore calls this at each step of a request; two of them bring the socket, over TLS the latter's."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._socket = about["return_value"].get_extra_info("socket")
            if self._cancel.cancelled:  # too early for `cut`
                self.cut()

    def cut(self) -> None:
        if self._socket is not None:
            with suppress(OSError):  # closed by now
                # Not SSLSocket's own: that forgets the TLS session under the thread that is reading.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def server_address(address: str, table: str, endpoint: str) -> str:
    """ADDRESS, that of `[TABLE] base_url`, without ENDPOINT; never quoted in an error, as people put keys into them."""
    url_hint, key_hint = hints(table)
    try:
        url = httpx.URL(address.strip())
        url.host.encode("idna")  # what connecting would stumble over
    except (httpx.InvalidURL, UnicodeError) as exc:
        raise SettingsError(f"[{table}] base_url cannot be read", hint=url_hint) from exc
    if url.scheme not in ("http", "https") or not url.host or (url.port or 0) > 65535:
        raise SettingsError(f"[{table}] base_url is not http://HOST or https://HOST", hint=url_hint)
    if url.userinfo or url.query or url.fragment:
        raise SettingsError(f"[{table}] base_url has a user, a query or a fragment", hint=key_hint)
    path = url.path.rstrip("/").removesuffix(endpoint)
    return str(url.copy_with(path=path or "/v1"))


def sendable(key: str, table: str) -> str:
    """The KEY of TABLE without the newline of the command that printed it; only what a header can carry."""
    key = key.strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise SettingsError(f"the key of [{table}] holds characters that no HTTP header carries", hint=hints(table)[1])
    return key


def _complaint(body: bytes) -> str:
    """What the BODY of an error says, in the forms in which OpenAI, Ollama and FastAPI say it; else ""."""
    try:
        said: Any = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    for name in ("error", "detail", "message"):
        if isinstance(said, dict) and name in said:
            said = said[name]
    return said if isinstance(said, str) else ""


def _retry_after(response: httpx.Response) -> float | None:
    """The seconds that a RESPONSE asks us to wait, as a number or a date; None if it asks for none."""
    header = response.headers.get("retry-after", "")
    try:
        seconds = float(header)
    except ValueError:
        try:
            when = parsedate_to_datetime(header)
        except (ValueError, OverflowError):
            return None
        seconds = (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


# A model's name becomes a folder on disk

OWNER = "sentence-transformers"
NAME = re.compile(r"(?:\w[\w.-]*/)?\w[\w.-]*", re.ASCII)  # as the hub allows them: never a path out of our folder

# What a sentence-transformers folder needs; other formats of the same weights are left out.
WANTED = (".json", ".txt", ".model", ".safetensors", "pytorch_model.bin")
UNWANTED = ("onnx/", "openvino/", "data_config.json")
NEEDED = ("modules.json", "config.json", "tokenizer.json")


def pull(
    name: str,
    folder: Path,
    *,
    endpoint: str,
    proxy: str = "",
    ca_file: str = "",
    sink: Sink = ignore,
    cancel: Cancel | None = None,
) -> Path:
    """Download the sentence-transformers model NAME from the hub at ENDPOINT into FOLDER/NAME.

    PROXY and CA_FILE are what the configuration says under [network].
    What was complete before stays until the new files are all there. Raises FetchError, InvalidParams
    for a name the hub does not have, EmbedderMissing when the default model is not upstream's.
    """
    if not NAME.fullmatch(name):
        raise InvalidParams(f"{name!r} is not a model's name", hint=f"a name is like {DEFAULT_MODEL} or OWNER/MODEL")
    repo = name if "/" in name else f"{OWNER}/{name}"
    target = folder / repo.removeprefix(f"{OWNER}/")
    aside = target.with_name(target.name + ".part")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        with _client(endpoint, proxy, ca_file) as client:
            _download_all(client, repo, aside, sink, cancel or Cancel())
        if repo == f"{OWNER}/{DEFAULT_MODEL}":
            check_pinned(aside, hint="try again, or another --endpoint")
        _install(aside, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target


def _client(endpoint: str, proxy: str, ca_file: str) -> httpx.Client:
    options: dict[str, Any] = {"follow_redirects": True, "trust_env": False, "timeout": httpx.Timeout(30, connect=5)}
    trust = _trust(ca_file)
    try:
        base = httpx.URL(endpoint.rstrip("/"))
    except httpx.InvalidURL as exc:
        raise InvalidParams(f"{endpoint} is not an address: {exc}", hint="check --endpoint") from exc
    try:
        return httpx.Client(base_url=base, verify=trust, proxy=proxy or None, headers=_agent(), **options)
    except (httpx.InvalidURL, ValueError, ImportError) as exc:  # ImportError: SOCKS needs a package
        hint = "proxy under [network] is like http://proxy.example:3128"
        raise SettingsError(f"the proxy under [network] cannot be used: {_first_line(exc)}", hint=hint) from exc


def _agent() -> dict[str, str]:
    return {"User-Agent": f"ragmacs/{__version__}"}


@cache  # reading them takes 30 ms
def _trust(ca_file: str) -> ssl.SSLContext:
    """The public certificate authorities, and those in CA_FILE."""
    trust = httpx.create_ssl_context(trust_env=False)
    if ca_file:
        try:
            trust.load_verify_locations(ca_file)
        except OSError as exc:  # ssl.SSLError is one
            hint = "ca_file under [network] is a file of PEM certificates"
            raise SettingsError(f"cannot read the certificates in {ca_file}: {_first_line(exc)}", hint=hint) from exc
    return trust


def _download_all(client: httpx.Client, repo: str, folder: Path, sink: Sink, cancel: Cancel) -> None:
    revision, files = _listing(client, repo)
    for n, file in enumerate(files):
        cancel.check()
        sink(Progress("model", n, len(files), file))
        _download(client, f"/{repo}/resolve/{quote(revision)}/{quote(file)}", folder / file, cancel)
    sink(Progress("model", len(files), len(files)))


def _listing(client: httpx.Client, repo: str) -> tuple[str, list[str]]:
    """The hub's current revision of REPO and the files of it that we need."""
    try:
        answer = client.get(f"/api/models/{repo}")
        if answer.status_code in {401, 404}:
            raise InvalidParams(f"the hub has no model {repo}", hint="check the name, or set [embed] path")
        answer.raise_for_status()
        listing: Any = answer.json()
        return str(listing["sha"]), _files(repo, [str(each["rfilename"]) for each in listing["siblings"]])
    except httpx.HTTPError as exc:
        message = f"{client.base_url}: {_first_line(exc)}"
        raise FetchError(message, hint="is the hub reachable? --endpoint names a mirror") from exc
    except (ValueError, TypeError, LookupError) as exc:
        raise FetchError(f"{client.base_url} did not answer like a model hub", hint="check --endpoint") from exc


def _files(repo: str, names: list[str]) -> list[str]:
    """The files to download: safe relative names, one format of the weights."""
    wanted = [name for name in names if name.endswith(WANTED) and not name.startswith(UNWANTED)]
    if set(WEIGHTS[:2]).intersection(wanted):
        wanted = [name for name in wanted if name != "pytorch_model.bin"]
    safe = [name for name in wanted if not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts]
    if "modules.json" not in safe:
        raise InvalidParams(f"{repo} is not a sentence-transformers model: it has no modules.json")
    lacking = [name for name in NEEDED if name not in safe]
    if lacking or not set(WEIGHTS).intersection(safe):
        raise InvalidParams(f"{repo} has no {' and no '.join(lacking or WEIGHTS[:1])}, which ragmacs needs")
    return safe


def _download(client: httpx.Client, url: str, path: Path, cancel: Cancel) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with client.stream("GET", url) as answer, path.open("wb") as file:
            answer.raise_for_status()
            for piece in answer.iter_bytes(1 << 20):
                cancel.check()
                file.write(piece)
    except httpx.HTTPError as exc:
        raise FetchError(f"{url}: {_first_line(exc)}", hint="try again") from exc
    except OSError as exc:
        raise StorageError(f"{path}: {exc.strerror}", hint="free some disk space") from exc


def _install(aside: Path, target: Path) -> None:
    try:
        if target.exists():
            shutil.rmtree(target)
        aside.rename(target)
    except OSError as exc:
        raise StorageError(f"{exc.filename}: {exc.strerror}", hint="check the rights of the folder") from exc


def _first_line(exc: Exception) -> str:
    return (str(exc) or type(exc).__name__).splitlines()[0]
