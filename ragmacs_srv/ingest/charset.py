"""Decode a document's bytes as a browser would."""

from __future__ import annotations

import codecs
import re
from typing import Final

# Labels whose meaning on the web differs from Python's (WHATWG Encoding, 4.2), and all the codecs we accept:
# Python's list also holds things like "unicode_escape" that no page should choose.
_ALIASES: Final = {
    "ascii": "cp1252", "iso8859-1": "cp1252", "iso8859-9": "cp1254", "iso8859-11": "cp874", "tis-620": "cp874",
    "gb2312": "gb18030", "gbk": "gb18030", "hz": "gb18030", "big5": "big5hkscs",
    "shift_jis": "cp932", "euc_kr": "cp949",
}  # fmt: skip
_CODECS: Final = re.compile(
    r"utf-8|utf-16(-[lb]e)?|cp125\d|cp8(66|74)|cp9(32|49)|iso8859-\d+|koi8-[rut]|mac-roman|mac-cyrillic|gb18030|big5hkscs|"
    r"euc_jp|iso2022_jp"
)
_META_CHARSET: Final = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w:.-]+)""", re.I)
_BOMS: Final = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def decode(body: bytes, charset: str = "", *, declared: bool = False) -> str:
    """BODY as text, decided as browsers do: byte order mark, header, `<meta>` if DECLARED, else a guess."""
    for mark, codec in _BOMS:
        if body.startswith(mark):
            return body.removeprefix(mark).decode(codec, "replace")
    named = _META_CHARSET.search(body[:4096]) if declared else None
    meta = _codec(named[1].decode("ascii")) if named else ""
    if meta.startswith("utf-16"):  # it was read as ASCII, so it is not (HTML, 13.2.3.2)
        meta = "utf-8"
    return body.decode(_codec(charset) or meta or _guess(body), "replace")


def _codec(label: str) -> str:
    """Python's name of the encoding that the web means by LABEL, or ""."""
    try:
        name = codecs.lookup(label.strip().lower()).name
    except (LookupError, ValueError):
        return ""
    name = _ALIASES.get(name, name)
    return name if _CODECS.fullmatch(name) else ""


def _guess(body: bytes) -> str:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"
