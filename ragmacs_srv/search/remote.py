"""A model's name becomes a folder on disk: the one download we do, and only when asked for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import httpx

from .. import __version__
from ..errors import FetchError, InvalidParams, StorageError
from ..events import Cancel, Progress, Sink, ignore
from .embed import DEFAULT_MODEL, ModelFolder, check_pinned

# What a sentence-transformers folder needs; other formats of the same weights are left out.
WANTED = (".json", ".txt", ".model", "model.safetensors", "pytorch_model.bin")
UNWANTED = ("onnx/", "openvino/", "data_config.json")


def pull(name: str, folder: Path, *, endpoint: str, sink: Sink = ignore, cancel: Cancel | None = None) -> Path:
    """Download the sentence-transformers model NAME from the hub at ENDPOINT into FOLDER/NAME.

    What was complete before stays until the new files are all there. Raises FetchError, InvalidParams
    for a name the hub does not have, EmbedderMissing when the default model is not upstream's.
    """
    cancel = cancel or Cancel()
    repo = name if "/" in name else f"sentence-transformers/{name}"
    target = folder / repo.removeprefix("sentence-transformers/")
    aside = target.with_name(target.name + ".part")
    shutil.rmtree(aside, ignore_errors=True)
    with httpx.Client(
        base_url=endpoint.rstrip("/"),
        follow_redirects=True,
        trust_env=False,
        timeout=httpx.Timeout(30, connect=5),
        headers={"User-Agent": f"ragmacs/{__version__}"},
    ) as client:
        listing = _listing(client, repo)
        files = _files(listing)
        for n, file in enumerate(files):
            sink(Progress("model", n, len(files), file))
            _download(client, f"/{repo}/resolve/{listing['sha']}/{file}", aside / file, cancel)
    if repo == f"sentence-transformers/{DEFAULT_MODEL}":
        check_pinned(aside)
    shutil.rmtree(target, ignore_errors=True)
    aside.rename(target)
    return ModelFolder(target.name, target, "pulled").path


def _listing(client: httpx.Client, repo: str) -> Mapping[str, Any]:
    try:
        answer = client.get(f"/api/models/{repo}")
        if answer.status_code in {401, 404}:
            raise InvalidParams(f"the hub has no model {repo}", hint="check the name, or set [embed] path")
        answer.raise_for_status()
        listing: Mapping[str, Any] = answer.json()
    except httpx.HTTPError as exc:
        raise FetchError(f"{client.base_url}: {exc}", hint="is the hub reachable? --endpoint names a mirror") from exc
    except json.JSONDecodeError as exc:
        raise FetchError(f"{client.base_url} did not answer like a model hub", hint="check --endpoint") from exc
    return listing


def _files(listing: Mapping[str, Any]) -> list[str]:
    """The files to download: safe relative names, one format of the weights."""
    names = [str(each["rfilename"]) for each in listing.get("siblings", ())]
    wanted = [name for name in names if name.endswith(WANTED) and not name.startswith(UNWANTED)]
    if "model.safetensors" in wanted:
        wanted = [name for name in wanted if name != "pytorch_model.bin"]
    safe = [name for name in wanted if not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts]
    if "modules.json" not in safe:
        raise InvalidParams("that is not a sentence-transformers model: it has no modules.json")
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
        raise FetchError(f"{url}: {exc}", hint="try again") from exc
    except OSError as exc:
        raise StorageError(f"{path}: {exc.strerror}", hint="free some disk space") from exc
