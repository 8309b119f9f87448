"""A model that does as it is told: the last user message becomes a tool call, or its own echo, over OpenAI's API.

A line `CALL NAME {…}` calls that tool, whose reply comes back as text; `SHOW` gives the whole request as JSON;
`FAIL TEXT` is refused with TEXT; anything else is repeated.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CALL = re.compile(r"^CALL (\w+) (.*)$", re.MULTILINE)
Delta = dict[str, Any]


def deltas(body: Mapping[str, Any]) -> list[Delta]:
    """The answer to the request BODY, in the pieces that a real model would send."""
    last = body["messages"][-1]
    if last["role"] == "tool":
        return [{"content": "The tool said: "}, {"content": last["content"]}]
    text = last["content"] or ""
    if call := CALL.search(text):
        return [_call(call[1], call[2][:1], id="call_1", type="function"), _call("", call[2][1:])]
    if text.startswith("SHOW"):
        return [{"content": json.dumps(body, ensure_ascii=False)}]
    return [{"content": "You said: "}, {"content": text}]


def _call(name: str, arguments: str, **more: str) -> Delta:
    function = {"name": name, "arguments": arguments} if name else {"arguments": arguments}
    return {"tool_calls": [{"index": 0, "function": function, **more}]}


def whole(pieces: list[Delta]) -> Delta:
    """PIECES as the message of a reply that does not stream."""
    if "content" in pieces[0]:
        return {"role": "assistant", "content": "".join(piece["content"] for piece in pieces)}
    call = pieces[0]["tool_calls"][0]
    rest = "".join(piece["tool_calls"][0]["function"]["arguments"] for piece in pieces[1:])
    function = {"name": call["function"]["name"], "arguments": call["function"]["arguments"] + rest}
    return {"role": "assistant", "content": None, "tool_calls": [{**call, "function": function}]}


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        last = body["messages"][-1]["content"] or ""
        if last.startswith("FAIL "):
            self._send(400, "application/json", json.dumps({"error": {"message": last[5:], "type": "t"}}))
            return
        pieces = deltas(body)
        finish = "tool_calls" if "tool_calls" in pieces[0] else "stop"
        if body.get("stream"):
            choices = [*({"index": 0, "delta": piece} for piece in pieces)]
            choices.append({"index": 0, "delta": {}, "finish_reason": finish})
            lines = [json.dumps({"choices": [choice]}) for choice in choices]
            self._send(200, "text/event-stream", "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"]))
        else:
            choice = {"index": 0, "message": whole(pieces), "finish_reason": finish}
            self._send(200, "application/json", json.dumps({"choices": [choice]}))

    def _send(self, status: int, kind: str, text: str) -> None:
        with suppress(ConnectionError):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(text.encode())

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def obedient() -> Iterator[str]:
    """Serve while inside; HOST:PORT is yielded."""
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{httpd.server_port}"
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()
