"""What was found becomes a verdict: how sure one may be that it answers, and which words nothing speaks of.

The likeness of whole vectors cannot tell: questions that nothing answers lie as near as those that something
does. What tells is the word of the question that is matched worst, and names that stand nowhere in the index.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .generation import Generation
from .terms import content_spans, terms, whole

LOOKED_AT = 5  # of the best passages
NAME, WORD_LOST = 0.2, 0.1  # what an unknown name costs where tokens are compared, and an unknown word elsewhere
THIN, DOUBTFUL = 0.35, 0.4  # a coverage, a match: below, a question is refused unless something near was found
NEAR = 0.3  # the cosine of a passage that at least speaks of the same things

Spans = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`confidence` runs from 0 to 1; not `answerable` means: say so instead of answering.

    `uncovered` are the words of the question that stand nowhere in the index. One of them alone never makes
    a question unanswerable, as long as what was found speaks of the rest.
    """

    confidence: float
    answerable: bool
    uncovered: tuple[str, ...]


def by_coverage(generation: Generation, question: str, passages: Sequence[str]) -> Verdict:
    """Judge by the words of QUESTION that the best PASSAGES hold, each weighted by how rare it is."""
    weights = word_weights(generation, question)
    missing = uncovered(generation, weights)
    covered = coverage(weights, passages[:LOOKED_AT])
    rest = {word: weight for word, weight in weights.items() if word not in missing}
    near = len(missing) < 2 and coverage(rest, passages[:LOOKED_AT]) >= THIN
    return Verdict(_share(covered - WORD_LOST * len(missing)), near or covered >= THIN, missing)


def by_tokens(
    generation: Generation, question: str, matches: NDArray[np.float32], spans: Spans, nearest: float
) -> Verdict:
    """Judge by the word of QUESTION that its best passages match worst.

    MATCHES, shape (passages, tokens), says how well each passage matches each token of QUESTION at best,
    SPANS which characters of it the tokens stand for, NEAREST the cosine of the nearest passage.
    """
    best = matches[:LOOKED_AT].max(axis=0, initial=0.0)
    matched: list[float] = []
    names = 0
    words = content_spans(question)
    for word, (start, end) in words.items():
        tokens = [n for n, (first, last) in enumerate(spans) if first < end and last > start]
        if tokens:
            matched.append(float(best[tokens].mean()))
        # the model spells a name in pieces; a word that it knows is more likely put otherwise in the text
        names += len(tokens) > 1 and not any(map(generation.frequency, terms(word)))
    missing, confidence = uncovered(generation, words), _share(min(matched, default=0.0) - NAME * names)
    near = names < 2 and nearest >= NEAR
    return Verdict(confidence, len(missing) < len(words) and (near or confidence >= DOUBTFUL), missing)


def uncovered(generation: Generation, words: Iterable[str]) -> tuple[str, ...]:
    """The WORDS that stand nowhere as a whole: knowing `heap` is not knowing `HeapIdle`."""
    return tuple(word for word in words if not _known(generation, word))


def word_weights(generation: Generation, question: str) -> Mapping[str, float]:
    """The content words of QUESTION with how much each says: its inverse document frequency."""
    total = generation.manifest.chunks
    return {
        word: math.log(1 + total / (1 + max(map(generation.frequency, terms(word)), default=0)))
        for word in content_spans(question)
    }


def coverage(weights: Mapping[str, float], passages: Sequence[str]) -> float:
    """The weighted share of the words that stand in any of PASSAGES, 0 to 1."""
    found = {term for passage in passages for term in terms(passage)}
    covered = sum(weight for word, weight in weights.items() if found.intersection(terms(word)))
    total = sum(weights.values())
    return covered / total if total else 0.0


def _known(generation: Generation, word: str) -> bool:
    """Whether WORD, or every part of it that a slash divides, stands somewhere as a whole."""
    parts = [part for part in re.split("[/:]", word) if terms(part)]
    return generation.frequency(whole(word)) > 0 or (
        len(parts) > 1 and all(generation.frequency(whole(part)) for part in parts)
    )


def _share(confidence: float) -> float:
    return min(max(confidence, 0.0), 1.0)
