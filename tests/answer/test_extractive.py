from __future__ import annotations

from ragmacs_srv.answer.extractive import best_units, cost
from ragmacs_srv.answer.units import units
from ragmacs_srv.ingest.sections import Piece, build
from ragmacs_srv.model import Chunk, Hit


def hit(n: int, *pieces: Piece) -> Hit:
    section = build(f"https://x.test/{n}", "a", ("P", f"A{n}"), list(pieces))
    chunk = Chunk(str(n), section.url, "a", section.heading, section.text, 0, len(section.text))
    return Hit(section, ((chunk, 1.0 / n),), 0, len(section.text), "P", "docs", "", "")


def test_what_two_sections_say_is_quoted_once() -> None:
    same = Piece("paragraph", "The heap doubles at the default setting.")
    other = Piece("paragraph", "The heap shrinks after a spike is over.")
    chosen = best_units("heap", [hit(1, same), hit(2, same, other)], None, {"heap": 1.0}, budget=1000)
    assert [[unit.text for unit in each] for each in chosen] == [[same.text], [other.text]]


def test_the_price_of_code_includes_a_fence_that_it_cannot_close() -> None:
    (plain,) = units(hit(1, Piece("code", "```\nx := 1\n```")).section)
    (fence,) = units(hit(1, Piece("code", "````\nx ```\n````")).section)
    assert cost(fence) - cost(plain) == len("x ```") - len("x := 1") + 2
