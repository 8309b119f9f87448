import codecs

import pytest

from ragmacs_srv.ingest.sniff import charset, describe, media_type

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
HTML = b"<!doctype html><title>t</title>"


@pytest.mark.parametrize(
    ("body", "declared", "kind"),
    [
        (HTML, "text/html", "text/html"),
        (HTML, "Text/HTML; charset=utf-8", "text/html"),
        (HTML, "application/xhtml+xml", "text/html"),
        (b"<?xml version='1.0'?>\n<!-- x --><html xmlns='x'>", "application/xml", "text/html"),
        (HTML, "", "text/html"),
        (HTML, "application/octet-stream", "text/html"),
        (codecs.BOM_UTF8 + b"\n <HTML lang=en>", "", "text/html"),
        (HTML, "text/plain", "text/plain"),
        (b"words", "", "text/plain"),
        (b"words", "text/html", "text/html"),
        (b"# words", "text/markdown; charset=utf-8", "text/markdown"),
        (b"# words", "text/x-markdown", "text/markdown"),
        (codecs.BOM_UTF16_LE + HTML.decode().encode("utf-16-le"), "text/html", "text/html"),
        (codecs.BOM_UTF16_BE + "words".encode("utf-16-be"), "text/plain", "text/plain"),
        ("words".encode("utf-16-le"), "text/plain; charset=UTF-16LE", "text/plain"),
        (HTML + b"a\x00b", "text/html", "text/html"),
        (b"a\x00b", "text/html", "application/octet-stream"),
        (b"a\x00b", "text/plain", "application/octet-stream"),
        (b"%PDF-1.7\n", "text/html", "application/pdf"),
        (b"\n%PDF-1.7\n", "text/html", "application/pdf"),
        (b"How a %PDF-1.7 file begins", "text/plain", "text/plain"),
        (PNG, "text/html", "image/png"),
        (b"GIF89a\x01\x00", "text/html", "image/gif"),
        (b"\xff\xd8\xff\xe0", "text/html", "image/jpeg"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "text/html", "image/webp"),
        (b"PK\x03\x04\x14\x00", "text/html", "application/zip"),
        (b"\x1f\x8b\x08\x00", "text/html", "application/gzip"),
        (b"BZh91AY&SY", "text/plain", "application/x-bzip2"),
        (b"BZh is how bzip2 files begin", "text/plain", "text/plain"),
        (b"\x00\x00\x00\x20ftypisom", "text/html", "video/mp4"),
        (b"the ftyp box", "text/plain", "text/plain"),
        (b"\x7fELF\x02", "text/plain", "application/x-executable"),
        (b"a" * 257 + b"ustar\x00", "text/plain", "application/x-tar"),
        (b'{"a": 1}', "application/json", "application/json"),
        (b'{"a": 1}', "application/ld+json", "application/json"),
        (b"<a/>", "text/xml", "application/xml"),
        (b"<?xml version='1.0'?><rss version='2.0'>", "text/html", "application/rss+xml"),
        (b"<feed xmlns='x'>", "application/atom+xml", "application/rss+xml"),
        (b"a {}", "text/css", "text/css"),
        (b"junk", "image/png", "image/png"),
    ],
)
def test_a_body_is_what_its_bytes_say(body, declared, kind):
    assert media_type(body, declared) == kind


@pytest.mark.parametrize(
    ("declared", "path", "kind"),
    [
        ("text/plain", "/README.md", "text/markdown"),
        ("application/octet-stream", "/README.MD", "text/markdown"),
        ("", "/a.markdown", "text/markdown"),
        ("text/html", "/README.md", "text/html"),
        ("text/plain", "/README", "text/plain"),
    ],
)
def test_markdown_served_as_text_is_known_by_its_name(declared, path, kind):
    assert media_type(b"# words", declared, path) == kind


def test_a_long_comment_before_the_document_is_looked_past():
    assert media_type(b"<!-- " + b"x" * 5000 + b" -->" + HTML, "") == "text/html"


def test_many_unclosed_comments_cost_no_time():
    assert media_type(b"<!--" * 100_000, "") == "text/plain"


@pytest.mark.parametrize(
    ("header", "label"),
    [
        ("text/html; charset=UTF-8", "utf-8"),
        ('text/html;charset="ISO-8859-1"', "iso-8859-1"),
        ("text/html; charset='utf-8'; x=y", "utf-8"),
        ("text/html; Charset = windows-1252", "windows-1252"),
        ("text/html", ""),
        ("", ""),
        ("text/html; charset=", ""),
        ("text/html; charset=no-such-thing", ""),
        ("text/html; charset=zlib_codec", ""),
        ("text/html; charset=base64", ""),
        ("text/html; charset=rot13", ""),
        ("text/html; charset=unicode_escape", ""),
        ("text/html; charset=idna", ""),
        ("text/html; charset=undefined", ""),
        ("text/html; charset=../../x", ""),
        ("text/html; notcharset=utf-8", ""),
        ("text/html; charset=\xff", ""),
    ],
)
def test_only_a_label_of_a_text_encoding_is_passed_on(header, label):
    assert charset(header) == label


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("application/pdf", "a PDF"),
        ("image/png", "an image (png)"),
        ("video/mp4", "a video (mp4)"),
        ("text/css", "text/css"),
    ],
)
def test_a_type_is_named_in_words(kind, words):
    assert describe(kind) == words


@pytest.mark.parametrize(
    ("declared", "path", "kind"),
    [
        ("text/x-rst", "/guide", "text/x-rst"),
        ("text/plain; charset=utf-8", "/README.rst", "text/x-rst"),
        ("text/asciidoc", "/guide", "text/asciidoc"),
        ("", "/Guide.ADOC", "text/asciidoc"),
        ("application/octet-stream", "/guide.asc", "text/asciidoc"),
        ("text/plain", "/guide.rst.txt", "text/plain"),
    ],
)
def test_markup_is_known_by_its_type_or_the_end_of_its_path(declared, path, kind):
    assert media_type(b"Title\n=====", declared, path) == kind


def test_a_signature_is_no_asciidoc():
    assert media_type(b"-----BEGIN PGP SIGNATURE-----\n", "", "/release.asc") == "application/pgp-keys"
