"""A piece of Go source becomes a module of its own: with a package clause and the imports of what it names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from .toolchain import HERE, Target, Toolchain
from .workshop import Place

NAME: Final = "snippet.go"
_CLAUSE: Final = re.compile(r"^\s*package\s+\w+", re.M)
_NAMED: Final = re.compile(r"(?<![\w.\"])([a-z]\w*)\.[A-Z]")
_STRINGS: Final = re.compile(r"//[^\n]*|/\*.*?\*/|`[^`]*`|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S)
_IMPORTED: Final = re.compile(r"^\s*(?:import\s+)?(?:[\w.]+\s+)?\"([\w./-]+)\"", re.M)
# Where two have one name, the one that is meant more often.
_PACKAGES: Final = """
archive/tar archive/zip bufio bytes cmp compress/gzip compress/zlib container/heap container/list container/ring
context crypto crypto/aes crypto/cipher crypto/ecdsa crypto/ed25519 crypto/hmac crypto/md5 crypto/rsa crypto/sha1
crypto/sha256 crypto/sha512 crypto/tls crypto/x509 database/sql embed encoding encoding/base64 encoding/binary
encoding/csv encoding/gob encoding/hex encoding/json encoding/pem encoding/xml errors expvar flag fmt go/ast
go/build go/format go/parser go/token go/types hash hash/crc32 hash/fnv hash/maphash html image image/color
image/draw image/png io io/fs iter log log/slog maps math math/big math/bits math/cmplx math/rand mime
mime/multipart net net/http net/http/httptest net/mail net/netip net/rpc net/smtp net/textproto net/url os os/exec
os/signal os/user path path/filepath plugin reflect regexp regexp/syntax runtime runtime/debug runtime/metrics
runtime/pprof runtime/trace slices sort strconv strings structs sync sync/atomic syscall testing testing/fstest
testing/iotest testing/quick text/tabwriter text/template time unicode unicode/utf16 unicode/utf8 unique unsafe weak
"""
STANDARD: Final = {path.rpartition("/")[2]: path for path in _PACKAGES.split()}  # path by the name that code uses


@contextmanager
def module(text: str, go: Toolchain, target: Target = HERE) -> Iterator[Place]:
    """The Place of a module whose only package, `.`, is TEXT; it is gone afterwards."""
    with TemporaryDirectory(prefix="ragmacs-go-") as folder:
        Path(folder, "go.mod").write_text(f"module snippet\n\ngo {go.release[0]}.{go.release[1]}\n")
        Path(folder, NAME).write_text(completed(text), "utf-8")
        yield Place(Path(folder), target)


def completed(text: str) -> str:
    """TEXT with a package clause, if it has none, and the imports of the standard library that are missing.

    Lines keep their numbers: what is added stands in the first, or in that of the clause.
    """
    code = _STRINGS.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
    named = {name for name in _NAMED.findall(code) if name in STANDARD} - _imported(text)
    added = "".join(f'; import "{STANDARD[name]}"' for name in sorted(named) if not _declared(name, code))
    clause = _CLAUSE.search(code)
    if clause is None:
        return f"package snippet{added}; {text}"
    return text[: clause.end()] + added + text[clause.end() :]


def _imported(text: str) -> set[str]:
    uncommented = re.sub(r"//[^\n]*|/\*.*?\*/", " ", text, flags=re.S)
    return {path.rpartition("/")[2] for path in _IMPORTED.findall(uncommented)}


def _declared(name: str, code: str) -> bool:
    """Whether CODE gives NAME a meaning of its own."""
    return bool(
        re.search(rf"\b{name}\b\s*(?::=|,|=[^=])|\b(?:var|func|const)\s+{name}\b|[(,]\s*{name}\s+[\w*\[]", code)
    )
