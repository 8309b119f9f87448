"""What a summary costs in CPU time, split: fetching the pages, reading them, summarizing them without an LLM.

Prints milliseconds a page over saved pages, and the share of the summaries in the cost of extraction. Loopback only.

    python tests/bench/summaries.py [--pages N] [--shared DIR]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ragmacs_srv.answer.summarize import extracted  # noqa: E402
from ragmacs_srv.ingest.extract import extract  # noqa: E402
from ragmacs_srv.ingest.fetch import Fetcher  # noqa: E402
from tests.bench.test_retrieval_gate import saved_site  # noqa: E402

SITE = "https://go.dev"
LENGTH = 300  # words
Made = TypeVar("Made")


def timed(make: Callable[[], Made]) -> tuple[Made, float]:
    """What MAKE gives, and the CPU seconds it took."""
    begun = time.process_time()
    made = make()
    return made, time.process_time() - begun


def measure(shared: Path, pages: int) -> dict[str, float]:
    """CPU seconds of each step over the first PAGES saved pages."""
    listed = (shared / "bench" / "pages.txt").read_text().split()[:pages]
    urls = [SITE + each.removeprefix("http://127.0.0.1:8737") for each in listed]
    with saved_site(shared) as origin, Fetcher(mirrors={SITE: origin}, allow=[origin], delay=0) as fetcher:
        responses, fetching = timed(lambda: [fetcher.get(url) for url in urls])
    extract(responses[0].body, responses[0].url, media_type=responses[0].media_type)  # loads what it needs, once

    def read() -> list:  # type: ignore[type-arg]
        return [extract(each.body, each.url, media_type=each.media_type, charset=each.charset) for each in responses]

    read_pages, reading = timed(read)
    _, summarizing = timed(lambda: [list(extracted(page, LENGTH)) for page in read_pages])
    return {"fetch": fetching, "extract": reading, "summarize": summarizing}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=129)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    given = parser.parse_args()
    took = measure(given.shared, given.pages)
    for step, seconds in took.items():
        print(f"{step:10}{1000 * seconds / given.pages:8.1f} ms a page")
    print(f"summaries cost {took['summarize'] / took['extract']:.2f} times their extraction")


if __name__ == "__main__":
    main()
