"""Every failure a user can meet, with its JSON-RPC code, its exit status and a hint.

RagmacsError                      -32603  70
  InvalidParams                   -32602   2   an argument is wrong
  Cancelled                       -32800 130   the user changed their mind
  Busy                            -32000  75   another process is writing
  SettingsError                   -32001  78   a configuration or collection file is wrong
  SearchError                              3
    NotIndexed                    -32010       nothing to search yet
    IndexMismatch                 -32011       made by another version, model or chunker
    IndexCorrupt                  -32012       a file is not what was written
    EmbedderMissing               -32014       no embedding model: search goes on without vectors
    EmbedderSlow                  -32015       no vector in time: this search goes on without
  StorageError                    -32013  74   the disk is full, read-only, or failing
  IngestError                              4
    FetchError                    -32020       the address did not give a page
    RobotsDenied                  -32021       the site asks robots to stay away
    NoContent                     -32022       a page came, but there is no text in it
    AddressRefused                -32023       our own rules forbid to connect
  ToolchainError                           5
    ToolchainMissing              -32030       no usable Go
    ToolchainFailed               -32031       Go said no
    TypeNotFound                  -32032       no such type in that package
  ModelError                               6
    LLMUnavailable                -32040       no answer, or only a part of one
    LLMRefused                    -32041       the LLM server said no

Every message says what happened and to what; `hint` is what to do next, a command where one helps.
Foreign exceptions are mapped in the one module that imports their library.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class RagmacsError(Exception):
    """The root. `data` must be JSON: it travels in a JSON-RPC error as it is."""

    code: ClassVar[int] = -32603
    exit_code: ClassVar[int] = 70

    def __init__(self, message: str, *, hint: str = "", data: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self.data = dict(data or {})

    @property
    def message(self) -> str:
        return str(self.args[0])


class InvalidParams(RagmacsError):
    """An argument is missing, of the wrong type, or out of range."""

    code = -32602
    exit_code = 2


class Cancelled(RagmacsError):
    """The work was stopped on request; what was committed stays."""

    code = -32800
    exit_code = 130

    def __init__(self, message: str = "cancelled", *, hint: str = "what was finished is kept", **kwargs: Any) -> None:
        super().__init__(message, hint=hint, **kwargs)


class Busy(RagmacsError):
    """Another process holds the store for writing."""

    code = -32000
    exit_code = 75


class SettingsError(RagmacsError):
    """A configuration or collection file, variable or flag is wrong."""

    code = -32001
    exit_code = 78


class SearchError(RagmacsError):
    """The index cannot answer."""

    exit_code = 3


class NotIndexed(SearchError):
    """The store, or the collection asked for, holds no pages."""

    code = -32010


class IndexMismatch(SearchError):
    """The index was made by another version, model or chunker."""

    code = -32011


class IndexCorrupt(SearchError):
    """A file or a row of the index is not what was written."""

    code = -32012


class EmbedderMissing(SearchError):
    """The embedding model is not on this machine, is not what it claims to be, or its server gives no vectors."""

    code = -32014


class EmbedderSlow(SearchError):
    """The embedding model did not answer in time; who asked a question does without."""

    code = -32015


class StorageError(RagmacsError):
    """The disk would not take or give what was asked; what was committed before is intact."""

    code = -32013
    exit_code = 74


class IngestError(RagmacsError):
    """A page could not be had."""

    exit_code = 4


class FetchError(IngestError):
    """The address did not give a page: DNS, connection, TLS, status, size, time, or type.

    `status` is the HTTP status or 0; `retry_after` is in seconds, or 0.
    """

    code = -32020

    def __init__(self, message: str, *, status: int = 0, retry_after: float = 0.0, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.status = status
        self.retry_after = retry_after


class RobotsDenied(IngestError):
    """The site's robots.txt forbids the address, or could not be read (RFC 9309: then all is forbidden)."""

    code = -32021


class NoContent(IngestError):
    """The page holds no text to index."""

    code = -32022


class AddressRefused(IngestError):
    """The address is private, malformed, or of a scheme or port we never connect to."""

    code = -32023


class ToolchainError(RagmacsError):
    """Go could not help."""

    exit_code = 5


class ToolchainMissing(ToolchainError):
    """No usable Go toolchain on this machine."""

    code = -32030


class ToolchainFailed(ToolchainError):
    """Go ran and failed."""

    code = -32031


class TypeNotFound(ToolchainError):
    """The package has no such type."""

    code = -32032


class ModelError(RagmacsError):
    """The LLM could not help."""

    exit_code = 6


class LLMUnavailable(ModelError):
    """No connection, no answer in time, or a stream that broke; `partial` is the text that did arrive."""

    code = -32040

    def __init__(self, message: str, *, partial: str = "", **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.partial = partial


class LLMRefused(ModelError):
    """The LLM server answered with an error; `status` is the HTTP status, 200 for one inside a stream."""

    code = -32041

    def __init__(self, message: str, *, status: int = 0, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.status = status
