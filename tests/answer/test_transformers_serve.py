"""The client against a server that others wrote: `transformers serve`, with a tiny model of random weights."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO

import pytest

from ragmacs_srv.answer.llm import Message, OpenAIChat
from ragmacs_srv.errors import Cancelled, LLMRefused
from ragmacs_srv.events import Cancel

pytestmark = [pytest.mark.llmserver, pytest.mark.timeout(120)]

ASKED = [Message("system", "You answer."), Message("user", "What is GOGC?")]
TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant: "
START = 100.0  # seconds for a loaded machine to import torch; 10 are usual
ENDLESS = 100_000  # tokens: minutes


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a language model that babbles in printable ASCII and never wants to stop."""
    pytest.importorskip("fastapi", reason="needs transformers[serving]")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = ["Ġ", "Ċ", *map(chr, range(33, 127))]  # the first two: blank and newline, to a byte-level tokenizer
    vocabulary = {letter: n for n, letter in enumerate(["<unk>", *letters])}
    bytewise = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytewise.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytewise, unk_token="<unk>", chat_template=TEMPLATE)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=2 * ENDLESS,
        bos_token_id=None,
        eos_token_id=None,
    )
    folder = tmp_path_factory.mktemp("model")
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real server of MODEL."""
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path_factory.mktemp("hub")), "CUDA_VISIBLE_DEVICES": ""}
    run = [sys.executable, "-c", "from transformers.cli.transformers import main; main()"]
    serve = ["serve", str(model), "--host", "127.0.0.1", "--port", "0", "--device", "cpu"]
    process = subprocess.Popen(
        [*run, *serve],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **offline},
        start_new_session=True,
    )
    try:
        yield _address(process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _address(process: subprocess.Popen[str]) -> str:
    """Where PROCESS listens, as its log says once it does; the log is read on, lest it block the server."""
    found: queue.Queue[str] = queue.Queue()
    log: list[str] = []

    def read(lines: IO[str]) -> None:
        with lines:
            for line in lines:
                log.append(line)
                if running := re.search(r"running on (http://[\d.:]+)", line):
                    found.put(running[1])
        found.put("")

    assert process.stderr
    threading.Thread(target=read, args=(process.stderr,), daemon=True).start()
    address = found.get(timeout=START)
    assert address, "".join(log[-20:])
    return address


def test_answer_completes_without_the_done_that_this_server_never_sends(server: str, model: Path) -> None:
    pieces = list(OpenAIChat(server, str(model)).stream(ASKED, max_tokens=40, cancel=Cancel()))
    assert len(pieces) > 1
    assert "".join(pieces).isascii()


def test_cancelled_answer_leaves_the_server_free_for_the_next(server: str, model: Path) -> None:
    chat = OpenAIChat(server, str(model))
    cancel = Cancel()
    endless = chat.stream(ASKED, max_tokens=ENDLESS, cancel=cancel)
    assert len(list(islice(endless, 3))) == 3
    cancel.cancel()
    with pytest.raises(Cancelled):
        next(endless)
    assert list(chat.stream(ASKED, max_tokens=5, cancel=Cancel()))


def test_other_model_is_refused_in_the_server_s_words(server: str) -> None:
    with pytest.raises(LLMRefused, match="pinned") as caught:
        next(OpenAIChat(server, "other").stream(ASKED, max_tokens=5, cancel=Cancel()))
    assert caught.value.status == 400
