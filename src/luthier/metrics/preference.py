"""How often, and how clearly, a tuned model has moved towards the answers that people prefer, beside the model it started from."""

from __future__ import annotations

from typing import Any

import numpy as np

from luthier.core.errors import NotPossible
from luthier.core.ports import Judged
from luthier.core.types import Score

READ = ("loss_sum", "rejected_loss_sum", "reference")


class Preference:
    """``reward_margin``: beta times by how many nats the preferred answer gained more than the other one over the start model, the mean
    over pairs (Rafailov et al. 2023, arXiv 2305.18290, section 5.1); ``preference_accuracy``: share of pairs whose margin is above 0. A
    margin of exactly 0 counts half: the untouched model, which prefers nothing to itself, has 0.5.
    """

    name = "preference"
    summary = "share of pairs in which the preferred answer gained more than the other, and by how much"
    scores = ("preference_accuracy", "reward_margin")

    def compute(self, judged: Judged) -> list[Score]:
        """Both means."""
        return [Score(name, float(np.mean(values))) for name, values in self.by_row(judged).items()]

    def by_row(self, judged: Judged) -> dict[str, Any]:
        """Each pair's. Raises ``NotPossible`` for outputs of a model that was given one answer only."""
        if not set(READ) <= judged.outputs.keys():
            raise NotPossible("preference: the model was not asked about two answers", "choose a metric of the task")
        preferred, other, reference = (np.asarray(judged.outputs[name], np.float64).reshape(-1) for name in READ)
        margin = float(judged.schema.get("beta", 1.0)) * (other - preferred - reference)
        return {"preference_accuracy": (np.sign(margin) + 1) / 2, "reward_margin": margin}

    def figures(self, judged: Judged) -> dict[str, Any]:
        """None."""
        return {}


plugin = Preference()
