"""A sentence-transformers model becomes a folder that ONNX Runtime can run, written once by a child process.

The whole model is exported, its pooling, Dense and Normalize modules included, so nothing of it is imitated
at run time. The child compares what it wrote with the model itself and refuses what does not agree. Only the
child ever imports torch: `python -m ragmacs_srv.search.export MODEL_FOLDER OUT_FOLDER`.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import EmbedderMissing
from ..events import Cancel
from .embed import (
    EXPORTED,
    GRAPH,
    OUTPUTS,
    TOKENIZER,
    Exported,
    ModelFolder,
    OnnxEmbedder,
    SentenceTransformerEmbedder,
    sha256,
)

if TYPE_CHECKING:
    from torch import Tensor

VERSION = 1  # raise it when the same model would be written otherwise
WEIGHTS = "weights.bin"  # beside the graph, so that ONNX Runtime maps them instead of copying
OPSET = 17
NEEDED = ("onnx", "onnxruntime", "torch", "sentence_transformers")
FEEDS = {"input_ids", "attention_mask", "token_type_ids"}  # what a tokenizer gives
AGREES = 0.9999  # the least cosine between the exported model and the model itself
REFUSED = 3  # the child's exit status for a model that will never be exported

# Short and padded, longer than any model reads, code, other scripts, nothing at all.
PROBES = (
    "What does GOGC do?",
    "The garbage collector frees memory that nothing refers to any more. " * 200,
    'func main() { fmt.Println("héllo, 世界") } // \U0001f600',
    "",
    "one two three four five six seven eight nine ten " * 5,
)


class Unexportable(Exception):
    """This model cannot be run by ONNX Runtime here; says why."""


def exported(model: ModelFolder, folder: Path, *, cancel: Cancel | None = None, wait: bool = True) -> Path:
    """The exported MODEL under FOLDER, made now if it is not there; raises Unexportable.

    A model that cannot be exported is remembered, so that only the first try costs anything. Without WAIT
    nothing is made: it raises EmbedderMissing instead.
    """
    out = folder.absolute() / f"{model.key}-{VERSION}"
    if _whole(out):
        return out
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise Unexportable(f"{', '.join(missing)} is not installed")
    refusal = _refusal(out)
    if refusal.is_file():
        raise Unexportable(f"{refusal.read_text('utf-8').strip()} (to try again, delete {refusal})")
    if not wait:
        raise EmbedderMissing(f"the model {model.name} is being prepared", hint="ragmacs model prepare")
    _run_child(model.path.absolute(), out, cancel or Cancel())
    if not _whole(out):
        raise Unexportable(f"the exported model in {out} is not whole")
    return out


def _run_child(model: Path, out: Path, cancel: Cancel) -> None:
    command = [sys.executable, "-m", __spec__.name, str(model), str(out)]
    root = Path(__file__).parents[2]  # `-m` looks here first: never in the folder the user happens to be in
    child = subprocess.Popen(
        command, cwd=root, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    with child, cancel.on_cancel(child.kill):
        _, said = child.communicate()
    cancel.check()
    if child.returncode:
        reason = (said.strip().splitlines() or [f"the exporter ended with status {child.returncode}"])[-1]
        if child.returncode == REFUSED:
            _refusal(out).write_text(reason, "utf-8")
        raise Unexportable(reason)


def main(model: Path, out: Path) -> int:
    """What the child does: write MODEL to OUT, all of it or nothing."""
    warnings.simplefilter("ignore")  # the exporter's, by the dozen; what counts is compared below
    try:
        with _alone(out):
            if not _whole(out):
                _export(model, out)
    except Unexportable as exc:
        print(exc, file=sys.stderr)  # noqa: T201 - the last line is what the parent reports
        return REFUSED
    return 0


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """While inside, no other process exports to OUT; what a killed one left is removed."""
    out.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with out.with_name(f"{out.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(_aside(out), ignore_errors=True)
        yield


def _export(model: Path, out: Path) -> None:
    """Write aside, compare, and only then give the folder its name."""
    aside = _aside(out)
    aside.mkdir(mode=0o700)
    try:
        folder = ModelFolder(out.name, model, "export")
        reference = SentenceTransformerEmbedder(folder)
        _write(reference.loaded, aside)
        _compare(reference, OnnxEmbedder(folder, aside))
        shutil.rmtree(out, ignore_errors=True)
        _sync(aside)
        aside.rename(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write(model: Any, folder: Path) -> None:
    try:
        _write_graph(model, folder)
        _write_tokenizer(model, folder)
    except Unexportable:
        raise
    except (RuntimeError, ValueError, TypeError, AttributeError, LookupError, NotImplementedError) as exc:
        raise Unexportable(f"the model cannot be exported: {_first_line(exc)}") from exc
    files = {path.name: sha256(path) for path in sorted(folder.iterdir())}
    prompts = model.prompts
    document = next((prompts[name] for name in ("document", "passage", "corpus") if name in prompts), "")
    padding = (model.tokenizer.padding_side, model.tokenizer.pad_token_id or 0)
    made = Exported(model.get_embedding_dimension(), prompts.get("query", ""), document, padding, files)
    (folder / EXPORTED).write_text(json.dumps(asdict(made), indent=1), "utf-8")


def _write_graph(model: Any, folder: Path) -> None:
    import onnx
    import torch

    class Whole(torch.nn.Module):  # type: ignore[misc]
        """The model as a function of tensors, as the exporter wants it."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
            features = self.model(dict(zip(feeds, tensors, strict=True)))
            return tuple(features[name] for name in OUTPUTS)

    example = model.preprocess(["two texts of which one", "is padded"])
    feeds = [name for name, value in example.items() if isinstance(value, torch.Tensor)]
    if unknown := set(feeds) - FEEDS:
        raise Unexportable(f"the model wants {', '.join(sorted(unknown))} besides tokens")
    axes = {name: {0: "texts", 1: "tokens"} for name in (*feeds, OUTPUTS[1])} | {OUTPUTS[0]: {0: "texts"}}
    with torch.inference_mode():
        torch.onnx.export(
            Whole().eval(),
            tuple(example[name] for name in feeds),
            str(folder / GRAPH),
            input_names=feeds,
            output_names=list(OUTPUTS),
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,  # tracing takes 1 s where the newer exporter takes 13, and the graph runs as fast
        )
    graph = onnx.load(folder / GRAPH)
    onnx.save_model(graph, folder / GRAPH, save_as_external_data=True, location=WEIGHTS)


def _write_tokenizer(model: Any, folder: Path) -> None:
    """The tokenizer as sentence-transformers sets it up, which is not always as the folder has it."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(model.tokenizer.backend_tokenizer.to_str())
    tokenizer.no_padding()
    limit = model.max_seq_length or model.tokenizer.model_max_length
    if limit and limit < 1 << 20:  # transformers says 10**30 for "no limit"
        tokenizer.enable_truncation(limit, direction=model.tokenizer.truncation_side)
    else:
        tokenizer.no_truncation()
    tokenizer.save(str(folder / TOKENIZER))


def _compare(reference: SentenceTransformerEmbedder, written: OnnxEmbedder) -> None:
    for query in (False, True):
        expected, given = reference.encode(PROBES, query=query), written.encode(PROBES, query=query)
        least = float(np.min(np.sum(expected.vectors * given.vectors, axis=1)))
        if not least >= AGREES:
            raise Unexportable(f"the exported model does not agree with the model itself (cosine {least:.4f})")
        if [each.shape for each in expected.tokens] != [each.shape for each in given.tokens]:
            raise Unexportable("the exported model does not see the same tokens as the model itself")


def _whole(out: Path) -> bool:
    """Whether OUT holds every file, each as it was written."""
    try:
        return all(sha256(out / name) == digest for name, digest in Exported.read(out).files.items())
    except (EmbedderMissing, OSError, AttributeError):
        return False


def _aside(out: Path) -> Path:
    return out.with_name(f"{out.name}.tmp")


def _refusal(out: Path) -> Path:
    return out.with_name(f"{out.name}.refused")


def _sync(folder: Path) -> None:
    for path in (*folder.iterdir(), folder):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _first_line(exc: Exception) -> str:
    return (str(exc).strip() or type(exc).__name__).splitlines()[0]


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
