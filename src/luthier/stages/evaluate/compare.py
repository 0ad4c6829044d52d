"""Paired tests of two models on the same rows: McNemar's on right and wrong answers, and a paired bootstrap on a score."""

from __future__ import annotations

from typing import Any

import numpy as np

from luthier.core.ports import Judged, Task
from luthier.core.types import Example, canonical_json
from luthier.core.writing import writes
from luthier.stages.evaluate.bootstrap import draw, interval
from luthier.stages.evaluate.scoring import metric_of, resamples, right_rows, scores
from luthier.stages.evaluate.subject import listed

LEVEL = 0.05


def mcnemar(only_first: int, only_second: int) -> dict[str, float]:
    """Two-sided p values of McNemar's test: ``p_exact`` (binomial) and ``p_mid`` (mid-p: less conservative, Fagerland et al. 2013)."""
    from scipy.stats import binom

    rows, fewer = only_first + only_second, min(only_first, only_second)
    if not rows:
        return {"p_exact": 1.0, "p_mid": 1.0}
    exact = min(1.0, 2.0 * float(binom.cdf(fewer, rows, 0.5)))
    middle = 2.0 * float(binom.cdf(fewer, rows, 0.5)) - float(binom.pmf(fewer, rows, 0.5))
    return {"p_exact": exact, "p_mid": min(1.0, middle)}


def paired(
    task: Task, first: Judged, second: Judged, *, resamples_wanted: int, seed: int, names: tuple[str, str] = ("this", "that")
) -> dict[str, Any]:
    """Whether ``first`` is better than ``second`` on the rows that both answered (matched by id), with a sentence that says so."""
    first, second = _common(first, second)
    rows = len(first.examples)
    if not rows:
        return {"rows": 0, "saying": f"{names[0]} and {names[1]} have no test row in common: they cannot be compared"}
    found: dict[str, Any] = {"rows": rows}
    if not writes(task):
        ours, theirs = right_rows(first), right_rows(second)
        only_first, only_second = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
        found |= {"only_first_right": only_first, "only_second_right": only_second, **mcnemar(only_first, only_second)}
    primary = task.primary_metric
    metric = metric_of(task, primary, first)
    gap = scores(task, first, [metric])[primary].value - scores(task, second, [metric])[primary].value
    found |= {"metric": primary, "difference": gap}
    if resamples_wanted:
        counts = draw(first.examples, resamples_wanted, seed)
        drawn = [resamples(task, judged, counts, [metric]).get(primary) for judged in (first, second)]
        if drawn[0] is not None and drawn[1] is not None:
            found["low"], found["high"] = interval(np.asarray(drawn[0], dtype=np.float64) - drawn[1], gap)
    found["saying"] = _saying(found, names)
    return found


def real(found: dict[str, Any]) -> bool:
    """Whether the rows show a difference: McNemar's test says so, and the bootstrap's interval (where there is one) leaves 0 out.

    A text is hardly ever exactly right: of models that write the interval alone decides.

    McNemar's test takes rows for independent; only the bootstrap knows that rows of one group are alike.
    """
    apart = "low" not in found or found["low"] > 0 or found["high"] < 0
    return bool(found["p_mid"] < LEVEL and apart) if "p_mid" in found else bool("low" in found and apart)


def _saying(found: dict[str, Any], names: tuple[str, str]) -> str:
    between = f" (95 % interval {100 * found['low']:+.1f} to {100 * found['high']:+.1f})" if "low" in found else ""
    gap = f"{100 * found['difference']:+.1f} points of {found['metric']}{between}"
    counted = f"{found['rows']} rows"
    if "p_mid" in found:
        counted = f"{found['only_first_right']} rows right only here, {found['only_second_right']} only there, mid-p {found['p_mid']:.3g}"
    verdict = "a real difference" if real(found) else "no difference that these rows can show"
    return f"{names[0]} against {names[1]}: {gap}; {counted}: {verdict}"


def _common(first: Judged, second: Judged) -> tuple[Judged, Judged]:
    """Both, cut down to the rows whose id and target they share, in the same order."""
    there = {_key(example): row for row, example in enumerate(second.examples)}
    pairs = [(row, there[_key(example)]) for row, example in enumerate(first.examples) if _key(example) in there]
    return _rows(first, [a for a, _ in pairs]), _rows(second, [b for _, b in pairs])


def _key(example: Example) -> tuple[str, str]:
    """With the target: one text can stand in the test set twice, with labels that contradict each other."""
    return example.id, canonical_json(sorted(map(str, listed(example.target))))


def _rows(judged: Judged, rows: list[int]) -> Judged:
    if rows == list(range(len(judged.examples))):
        return judged
    return Judged(
        [judged.examples[row] for row in rows],
        [judged.predictions[row] for row in rows],
        {name: np.asarray(value)[rows] for name, value in judged.outputs.items()},
        judged.schema,
        judged.calibration,
        judged.rare,
    )
