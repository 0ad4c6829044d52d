"""Words of a domain that the tokenizer cuts into pieces, made tokens of their own: those whose pieces fill the most positions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

LEAST = 5
"""Occurrences below which a word is left in pieces: its vector could not be learned."""
_WORD = re.compile(r"[^\W_](?:[\w\-]*[^\W_])?")
_MASK_NAMES = ("[MASK]", "<mask>")


class Vocabulary(NamedTuple):
    """A tokenizer with its added words; ``pieces``: the old token numbers of each added word; what masks, and what is never masked."""

    tokenizer: Any
    words: list[str]
    pieces: list[list[int]]
    mask_token: int
    special: list[int]


def vocabulary(folder: Path, texts: Sequence[str], most: int) -> Vocabulary:
    """The tokenizer of a model folder with at most ``most`` words of the texts added."""
    from tokenizers import AddedToken, Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    special = sorted(number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special)
    known = [number for name in _MASK_NAMES if (number := tokenizer.token_to_id(name)) is not None]
    size = tokenizer.get_vocab_size(with_added_tokens=True)
    chosen = words_in_pieces(tokenizer, texts, most) if most else []
    pieces = [tokenizer.encode(word, add_special_tokens=False).ids for word in chosen]
    tokenizer.add_tokens([AddedToken(word, single_word=True, normalized=True) for word in chosen])
    return Vocabulary(tokenizer, chosen, pieces, known[0] if known else size - 1, special or _unknown(tokenizer))


def _unknown(tokenizer: Any) -> list[int]:
    """Special tokens of a tokenizer that does not say which are special: those between which it puts a text."""
    return sorted(set(tokenizer.encode("").ids))


def words_in_pieces(tokenizer: Any, texts: Sequence[str], most: int) -> list[str]:
    """At most ``most`` words of at least five occurrences that are more than one token, by how many positions they cost in all."""
    normalizer = tokenizer.normalizer
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(_WORD.findall(normalizer.normalize_str(text) if normalizer is not None else text))
    often = [word for word, count in counts.items() if count >= LEAST and len(word) > 2 and not word.isdigit()]
    spare = {word: (len(found.ids) - 1) * counts[word] for word, found in zip(often, _encoded(tokenizer, often), strict=True)}
    return sorted((word for word in often if spare[word] > 0), key=lambda word: (-spare[word], word))[:most]


def _encoded(tokenizer: Any, words: Sequence[str]) -> list[Any]:
    return list(tokenizer.encode_batch(list(words), add_special_tokens=False))
