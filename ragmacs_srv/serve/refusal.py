"""A failure becomes an HTTP status and the error object that clients of OpenAI's API show to their users."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ..errors import (
    Busy,
    Cancelled,
    InvalidParams,
    LLMRefused,
    LLMUnavailable,
    NotIndexed,
    RagmacsError,
)

# What `type` says; gptel shows it beside the status.
TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
INVALID_REQUEST = -32600  # of JSON-RPC
# An LLM server said so of the very request that we passed on to it.
PASSED_ON = {400, 413, 422, 429}
RETRY = {"Retry-After": "2"}  # seconds: an answer takes about that long


class Refusal(Exception):
    """A request that is answered with STATUS, not with what it asked for."""

    def __init__(self, status: int, message: str, code: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers = dict(headers or {})

    @property
    def body(self) -> bytes:
        """`{"error": {message, type, code}}`, the one shape that every client of OpenAI's API displays."""
        kind = TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return json.dumps({"error": {"message": self.message, "type": kind, "code": self.code}}).encode()

    @property
    def rpc(self) -> bytes:
        """The error of JSON-RPC that clients of MCP display; it answers no request in particular."""
        error = {"code": RagmacsError.code if self.status >= 500 else INVALID_REQUEST, "message": self.message}
        return json.dumps({"jsonrpc": "2.0", "id": None, "error": error}).encode()


def refusal(exc: Exception) -> Refusal:
    """What EXC means to a client; of our own bugs it names the kind only."""
    if isinstance(exc, Refusal):
        return exc
    if not isinstance(exc, RagmacsError):
        return Refusal(500, f"internal error: {type(exc).__name__}; the log of the server has more", "internal_error")
    if isinstance(exc, Cancelled):
        return Refusal(503, "the server is stopping: start it again with ragmacs serve --http", "stopping", RETRY)
    status = _status(exc)
    headers = RETRY if isinstance(exc, Busy) else _retry(exc)
    return Refusal(status, said(exc), _snake(type(exc).__name__), headers)


def said(exc: RagmacsError) -> str:
    """What EXC says, with what to do next."""
    return f"{exc.message} ({exc.hint})" if exc.hint else exc.message


def _status(exc: RagmacsError) -> int:
    if isinstance(exc, LLMRefused):
        return exc.status if exc.status in PASSED_ON else 502
    statuses: dict[type[RagmacsError], int] = {InvalidParams: 400, NotIndexed: 404, Busy: 503, LLMUnavailable: 502}
    return next((status for kind, status in statuses.items() if isinstance(exc, kind)), 500)


def _retry(exc: RagmacsError) -> dict[str, str]:
    after = exc.data.get("retry_after")
    return {} if after is None else {"Retry-After": f"{after:.0f}"}


def _snake(name: str) -> str:
    return "".join(
        f"_{char.lower()}" if n and char.isupper() and name[n - 1].islower() else char.lower()
        for n, char in enumerate(name)
    )
