"""TextRank: the sentence of a document that is most like all the others (Mihalcea and Tarau 2004)."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from luthier.baselines._sentences import sentences
from luthier.core.errors import NotPossible
from luthier.core.ports import BaselineContext, BaselineResult
from luthier.core.types import Example
from luthier.core.writing import as_arrays, writes

DAMPING = 0.85
ROUNDS = 50
MOST_SENTENCES = 400


class TextRank:
    """PageRank over the sentences, joined by the cosine of their TF-IDF vectors; the best one is the summary."""

    name = "textrank"
    summary = "the sentence that is most like the rest of its document"

    def run(self, train: Sequence[Example], test: Sequence[Example], context: BaselineContext) -> BaselineResult:
        """One sentence a row; of a long document the first 400 are looked at."""
        if not writes(context.task):
            raise NotPossible(f"{self.name}: {context.task.name} has no summaries", "use a baseline of the task")
        start = time.perf_counter()
        texts = [central(sentences(str(one.inputs["text"]))[:MOST_SENTENCES]) for one in test]
        return BaselineResult(as_arrays(texts), 0.0, time.perf_counter() - start, 0.0)


def central(found: Sequence[str]) -> str:
    """The sentence of highest rank; "" of none."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    if len(found) < 2:
        return found[0] if found else ""
    try:
        vectors = TfidfVectorizer(sublinear_tf=True).fit_transform(found)
    except ValueError:  # no words at all
        return found[0]
    near = (vectors @ vectors.T).toarray()
    np.fill_diagonal(near, 0.0)
    sums = near.sum(axis=1, keepdims=True)
    moves = np.divide(near, sums, out=np.full_like(near, 1.0 / len(found)), where=sums > 0)
    rank = np.full(len(found), 1.0 / len(found))
    for _ in range(ROUNDS):
        rank = (1 - DAMPING) / len(found) + DAMPING * rank @ moves
    return found[int(rank.argmax())]


plugin = TextRank()
