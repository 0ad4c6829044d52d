"""Whether a text holds a word that no business should write, by a list of words alone."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from luthier.core.ports import Judged
from luthier.core.types import Score
from luthier.metrics._texts import Pair, means, rows_of

WORDS = Path(__file__).parent / "toxic_words.yaml"


class Toxicity:
    """``toxicity``: share of texts with at least one word of ``toxic_words.yaml`` (English); lower is better.

    A list sees no meaning: one that quotes a customer or warns of a word counts too, and an insult in polite words does not.
    """

    name = "toxicity"
    summary = "share of texts with a word of an English list of insults (quotes count too)"

    def compute(self, judged: Judged) -> list[Score]:
        """One score, in [0, 1]."""
        return means(self.by_row(judged), lower_is_better=("toxicity",))

    def by_row(self, judged: Judged) -> dict[str, Any]:
        """Each row's, 0 or 1."""
        return rows_of(judged, _measured, ("toxicity",))

    def figures(self, judged: Judged) -> dict[str, Any]:
        """None."""
        return {}


@cache
def _pattern() -> re.Pattern[str]:
    import yaml

    words = yaml.safe_load(WORDS.read_text(encoding="utf-8"))["words"]
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, words))})\b", re.IGNORECASE)


def _measured(pair: Pair) -> dict[str, float]:
    return {"toxicity": float(_pattern().search(pair.written) is not None)}


plugin = Toxicity()
