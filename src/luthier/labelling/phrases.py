"""Spans suggested from the phrases that people marked before: the same words, marked again where they usually were."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from luthier.labelling.values import Value

LEAST = 0.5
"""Share of its occurrences in labelled messages in which a phrase must have been marked."""

_WORD = re.compile(r"\w+|[^\w\s]")
LONGEST = 12
"""Words of a phrase."""


class Suggested(NamedTuple):
    """Spans, and how sure all of them together are: the least sure one's share."""

    spans: list[dict[str, Any]]
    confidence: float


class Phrases:
    """What was marked in these messages, by its words in small letters."""

    def __init__(self, texts: Sequence[str], values: Sequence[Value]) -> None:
        self._marked: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        words = [_words(text) for text in texts]
        for found, spans in zip(words, values, strict=True):
            for span in spans:
                inside = tuple(word for word, start, end in found if start >= span["start"] and end <= span["end"])
                if 0 < len(inside) <= LONGEST:
                    self._marked[inside][span["label"]] += 1
        self._longest = max(map(len, self._marked), default=0)
        self._seen: Counter[tuple[str, ...]] = Counter()
        for found in words:
            self._seen.update(phrase for phrase, _, _ in self._occurrences(found))

    def suggest(self, text: str) -> Suggested:
        """The longest known phrases from left to right; confidence 0 when nothing was ever marked, 0.5 when nothing is found here."""
        spans: list[dict[str, Any]] = []
        least, end = 1.0, -1
        for phrase, first, last in sorted(self._occurrences(_words(text)), key=lambda one: (one[1], -len(one[0]))):
            label, times = self._marked[phrase].most_common(1)[0]
            share = times / max(self._seen[phrase], times)
            if first >= end and share >= LEAST:
                spans.append({"start": first, "end": last, "label": label})
                least, end = min(least, share), last
        return Suggested(spans, (least if spans else 0.5) if self._marked else 0.0)

    def _occurrences(self, words: Sequence[tuple[str, int, int]]) -> list[tuple[tuple[str, ...], int, int]]:
        found = []
        for at in range(len(words)):
            for length in range(1, min(self._longest, len(words) - at) + 1):
                phrase = tuple(word for word, _, _ in words[at : at + length])
                if phrase in self._marked:
                    found.append((phrase, words[at][1], words[at + length - 1][2]))
        return found


def _words(text: str) -> list[tuple[str, int, int]]:
    return [(match.group().casefold(), match.start(), match.end()) for match in _WORD.finditer(text)]


def said(text: str, spans: Sequence[Mapping[str, Any]]) -> str:
    """Spans as people read them: ``order 12 [ORDER_NUMBER], Berlin [PLACE]``."""
    return ", ".join(f"{text[span['start'] : span['end']]} [{span['label']}]" for span in spans)
