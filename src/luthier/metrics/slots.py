"""Whether an answer names the values that it should: order numbers, addresses, placeholders that stand in the wanted answer."""

from __future__ import annotations

from typing import Any

from luthier.core.ports import Judged
from luthier.core.types import Score
from luthier.metrics._texts import Pair, means, rows_of
from luthier.metrics.answer_intents import slots_of


class Slots:
    """``slots``: share of the wanted answer's values that stand in what was written, the mean over rows that have any.

    Values that are invented are counted by ``answer-intents``.
    """

    name = "slots"
    summary = "share of the wanted answer's values (numbers, addresses, placeholders) that the answer names"

    def compute(self, judged: Judged) -> list[Score]:
        """One score, in [0, 1]; 0 where no wanted answer holds a value."""
        return means(self.by_row(judged))

    def by_row(self, judged: Judged) -> dict[str, Any]:
        """Each row's; nan where there is nothing to name."""
        return rows_of(judged, _measured, ("slots",))

    def figures(self, judged: Judged) -> dict[str, Any]:
        """None."""
        return {}


def _measured(pair: Pair) -> dict[str, float]:
    wanted, written = slots_of(pair.reference), slots_of(pair.written)
    return {"slots": len(wanted & written) / len(wanted) if wanted else float("nan")}


plugin = Slots()
