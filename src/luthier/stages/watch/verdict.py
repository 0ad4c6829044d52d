"""Whether a canary does worse than the version that it is to replace: their answers in a step, rule by rule, with the numbers.

Each rule is a one-sided test that the loss is larger than what the rule allows, so that chance alone seldom sends a version back.
Shares are compared by the adjusted Wald test of Agresti and Caffo 2000 (The American Statistician 54); a p95 by the share of answers
that are slower than it may be; means by Welch's test. The rules share ``alpha`` (Bonferroni). Requests are taken as independent of each
other: they are less so the more of them come from one user.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from luthier.core.plan import RolloutPlan
from luthier.stages.serve.reservoir import label_of
from luthier.stages.watch.window import Reads

NAMES = ("prediction.answered", "prediction.failed", "feedback.given")
NOT_OURS = ("invalid_input", "invalid_row", "invalid_spec")
"""Codes of failures that the caller made."""

RULES = 5
RARE = 10
"""Answers seen fewer times in both versions together are counted as one."""


class Finding(NamedTuple):
    """What a rule found; ``said`` is the sentence with the numbers. ``p``: 1 where too little was seen."""

    rule: str
    broken: bool
    p: float
    said: str

    def as_json(self) -> dict[str, Any]:
        """For the journal and the row."""
        return self._asdict()


@dataclass
class Tally:
    """One version's answers in a step."""

    latency_ms: list[float] = field(default_factory=list)
    confidence: list[float] = field(default_factory=list)
    labels: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    up: int = 0
    down: int = 0

    @property
    def asked(self) -> int:
        """Answers and failures."""
        return len(self.latency_ms) + self.failed


@dataclass
class Step:
    """A step's answers by version, read on from the journal's last entry that is known."""

    endpoint: str
    since: float
    tallies: dict[str, Tally] = field(default_factory=dict)
    after: int = 0
    _by: dict[str, str] = field(default_factory=dict)

    def of(self, version: str) -> Tally:
        """A version's tally."""
        return self.tallies.setdefault(version, Tally())

    def read(self, journal: Reads) -> None:
        """Adds what is new. A judgement counts for the version that last gave an answer of that id."""
        for entry in journal.all(self.after, about=self.endpoint, names=NAMES, since=self.since):
            self.after = max(self.after, entry.seq)
            self._add(entry.name, entry.body)

    def _add(self, name: str, body: Mapping[str, Any]) -> None:
        if name == "feedback.given":
            version = self._by.get(body["id"], "")
            if version and body["thumbs"]:
                tally = self.of(version)
                tally.up, tally.down = tally.up + (body["thumbs"] == "up"), tally.down + (body["thumbs"] == "down")
            return
        version = body.get("version", "")
        if name == "prediction.failed":
            self.of(version).failed += body["code"] not in NOT_OURS
            return
        tally = self.of(version)
        tally.latency_ms.append(body["latency_ms"])
        tally.confidence.append(body["confidence"])
        tally.labels[label_of(body["output"])] += 1
        self._by[body["id"]] = version


def judge(rules: RolloutPlan, candidate: Tally, against: Tally, alpha: float) -> list[Finding]:
    """Every rule's finding; ``alpha`` is what all of them together may spend."""
    each = alpha / RULES
    return [
        _errors(rules, candidate, against, each),
        _slow(rules, candidate, against, each),
        _confidence(rules, candidate, against, each),
        _labels(rules, candidate, against, each),
        _satisfaction(rules, candidate, against, each),
    ]


def rises(hits: int, count: int, other_hits: int, other_count: int, margin: float) -> float:
    """p-value of "this share is not above the other one by more than ``margin``" (Agresti-Caffo: one hit and one miss added to each)."""
    first, second = (hits + 1) / (count + 2), (other_hits + 1) / (other_count + 2)
    spread = math.sqrt(first * (1 - first) / (count + 2) + second * (1 - second) / (other_count + 2))
    return _above((first - second - margin) / spread)


def _above(z: float) -> float:
    return 0.5 * math.erfc(z / math.sqrt(2))


def _found(rule: str, p: float, alpha: float, said: str) -> Finding:
    broken = p <= alpha
    return Finding(rule, broken, p, f"{said}, p {p:.2g} {'<=' if broken else '>'} {alpha:.2g}: {'broken' if broken else 'kept'}")


def _few(rule: str, said: str) -> Finding:
    return Finding(rule, False, 1.0, f"{rule}: {said}: not judged")


def _errors(rules: RolloutPlan, candidate: Tally, against: Tally, alpha: float) -> Finding:
    p = rises(candidate.failed, candidate.asked, against.failed, against.asked, rules.max_error_rise)
    first, second = candidate.failed / max(candidate.asked, 1), against.failed / max(against.asked, 1)
    said = f"errors {first:.4f} ({candidate.failed} of {candidate.asked}) against {second:.4f} ({against.failed} of {against.asked})"
    if 2 * candidate.failed > candidate.asked:  # whatever becomes of the other: where both fail, nothing is to be promoted
        return Finding("errors", True, 0.0, f"{said}: most requests failed: broken")
    return _found("errors", p, alpha, f"{said}, {rules.max_error_rise:.4f} more allowed")


def _slow(rules: RolloutPlan, candidate: Tally, against: Tally, alpha: float) -> Finding:
    if not (candidate.latency_ms and against.latency_ms):
        return _few("p95", "no answers")
    first, second = (float(np.percentile(one.latency_ms, 95)) for one in (candidate, against))
    limit = second * rules.max_p95_ratio
    slow, slow_before = (sum(one > limit for one in tally.latency_ms) for tally in (candidate, against))
    p = rises(slow, len(candidate.latency_ms), slow_before, len(against.latency_ms), 0.05) if first > limit else 1.0
    said = f"p95 {first:.1f} ms against {second:.1f} ms, {limit:.1f} ms allowed ({slow} of {len(candidate.latency_ms)} slower)"
    return _found("p95", p, alpha, said)


def _confidence(rules: RolloutPlan, candidate: Tally, against: Tally, alpha: float) -> Finding:
    if min(len(candidate.confidence), len(against.confidence)) < 2:
        return _few("confidence", "fewer than two answers")
    first, second = np.array(candidate.confidence), np.array(against.confidence)
    loss = float(second.mean() - first.mean())
    spread = math.sqrt(float(first.var(ddof=1)) / len(first) + float(second.var(ddof=1)) / len(second))
    over = loss - rules.max_confidence_drop
    p = _above(over / spread) if spread else float(over <= 0)
    said = f"confidence {first.mean():.3f} against {second.mean():.3f}, {rules.max_confidence_drop:.3f} less allowed"
    return _found("confidence", p, alpha, said)


def _labels(rules: RolloutPlan, candidate: Tally, against: Tally, alpha: float) -> Finding:
    """The answer whose share changed most, up or down; the names share ``alpha``."""
    total = candidate.labels + against.labels
    seen = [name for name, count in total.items() if count >= RARE]
    first, second = candidate.labels.total(), against.labels.total()
    if not (seen and first and second):
        return _few("drift", "too few answers")
    found = []
    for name in seen:
        one, other = candidate.labels[name], against.labels[name]
        margin = rules.max_label_change
        p = min(rises(one, first, other, second, margin), rises(other, second, one, first, margin))
        found.append((min(1.0, p * 2 * len(seen)), abs(one / first - other / second), name))
    p, change, name = min(found, key=lambda one: (one[0], -one[1]))
    shares = f"{candidate.labels[name] / first:.3f} against {against.labels[name] / second:.3f}"
    said = f"drift: {name!r} has {shares} of the answers, a change of {change:.3f}, {rules.max_label_change:.3f} allowed"
    return _found("drift", p, alpha, said)


def _satisfaction(rules: RolloutPlan, candidate: Tally, against: Tally, alpha: float) -> Finding:
    first, second = candidate.up + candidate.down, against.up + against.down
    if not (first and second):
        return _few("satisfaction", f"{first} and {second} judgements")
    p = rises(candidate.down, first, against.down, second, rules.max_satisfaction_drop)
    said = (
        f"satisfaction {candidate.up / first:.3f} ({candidate.up} of {first}) against {against.up / second:.3f} ({against.up} of {second})"
    )
    return _found("satisfaction", p, alpha, f"{said}, {rules.max_satisfaction_drop:.3f} less allowed")
