"""Stratified, grouped K-fold cross-validation: the same plan trained K times, each time judged on rows that it has not seen."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from luthier.core.errors import SpecError
from luthier.core.ports import Judged, Task
from luthier.core.types import Example
from luthier.stages.evaluate import bootstrap
from luthier.stages.evaluate.scoring import metric_of, resamples, scores

LEVEL = 0.05


class Fold(NamedTuple):
    """Row numbers into training and validation rows together. ``inner`` chooses the best checkpoint; ``held`` stays unseen."""

    learn: Any
    inner: Any
    held: Any


def folds(task: Task, examples: Sequence[Example], count: int, inner_share: float, seed: int) -> list[Fold]:
    """``count`` folds that keep class shares, and keep groups (else equal contents) together; the same for the same seed.

    Raises ``SpecError`` when there are fewer groups than folds.
    """
    check(examples, count)
    strata, groups = np.array([task.stratum(example) for example in examples]), np.array(_groups(examples))
    made = []
    for rest, held in _split(strata, groups, count, seed):
        parts = min(max(2, round(1 / inner_share)), len(set(groups[rest]))) if inner_share > 0 else 0
        if parts < 2:
            made.append(Fold(rest, rest[:0], held))
            continue
        learn, inner = _split(strata[rest], groups[rest], parts, seed + 1)[0]
        made.append(Fold(rest[learn], rest[inner], held))
    return made


def check(examples: Sequence[Example], count: int) -> None:
    """Raises ``SpecError`` when a fold would stay empty: rows of one group, or of equal content, are never divided."""
    found = len(set(_groups(examples)))
    if found < count:
        what = "group" if any(example.group for example in examples) else "different text"
        raise SpecError(
            "evaluate.folds",
            f"{count} folds need {count} {what}s, but training and validation rows hold {found}",
            f"set evaluate.folds to at most {found}, or add examples" if found > 1 else "set evaluate.folds=0, or add examples",
        )


def _groups(examples: Sequence[Example]) -> list[str]:
    return [example.group or example.id for example in examples]


def _split(strata: Any, groups: Any, count: int, seed: int) -> list[tuple[Any, Any]]:
    """Rest and held part, ``count`` times; class shares are kept where any class has a row for every part."""
    from sklearn.model_selection import StratifiedGroupKFold

    if np.unique(strata, return_counts=True)[1].max() < count:
        strata = np.zeros(len(strata), dtype=int)
    splitter = StratifiedGroupKFold(n_splits=count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(splitter.split(np.zeros(len(strata)), strata, groups))


def summary(
    task: Task, judged: Judged, held: Sequence[Any], facts: Sequence[dict[str, Any]], *, resamples_wanted: int, seed: int
) -> dict[str, Any]:
    """Mean and standard deviation over folds of every score, each fold's figures, and the verdict on stability.

    ``judged``: out-of-fold answers of all rows; ``held``: the rows of each fold; ``facts``: what each fold's training cost.
    """
    parts = [_part(judged, rows) for rows in held]
    by_fold = [scores(task, part) for part in parts]
    values = {name: [fold[name].value for fold in by_fold if name in fold] for name in by_fold[0]}
    primary = task.primary_metric
    return {
        "folds": len(parts),
        "rows": len(judged.examples),
        "scores": {
            name: {"mean": float(np.mean(found)), "sd": float(np.std(found, ddof=1)), "values": found} for name, found in values.items()
        },
        "fold": [{"rows": len(rows), **fact} for rows, fact in zip(held, facts, strict=True)],
        "seconds": float(sum(fact["seconds"] for fact in facts)),
        "stability": stability(values[primary], _chance_sd(task, parts, primary, resamples_wanted, seed), primary),
    }


def _chance_sd(task: Task, parts: Sequence[Judged], primary: str, resamples_wanted: int, seed: int) -> float:
    """Standard deviation that the folds would have if only the draw of their held rows differed: root mean square over folds."""
    metric = metric_of(task, primary, parts[0])
    squares = []
    for part in parts:
        drawn = resamples(task, part, bootstrap.draw(part.examples, max(resamples_wanted, 200), seed), [metric]).get(primary)
        squares.append(float(np.var(np.asarray(drawn, dtype=np.float64))) if drawn is not None else 0.0)
    return float(np.sqrt(np.mean(squares)))


def stability(values: Sequence[float], chance_sd: float, name: str) -> dict[str, Any]:
    """Whether folds differ by more than chance: a chi-square test of their variance against the bootstrap's (one-sided, 5 %)."""
    from scipy.stats import chi2

    sd, count = float(np.std(values, ddof=1)), len(values)
    p = float(chi2.sf((count - 1) * sd**2 / chance_sd**2, count - 1)) if chance_sd > 0 else (1.0 if sd == 0 else 0.0)
    stable = p >= LEVEL
    figures = f"{name} {np.mean(values):.3f} ± {sd:.3f} over {count} folds; the draw of rows alone makes ± {chance_sd:.3f} (p {p:.2g})"
    verdict = (
        "stable: the folds differ no more than chance would make them"
        if stable
        else "unstable: the folds differ more than chance would make them"
    )
    return {"stable": stable, "sd": sd, "chance_sd": chance_sd, "p": p, "saying": f"{verdict}: {figures}"}


def _part(judged: Judged, rows: Any) -> Judged:
    return Judged(
        [judged.examples[row] for row in rows],
        [judged.predictions[row] for row in rows],
        {name: np.asarray(value)[rows] for name, value in judged.outputs.items()},
        judged.schema,
        judged.calibration,
        judged.rare,
    )
