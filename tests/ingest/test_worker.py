"""Extraction in a process that can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator

import pytest

from ragmacs_srv.errors import Cancelled, NoContent, RagmacsError
from ragmacs_srv.events import Cancel
from ragmacs_srv.ingest import worker
from ragmacs_srv.ingest.extract import extract
from ragmacs_srv.ingest.worker import Extractor
from ragmacs_srv.model import Response

URL = "https://docs.test/page"
PAGE = b"""<title>The Guide</title><main><h1>The Guide</h1><p>The collector runs when the heap has grown by as much as
the live heap was after the last cycle, and no later.</p><h2 id=x>More</h2><pre>x := 1</pre><a href=/y>y</a></main>"""
# libxml2 compares every attribute of an element with all before it.
ENDLESS = b"<p " + b" ".join(b"a%d=1" % n for n in range(300_000)) + b">x</p>"


def response(body: bytes, *, media_type: str = "text/html", charset: str = "utf-8") -> Response:
    return Response(URL, URL, 200, body, media_type, charset, "", "", "2026-01-01T00:00:00Z")


@pytest.fixture(scope="module")
def extractor() -> Iterator[Extractor]:
    with Extractor(limit=30) as shared:
        yield shared


def pid(extractor: Extractor) -> int:
    assert extractor._worker is not None
    return extractor._worker._process.pid


def test_page_comes_back_as_it_was_extracted(extractor):
    assert extractor.extract(response(PAGE)) == extract(PAGE, URL)


def test_worker_stays_for_the_next_page(extractor):
    extractor.extract(response(PAGE))
    first = pid(extractor)
    extractor.extract(response(PAGE))

    assert pid(extractor) == first


def test_page_without_content_is_told_as_such_and_costs_no_worker(extractor):
    extractor.extract(response(PAGE))
    first = pid(extractor)

    with pytest.raises(NoContent, match="fewer than 20 words") as caught:
        extractor.extract(response(b"<p>Loading</p>"))

    assert "ragmacs crawl saved:///FOLDER" in caught.value.hint  # what scripts fill can be saved in the browser
    assert pid(extractor) == first


def test_media_type_and_charset_reach_the_worker(extractor):
    text = "Grüße an alle, die dies hier lesen. " * 5

    page = extractor.extract(response(text.encode("cp1252"), media_type="text/plain", charset="iso-8859-1"))

    assert page.sections[0].text == text.strip()


@pytest.mark.slow
def test_page_that_takes_too_long_is_left_out_and_the_next_is_read():
    with Extractor(limit=1) as extractor:
        begun = time.monotonic()
        with pytest.raises(NoContent, match=f"reading {URL} took more than 1 s"):
            extractor.extract(response(ENDLESS))

        assert time.monotonic() - begun < 30
        extractor.limit = 30
        assert extractor.extract(response(PAGE)).title == "The Guide"


def test_worker_that_dies_is_replaced(extractor):
    extractor.extract(response(PAGE))
    first = pid(extractor)
    os.kill(first, signal.SIGKILL)

    with pytest.raises(NoContent, match=f"reading {URL} failed: .*status -9"):
        extractor.extract(response(PAGE))

    assert extractor.extract(response(PAGE)).title == "The Guide"
    assert pid(extractor) != first


def test_worker_gives_way_after_its_share_of_pages(monkeypatch):
    monkeypatch.setattr(worker, "PAGES", 1)
    with Extractor(limit=30) as extractor:
        extractor.extract(response(PAGE))

        assert extractor._worker is None


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS does not limit address space")
def test_memory_of_the_worker_is_limited():
    script = (
        "from ragmacs_srv.ingest import worker; worker._limit(worker.resource.RLIMIT_AS, 2 << 30); bytearray(3 << 30)"
    )

    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert "MemoryError" in run.stderr


def test_reader_that_cannot_start_is_no_fault_of_the_page(monkeypatch):
    monkeypatch.setattr(worker, "_ENVIRONMENT", ())
    monkeypatch.setattr(worker, "__name__", "ragmacs_srv.no_such_module")

    with Extractor() as extractor, pytest.raises(RagmacsError, match="no_such_module") as caught:
        extractor.extract(response(PAGE))

    assert not isinstance(caught.value, NoContent)


def test_cancelling_ends_the_wait():
    cancel = Cancel()
    with Extractor(limit=60) as extractor:
        extractor.extract(response(PAGE))
        timer = threading.Timer(0.3, cancel.cancel)
        timer.start()
        begun = time.monotonic()

        with pytest.raises(Cancelled):
            extractor.extract(response(ENDLESS), cancel=cancel)

        assert time.monotonic() - begun < 30
        timer.join()


def test_nothing_is_started_for_who_has_already_cancelled():
    cancel = Cancel()
    cancel.cancel()
    with Extractor() as extractor:
        with pytest.raises(Cancelled):
            extractor.extract(response(PAGE), cancel=cancel)

        assert extractor._worker is None


def test_threads_share_one_worker(extractor):
    titles: list[str] = []
    threads = [
        threading.Thread(target=lambda: titles.append(extractor.extract(response(PAGE)).title)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert titles == ["The Guide"] * 4


def test_closing_leaves_no_process_and_may_be_repeated():
    extractor = Extractor(limit=30)
    extractor.extract(response(PAGE))
    child = pid(extractor)

    extractor.close()
    extractor.close()

    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_parent_imports_neither_lxml_nor_trafilatura():
    script = f"""
import sys
from ragmacs_srv.ingest.worker import Extractor
from ragmacs_srv.model import Response
with Extractor(limit=30) as extractor:
    extractor.extract(Response({URL!r}, {URL!r}, 200, {PAGE!r}, "text/html", "", "", "", ""))
print(sorted({{"lxml", "trafilatura", "markdown_it"}} & set(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert run.stdout == "[]\n"


def test_worker_ends_with_its_parent_and_ignores_the_terminal():
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", worker.__name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdin and child.stdout
    worker._read(child.stdout)  # it is ready
    child.send_signal(signal.SIGINT)

    _, errors = child.communicate(timeout=30)  # closes its stdin

    assert (child.returncode, errors) == (0, b"")


def test_stray_print_does_not_reach_the_wire():
    script = "from ragmacs_srv.ingest import worker as w; pipe = w._take_stdout(); print('stray'); pipe.write(b'wire')"

    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)

    assert (run.stdout, run.stderr) == (b"wire", b"stray\n")


def pdf(content: bytes, *, packed: bool = False, resources: str = "") -> bytes:
    """A PDF of one page that shows CONTENT, as a stream that is PACKED or not."""
    body = zlib.compress(content, 1) if packed else content
    filters = "/Filter /FlateDecode " if packed else ""
    parts = [
        b"<</Type /Catalog /Pages 2 0 R>>",
        b"<</Type /Pages /Count 1 /Kids [3 0 R]>>",
        f"<</Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R /Resources <<{resources}>> >>".encode(),
        f"<<{filters}/Type /XObject /Subtype /Form /Resources <<{resources}>> /BBox [0 0 9 9] ".encode()
        + f"/Length {len(body)}>>\nstream\n".encode() + body + b"\nendstream",
    ]  # fmt: skip
    made, starts = b"%PDF-1.4\n", []
    for n, part in enumerate(parts, 1):
        starts.append(len(made))
        made += b"%d 0 obj\n" % n + part + b"\nendobj\n"
    table = b"".join(b"%010d 00000 n \n" % start for start in starts)
    end = b"trailer <</Root 1 0 R /Size 5>>\nstartxref\n%d\n%%%%EOF" % len(made)
    return made + b"xref\n0 5\n0000000000 65535 f \n" + table + end


@pytest.mark.slow
@pytest.mark.parametrize(
    "made",
    [
        lambda: pdf(b"[" * 100_000 + b"]" * 100_000 + b" TJ"),
        lambda: pdf(b"<<" * 50_000 + b"/A 1" + b">>" * 50_000),
        lambda: pdf(b" " * 300_000_000, packed=True),
        lambda: pdf(b"/Fm0 Do " * 50, resources="/XObject <</Fm0 4 0 R>>"),
        lambda: pdf(b"BT (x) Tj ET ", resources="/Font " + "<</F " * 20_000 + ">>" * 20_000),
        lambda: (
            b"%PDF-1.4\n1 0 obj<</Type/Pages/Kids[1 0 R]/Parent 1 0 R/Count 9999999>>endobj\n"
            b"trailer<</Root<</Pages 1 0 R>>>>\nstartxref\n0\n%%EOF"
        ),
    ],
    ids=["deep arrays", "deep dictionaries", "a bomb", "a form in itself", "deep resources", "pages in themselves"],
)
def test_a_hostile_pdf_is_told_as_such_and_the_next_page_is_read(extractor, made):
    with pytest.raises(NoContent) as caught:
        extractor.extract(response(made(), media_type="application/pdf"))
    assert caught.value.hint

    assert extractor.extract(response(PAGE)).title == "The Guide"
