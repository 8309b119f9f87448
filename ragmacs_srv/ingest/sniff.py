"""Tell what a body is from its bytes, because servers call PDFs, images and archives text/html."""

from __future__ import annotations

import codecs
import re

BINARY = "application/octet-stream"
NAMES = {
    "application/pdf": "a PDF",
    "application/zip": "a ZIP archive",
    "application/gzip": "a gzip archive",
    "application/json": "JSON",
    "application/xml": "XML",
    "application/rss+xml": "a news feed",
    "application/x-executable": "a program",
    "application/pgp-keys": "an OpenPGP key or signature",
    BINARY: "binary data",
    "": "of no declared type",
}

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"\x00\x00\x01\x00", "image/x-icon"),
    (b"PK\x03\x04", "application/zip"),
    (b"PK\x05\x06", "application/zip"),
    (b"\x1f\x8b\x08", "application/gzip"),
    (b"\xfd7zXZ\x00", "application/x-xz"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"Rar!\x1a\x07", "application/vnd.rar"),
    (b"\x28\xb5\x2f\xfd", "application/zstd"),
    (b"\x7fELF", "application/x-executable"),
    (b"\xcf\xfa\xed\xfe", "application/x-executable"),
    (b"\x00asm", "application/wasm"),
    (b"SQLite format 3\x00", "application/vnd.sqlite3"),
    (b"OggS\x00", "audio/ogg"),
    (b"ID3\x03", "audio/mpeg"),
    (b"ID3\x04", "audio/mpeg"),
    (b"\x1aE\xdf\xa3", "video/webm"),
    *((b"-----BEGIN PGP " + what, "application/pgp-keys") for what in (b"SIGNATURE", b"PUBLIC KEY", b"MESSAGE")),
)
_WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # UTF-32 LE begins like UTF-16 LE
_HEAD = 1445  # bytes a browser looks at: WHATWG MIME Sniffing, 5.2
_LEADING = re.compile(rb"(?:\xef\xbb\xbf|\s|<!--.*?-->|<\?xml[^>]*\?>)*", re.DOTALL)
_HTML = re.compile(rb"<(?:!doctype\s+html|html|head|body|title|h1|div|p|meta|article|main|script|style)[\s>]", re.I)
_FEED = re.compile(rb"<(?:rss|feed|rdf:RDF)[\s>]")
_HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
_MARKDOWN_TYPES = frozenset({"text/markdown", "text/x-markdown", "text/x-web-markdown"})
_ORG_TYPES = frozenset({"text/org", "text/x-org"})
_RST_TYPES = frozenset({"text/x-rst", "text/rst", "text/prs.fallenstein.rst"})
_ASCIIDOC_TYPES = frozenset({"text/asciidoc", "text/x-asciidoc"})
TEXTS = {  # by the end of a path
    ".md": "text/markdown", ".markdown": "text/markdown", ".org": "text/org", ".rst": "text/x-rst",
    ".adoc": "text/asciidoc", ".asciidoc": "text/asciidoc", ".asc": "text/asciidoc",
}  # fmt: skip
_XML_TYPES = frozenset({"application/xml", "text/xml"})
_FEED_TYPES = frozenset({"application/rss+xml", "application/atom+xml", "application/rdf+xml"})
_NOT_FOR_PAGES = frozenset({"idna", "punycode", "unicode-escape", "raw-unicode-escape", "utf-7"})  # Python's own


def media_type(body: bytes, content_type: str, path: str = "") -> str:
    """What BODY is, given what its server and its PATH call it; lower case, without parameters."""
    declared = content_type.partition(";")[0].strip().lower()
    return _binary(body, declared, content_type) or _textual(body, declared, path.lower())


def charset(content_type: str) -> str:
    """The label the header gives, lower case; "" when there is none, or no text encoding of that name."""
    match = re.search(r"""(?:^|[;\s])charset\s*=\s*["']?([\w.:-]+)""", content_type, re.IGNORECASE | re.ASCII)
    if match is None:
        return ""
    label = match[1].lower()
    try:
        "".encode(label)  # LookupError also for zlib_codec and its like: bytes to bytes, a bomb in a label
        return "" if codecs.lookup(label).name in _NOT_FOR_PAGES else label
    except (LookupError, UnicodeError):
        return ""


def describe(kind: str) -> str:
    """KIND in words that fit after "is"."""
    family, _, name = kind.partition("/")
    if family in ("image", "audio", "video", "font"):
        return f"{'an' if family in ('image', 'audio') else 'a'} {family} ({name})"
    return NAMES.get(kind, kind)


def _binary(body: bytes, declared: str, content_type: str) -> str:
    """The binary type of BODY, or "" if it is text."""
    for magic, kind in _MAGIC:
        if body.startswith(magic):
            return kind
    if body[:64].lstrip().startswith(b"%PDF-"):
        return "application/pdf"
    if body[:3] == b"BZh" and body[4:10] == b"1AY&SY":
        return "application/x-bzip2"
    if body[:4] == b"RIFF" and body[8:12] == b"WEBP":
        return "image/webp"
    if body[:2] == b"\x00\x00" and body[4:8] == b"ftyp":
        return "video/mp4"
    if body[257:263] == b"ustar\x00":
        return "application/x-tar"
    return BINARY if _has_nul(body, declared, content_type) else ""


def _has_nul(body: bytes, declared: str, content_type: str) -> bool:
    wide = body.startswith(_WIDE_MARKS) or charset(content_type).startswith(("utf-16", "utf-32", "utf16", "utf32"))
    page = declared in _HTML_TYPES and _looks_like_html(body)  # a stray NUL in a page is only a blemish
    return b"\x00" in body[:_HEAD] and not wide and not page


def _textual(body: bytes, declared: str, path: str) -> str:
    if declared in _HTML_TYPES | _XML_TYPES | _FEED_TYPES:
        return _markup(body, declared)
    if declared in _MARKDOWN_TYPES:
        return "text/markdown"
    if declared in _ORG_TYPES:
        return "text/org"
    if declared in _RST_TYPES:
        return "text/x-rst"
    if declared in _ASCIIDOC_TYPES:
        return "text/asciidoc"
    if declared in ("", BINARY) and _looks_like_html(body):
        return "text/html"
    if declared in ("", BINARY, "text/plain"):
        return next((kind for end, kind in TEXTS.items() if path.endswith(end)), "text/plain")
    return "application/json" if declared.endswith(("/json", "+json")) else declared


def _markup(body: bytes, declared: str) -> str:
    """HTML, XHTML served as XML, a feed served as HTML: what the first element says."""
    start = _start(body)
    if _FEED.match(body, start):
        return "application/rss+xml"
    if declared in _HTML_TYPES or _HTML.match(body, start):
        return "text/html"
    return "application/rss+xml" if declared in _FEED_TYPES else "application/xml"


def _looks_like_html(body: bytes) -> bool:
    return _HTML.match(body, _start(body)) is not None


def _start(body: bytes) -> int:
    match = _LEADING.match(body, 0, 65536)
    return match.end() if match else 0
