"""Perplexity of a language model: how many tokens it wavers between, on average; with it, bits a byte and the share guessed rightly."""

from __future__ import annotations

from typing import Any

import numpy as np

from luthier.core.errors import NotPossible
from luthier.core.ports import Judged
from luthier.core.types import Score

HIGHEST_LOSS = 50.0
"""Nats a token; above, the exponential says nothing any more."""


READ = ("loss_sum", "predicted", "correct", "bytes")


class Perplexity:
    """``perplexity`` = exp(mean nats a token); ``bits_per_byte`` of UTF-8, which compares models of different vocabularies (Gao et al.
    2020, arXiv 2101.00027, section 3.1); ``token_accuracy`` in [0, 1]. Reads ``loss_sum``, ``predicted``, ``correct`` and ``bytes`` [rows].
    """

    name = "perplexity"
    summary = "perplexity, bits per byte and token accuracy of a language model"
    scores = ("perplexity", "bits_per_byte", "token_accuracy")

    def compute(self, judged: Judged) -> list[Score]:
        """Three scores, ``perplexity`` first; ``parts`` holds it by the rows' ``source`` column, where there is one."""
        values = {name: float(found[0]) for name, found in self.resample(judged, np.ones((1, len(judged.examples)))).items()}
        sources = [str(one.columns.get("source", "")) for one in judged.examples]
        parts: dict[str, float] = {}
        for source in sorted(set(sources) - {""}):
            counts = np.array([[float(one == source) for one in sources]])
            parts[source] = float(self.resample(judged, counts)["perplexity"][0])
        return [
            Score("perplexity", values["perplexity"], higher_is_better=False, parts=parts),
            Score("bits_per_byte", values["bits_per_byte"], higher_is_better=False),
            Score("token_accuracy", values["token_accuracy"]),
        ]

    def resample(self, judged: Judged, counts: Any) -> dict[str, Any]:
        """The scores of each resample; ``counts`` [resamples, rows]."""
        if not set(READ) <= judged.outputs.keys():
            raise NotPossible("perplexity: the model gives no losses of tokens", "choose a metric of the task")
        loss, predicted, correct, size = (np.asarray(judged.outputs[name], np.float64).reshape(-1) for name in READ)
        nats, tokens = counts @ loss, np.maximum(counts @ predicted, 1)
        return {
            "perplexity": np.exp(np.minimum(nats / tokens, HIGHEST_LOSS)),
            "bits_per_byte": nats / np.log(2) / np.maximum(counts @ size, 1),
            "token_accuracy": (counts @ correct) / tokens,
        }

    def figures(self, judged: Judged) -> dict[str, Any]:
        """None."""
        return {}


plugin = Perplexity()
