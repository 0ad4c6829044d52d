"""The gate in front of every endpoint: only what was evaluated and exported goes in, and is no worse than what answers there now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from luthier.app.endpoints import check_name
from luthier.app.versions import What
from luthier.core.errors import GateRefused
from luthier.core.events import GateDecided
from luthier.core.plan import Plan
from luthier.core.types import Artifact

if TYPE_CHECKING:
    from luthier.app.service import Service


def admitted(service: Service, export: Artifact, endpoint: str, *, force: bool = False) -> tuple[What, bool]:
    """What the endpoint would answer with, and whether the gate passed; what it said is journaled.

    Raises ``GateRefused``; with ``force`` not for a missed bar, but still without an evaluation.
    """
    check_name(endpoint)
    artifacts = service.workspace.artifacts
    artifacts.check(export.id)
    lineage = {a.kind: a for a in list(artifacts.lineage(export.id))[::-1]}
    if "evaluation" not in lineage:
        raise GateRefused(f"{export.id} has no evaluation", "a model without an evaluation cannot be deployed")
    plan = Plan(**artifacts.manifest(lineage["evaluation"].id)["plan"])
    passed, reasons = _gate(service, lineage["evaluation"], plan, endpoint, lineage["model"])
    service.emit(GateDecided(gate=f"deploy {endpoint}", passed=passed, reasons=reasons))
    if not passed and not force:
        raise GateRefused(
            f"{lineage['model'].id} is not deployed to {endpoint!r}: " + "; ".join(reasons),
            "improve the model, lower the bar in the recipe (evaluate.bars), or deploy with force",
        )
    return What(plan.task, export.id, lineage["evaluation"].id, lineage["model"].id), passed


def _gate(service: Service, evaluation: Artifact, plan: Plan, endpoint: str, model: Artifact) -> tuple[bool, list[str]]:
    from luthier.stages.evaluate import gate

    current = None
    for info in service.endpoints.list():
        if info.name == endpoint and info.model_id != model.id:
            current = service.evaluation(service.artifact(info.evaluation_id))
    return gate.decide(service.evaluation(evaluation), plan.evaluate, current)
