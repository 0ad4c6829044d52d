"""Which graph is kept: the fastest of those that lose no more than the plan allows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from luthier.core.errors import GateRefused
from luthier.core.plan import ExportPlan
from luthier.stages.export.latency import Latency
from luthier.stages.export.parity import Parity


@dataclass(frozen=True)
class Candidate:
    """A runtime's graph and what was measured of it."""

    runtime: str
    folder: Path
    parity: Parity
    latency: list[Latency]

    @property
    def cost_ms(self) -> float:
        """Milliseconds an example with one thread, as a worker serves it: the geometric mean of alone and in a batch of 32."""
        alone = [one.p50_ms / one.batch for one in self.latency if one.threads == 1]
        return math.exp(sum(math.log(max(ms, 1e-6)) for ms in alone) / len(alone))


def failing(candidate: Candidate, plan: ExportPlan) -> list[str]:
    """Each bar that a candidate misses, with its figure."""
    found, reasons = candidate.parity, []
    if found.label_change > plan.max_label_change:
        reasons.append(f"{found.label_change:.2%} of {found.rows} answers changed, allowed {plan.max_label_change:.2%}")
    if found.metric_loss > plan.max_metric_loss:
        reasons.append(f"{found.metric} fell by {found.metric_loss:.4f}, allowed {plan.max_metric_loss:.4f}")
    return reasons


def choose(candidates: Sequence[Candidate], plan: ExportPlan) -> Candidate:
    """The fastest that passes and that the plan asked for; raises ``GateRefused`` with every figure when none does."""
    asked = [one for one in candidates if one.runtime in plan.runtimes]
    passing = [one for one in asked if not failing(one, plan)]
    if not passing:
        figures = "; ".join(f"{one.runtime}: {' and '.join(failing(one, plan))}" for one in asked)
        raise GateRefused(
            f"export: no graph answers like the trained model ({figures})",
            "add the runtime 'onnx' to export.runtimes, or allow more with export.max_label_change and export.max_metric_loss",
        )
    return min(passing, key=lambda one: one.cost_ms)


def explain(candidates: Sequence[Candidate], chosen: Candidate) -> list[str]:
    """One line a candidate for the reader."""
    lines = []
    for one in candidates:
        mark = "chosen" if one is chosen else "not chosen"
        lines.append(
            f"export: {one.runtime}: {one.cost_ms:.2f} ms an example, {one.parity.label_change:.2%} answers changed, "
            f"{one.parity.metric} {-one.parity.metric_loss:+.4f}, largest logit difference {one.parity.logit_difference:.2g} ({mark})"
        )
    return lines


def why(candidates: Sequence[Candidate], chosen: Candidate, plan: ExportPlan) -> str:
    """The sentence in ``export.json``."""
    out = [f"{one.runtime} ({' and '.join(failing(one, plan))})" for one in candidates if one is not chosen and failing(one, plan)]
    slower = [f"{one.runtime} ({one.cost_ms:.2f} ms)" for one in candidates if one is not chosen and not failing(one, plan)]
    text = f"{chosen.runtime}: {chosen.cost_ms:.2f} ms an example with one thread, the fastest within the plan's tolerance"
    text += f"; slower: {', '.join(slower)}" if slower else ""
    return text + (f"; refused: {', '.join(out)}" if out else "")
