"""Looks at the texts: lengths in tokens, languages, words, and rows that a person should see."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

SUSPICIONS = ("mojibake", "html", "repeated", "short", "long")
MOJIBAKE, HTML, REPEATED, SHORT, LONG = (1 << number for number in range(len(SUSPICIONS)))

_MOJIBAKE = re.compile("Ã[\u0080-\u00bf\u2018-\u201d\u20ac©]|â€|Â[\u0080-\u00bf]|\ufffd|ï¿½|ï»¿")
_HTML = re.compile(
    r"</?(?:p|br|div|span|a|b|i|li|ul|td|tr|table|img|html|body|script|strong|em|h[1-6])\b[^<>]*>|&(?:nbsp|amp|lt|gt|quot|#\d+);",
    re.IGNORECASE,
)
_REPEATED = re.compile(r"([^\s\d])\1{7,}")
_WORD = re.compile(r"\w+")
LANGUAGE_SAMPLE = 150
_CHARS_AT_ONCE = 1_000_000
_SEED = 11


def suspicion(text: str) -> int:
    """What is odd about a text, as bits; cheap, because it is asked of every row."""
    flags = 0
    if not text.isascii() and _MOJIBAKE.search(text):
        flags |= MOJIBAKE
    if ("<" in text or "&" in text) and _HTML.search(text):
        flags |= HTML
    if _REPEATED.search(text):
        flags |= REPEATED
    if len(text) < 12 and sum(c.isalpha() for c in text) < 3:
        flags |= SHORT
    return flags


def overlong(chars: Any) -> Any:
    """Rows [rows] bool that are far longer than the rest: above ten times the 95th percentile and 2,000 characters."""
    return chars > max(2000.0, 10 * float(np.percentile(chars, 95))) if len(chars) else np.zeros(0, dtype=bool)


def token_lengths(texts: Iterable[str], base: str) -> tuple[Any, str]:
    """Tokens of each text [texts] int64, and what counted them: the base model's tokenizer, else words. Holds a few texts at a time."""
    path = Path(base) / "tokenizer.json" if base else Path()
    if not base or not path.exists():
        return np.array([len(text.split()) for text in texts], dtype=np.int64), "words"
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    lengths: list[int] = []
    for some in _few(texts):
        lengths.extend(len(encoded.ids) for encoded in tokenizer.encode_batch_fast(some))
    return np.array(lengths, dtype=np.int64), "tokens"


def _few(texts: Iterable[str]) -> Iterator[list[str]]:
    waiting: list[str] = []
    chars = 0
    for text in texts:
        waiting.append(text)
        chars += len(text)
        if len(waiting) >= 1000 or chars >= _CHARS_AT_ONCE:
            yield waiting
            waiting, chars = [], 0
    if waiting:
        yield waiting


def languages(texts: Sequence[str]) -> dict[str, float]:
    """Share of each language among the first 150 texts, seeded; texts too short to tell are ``unknown``."""
    from langdetect import DetectorFactory, detect_langs
    from langdetect.lang_detect_exception import LangDetectException

    DetectorFactory.seed = _SEED
    found: Counter[str] = Counter()
    for text in texts[:LANGUAGE_SAMPLE]:
        plain = re.sub(r"<[A-Z_]+_\d+>", " ", text)[:300]
        try:
            best = detect_langs(plain)[0]
            found[best.lang if best.prob > 0.8 and len(plain) >= 20 else "unknown"] += 1
        except LangDetectException:
            found["unknown"] += 1
    total = max(1, sum(found.values()))
    return {name: round(times / total, 4) for name, times in sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))}


class Words:
    """Counts the words of texts that come one after the other; ``count`` is how many there are."""

    def __init__(self) -> None:
        self._total: Counter[str] = Counter()
        self._texts_with: Counter[str] = Counter()
        self.count = 0

    def add(self, text: str) -> None:
        """The next text."""
        found = _WORD.findall(text.casefold())
        self._total.update(found)
        self._texts_with.update(set(found))
        self.count += len(found)

    def frequent(self, most: int = 1000) -> list[tuple[str, float]]:
        """The most frequent words that stand in three texts or more, as shares of all words."""
        known = ((word, times) for word, times in self._total.items() if self._texts_with[word] >= 3)
        kept = sorted(known, key=lambda pair: (-pair[1], pair[0]))[:most]
        return [(word, round(times / max(1, self.count), 8)) for word, times in kept]


def histogram(values: Any) -> dict[str, list[float]]:
    """``edges`` (bins + 1) and ``counts``; bins grow with the length, so that short texts are told apart and long ones fit."""
    edges = [0, *dict.fromkeys(round(1.25**power) for power in range(4, 46))]
    edges = [edge for edge in edges if edge <= int(values.max(initial=0)) * 1.25 + 2]
    counts, _ = np.histogram(np.clip(values, 0, edges[-1]), bins=edges)
    return {"edges": [float(edge) for edge in edges], "counts": [float(count) for count in counts]}
