"""PDFs, written by hand: pages of lines set in a font and a size, with bookmarks or a password if need be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO

import pypdf

Set = tuple[str, str, float]  # (text, font, size); the fonts are F1 Helvetica and F2 Courier


def pdf(*pages: Sequence[str | Set], title: str = "", bookmarks: Mapping[str, int] | None = None) -> bytes:
    """A PDF of PAGES, each a list of lines; a string is a line of prose. BOOKMARKS lead to pages from 1."""
    objects = [b"", b"", *(_font(name) for name in ("Helvetica", "Courier"))]
    kids = []
    for page in pages:
        stream = _stream(page)
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
        fonts = b"<< /Font << /F1 3 0 R /F2 4 0 R >> >>"
        box = b"[0 0 595 842]"
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox %s /Resources %s /Contents %d 0 R >>" % (box, fonts, len(objects))
        )
        kids.append(b"%d 0 R" % len(objects))
    objects[0] = b"<< /Type /Catalog /Pages 2 0 R >>"
    objects[1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(kids), len(kids))
    made = _file(objects)
    return _with(made, title, bookmarks or {}) if title or bookmarks else made


def encrypted(body: bytes, password: str) -> bytes:
    """BODY such that only PASSWORD opens it."""
    writer = pypdf.PdfWriter(clone_from=BytesIO(body))
    writer.encrypt(password, algorithm="RC4-128")
    return _written(writer)


def _with(body: bytes, title: str, bookmarks: Mapping[str, int]) -> bytes:
    writer = pypdf.PdfWriter(clone_from=BytesIO(body))
    if title:
        writer.add_metadata({"/Title": title})
    for name, page in bookmarks.items():
        writer.add_outline_item(title=name, page_number=page - 1)
    return _written(writer)


def _written(writer: pypdf.PdfWriter) -> bytes:
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def _font(name: str) -> bytes:
    return b"<< /Type /Font /Subtype /Type1 /BaseFont /%s /Encoding /WinAnsiEncoding >>" % name.encode()


def _stream(page: Sequence[str | Set]) -> bytes:
    parts, y = [], 800.0
    for each in page:
        text, font, size = (each, "F1", 10.0) if isinstance(each, str) else each
        shown = text.encode("cp1252").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
        parts.append(b"BT /%s %g Tf 50 %g Td (%s) Tj ET" % (font.encode(), size, y, shown))
        y -= size + 4
    return b"\n".join(parts)


def _file(objects: Sequence[bytes]) -> bytes:
    out, places = bytearray(b"%PDF-1.7\n"), []
    for n, each in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (n, each)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)
