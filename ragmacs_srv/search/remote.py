"""A model's name becomes a folder on disk: the one download we do, and only when asked for."""

from __future__ import annotations

import re
import shutil
import ssl
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import httpx

from .. import __version__
from ..errors import FetchError, InvalidParams, StorageError
from ..events import Cancel, Progress, Sink, ignore
from .embed import DEFAULT_MODEL, check_pinned

OWNER = "sentence-transformers"
NAME = re.compile(r"(?:\w[\w.-]*/)?\w[\w.-]*", re.ASCII)  # as the hub allows them: never a path out of our folder

# What a sentence-transformers folder needs; other formats of the same weights are left out.
WANTED = (".json", ".txt", ".model", "model.safetensors", "pytorch_model.bin")
UNWANTED = ("onnx/", "openvino/", "data_config.json")


def pull(name: str, folder: Path, *, endpoint: str, sink: Sink = ignore, cancel: Cancel | None = None) -> Path:
    """Download the sentence-transformers model NAME from the hub at ENDPOINT into FOLDER/NAME.

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
        with _client(endpoint) as client:
            _download_all(client, repo, aside, sink, cancel or Cancel())
        if repo == f"{OWNER}/{DEFAULT_MODEL}":
            check_pinned(aside, hint="try again, or another --endpoint")
        _install(aside, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target


def _client(endpoint: str) -> httpx.Client:
    try:
        return httpx.Client(
            base_url=endpoint.rstrip("/"),
            follow_redirects=True,
            verify=_trust(),
            trust_env=False,
            timeout=httpx.Timeout(30, connect=5),
            headers={"User-Agent": f"ragmacs/{__version__}"},
        )
    except httpx.InvalidURL as exc:
        raise InvalidParams(f"{endpoint} is not an address: {exc}", hint="check --endpoint") from exc


@cache  # reading them takes 30 ms
def _trust() -> ssl.SSLContext:
    """The public certificate authorities."""
    return httpx.create_ssl_context(trust_env=False)


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
    if "model.safetensors" in wanted:
        wanted = [name for name in wanted if name != "pytorch_model.bin"]
    safe = [name for name in wanted if not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts]
    if "modules.json" not in safe:
        raise InvalidParams(f"{repo} is not a sentence-transformers model: it has no modules.json")
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
