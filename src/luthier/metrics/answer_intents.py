"""Whether a bot's answer is one to what was asked, and names nothing that nobody named: the two figures of a customer-service bot."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from luthier.core.ports import Judged
from luthier.core.types import Score
from luthier.metrics._texts import Pair, means, pairs

SLOT = re.compile(r"<[A-Z]+(?:_[A-Z]+)*_\d+>|\{\{[^{}]{1,40}\}\}|[\w.+-]+@[\w-]+\.[\w.]+|\b[\w-]*\d[\w-]*\b")
"""A masked value, a placeholder of a template, an address, or a word with a digit: what must come from the customer or the reference."""


class AnswerIntents:
    """``right_intent``: share of answers whose nearest wanted answer (cosine of TF-IDF, over all test rows) belongs to the intent that was
    asked, for rows with a column ``intent``; ``invented_slots``: share of answers that name a value which stands neither in what the model
    was given nor in the wanted answer (lower is better). Of ``right_intent``, ``parts`` by intent.

    The judge of the intent is made of the wanted answers alone and sees no answer of any model; where two intents are answered in the
    same words it cannot tell them apart, and counts either as right.
    """

    name = "answer-intents"
    summary = "share of answers that fit the intent asked for, and share that name invented values"
    scores = ("right_intent", "invented_slots")

    def compute(self, judged: Judged) -> list[Score]:
        """Both, in [0, 1]."""
        by_row = self.by_row(judged)
        right, invented = means(by_row, lower_is_better=("invented_slots",))
        intents = [str(one.columns.get("intent") or "") for one in judged.examples]
        parts = {}
        for intent in sorted(set(intents) - {""}):
            values = by_row["right_intent"][[one == intent for one in intents]]
            if not np.isnan(values).all():
                parts[intent] = float(np.nanmean(values))
        return [Score(right.name, right.value, parts=parts), invented]

    def by_row(self, judged: Judged) -> dict[str, Any]:
        """Each row's, 0 or 1."""
        found = {name: np.full(len(judged.examples), np.nan) for name in self.scores}
        every = pairs(judged)
        for pair in every:
            found["invented_slots"][pair.row] = float(bool(slots_of(pair.written) - slots_of(f"{pair.source}\n{pair.reference}")))
        asked = [(pair, str(judged.examples[pair.row].columns.get("intent") or "")) for pair in every]
        known = [(pair, intent) for pair, intent in asked if intent]
        for (pair, _), right in zip(known, _right(known), strict=True):
            found["right_intent"][pair.row] = float(right)
        return found

    def figures(self, judged: Judged) -> dict[str, Any]:
        """None."""
        return {}


def slots_of(text: str) -> set[str]:
    """What :data:`SLOT` finds, in lower case and without a closing full stop."""
    return {one.strip(".").lower() for one in SLOT.findall(text)}


def _right(known: list[tuple[Pair, str]]) -> list[bool]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    if not known:
        return []
    references = sorted({(pair.reference, intent) for pair, intent in known})
    texts = [SLOT.sub(" ", text) for text, _ in references]
    try:
        reader = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit(texts)
    except ValueError:  # no words at all
        return [False] * len(known)
    near = reader.transform([SLOT.sub(" ", pair.written) for pair, _ in known]) @ reader.transform(texts).T
    intents = np.array([intent for _, intent in references])
    found = []
    for row, (_, intent) in enumerate(known):
        likeness = near[row].toarray().ravel()
        found.append(bool(likeness.max() > 0 and (intents[likeness >= likeness.max() - 1e-9] == intent).any()))
    return found


plugin = AnswerIntents()
