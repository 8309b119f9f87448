"""The loops: crawl a source into the store, embed what has no vector yet, publish what readers see."""

from .crawling import crawl, plan, retry, shelve
from .indexing import Growth, drop_repeats, embed, missing, origins, publish, rechunk
from .reader import Reader, Report, TokenCounter, nothing_read

__all__ = [
    "Growth",
    "Reader",
    "Report",
    "TokenCounter",
    "crawl",
    "drop_repeats",
    "embed",
    "missing",
    "nothing_read",
    "origins",
    "plan",
    "publish",
    "rechunk",
    "retry",
    "shelve",
]
