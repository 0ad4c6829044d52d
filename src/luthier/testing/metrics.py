"""What every metric promises: scores that are numbers, the same in any order of rows, and figures that are JSON."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from luthier.core import registry
from luthier.core.errors import LuthierError
from luthier.core.ports import Judged, Metric, scores_of
from luthier.core.types import Score
from luthier.testing import made
from luthier.testing.claim import as_json, checks, ensure
from luthier.testing.shape import check_shape

CLASSES = "text-classification"


@checks
def check_metric(plugin: Any, *judged: Judged) -> None:
    """``judged``: what to compute it from; by default answers of made classifiers, with one label and with several.

    A metric may refuse several labels with an error of Luthier's. One that text classification does not list is computed from untrained
    models of the tasks that list it.
    """
    check_shape(plugin, Metric)
    users = [task for name in registry.names("tasks") if plugin.name in (task := registry.get("tasks", name)).metrics]
    others = [made.answered(task) for task in users] if users and all(task.name != CLASSES for task in users) else []
    for one in judged or others or (made.judged(), made.judged(1), made.judged(right=True)):
        _check_scores(plugin, one)
    if not judged and not others:
        try:
            plugin.compute(made.judged(several=True))
        except LuthierError:
            return
        _check_scores(plugin, made.judged(several=True))


def _check_scores(plugin: Any, judged: Judged) -> None:
    scores = plugin.compute(judged)
    ensure(isinstance(scores, list) and bool(scores), f"{plugin.name}: compute must give a list of scores, not {scores!r}")
    ensure(all(isinstance(score, Score) for score in scores), f"{plugin.name}: compute gave something that is no Score")
    _check_names(plugin, [score.name for score in scores])
    for score in scores:
        wrong = {name: value for name, value in ((score.name, score.value), *score.parts.items()) if not math.isfinite(value)}
        ensure(not wrong, f"{plugin.name}: {wrong} is not a finite number")
        as_json([score.value, score.parts], f"{plugin.name}: the score {score.name}")
    _check_order(plugin, judged, scores)
    _check_resamples(plugin, judged, scores)
    figures = plugin.figures(judged)
    ensure(isinstance(figures, dict), f"{plugin.name}: figures must give a dict, {{}} when there is none")
    as_json(figures, f"{plugin.name}: figures")


def _check_names(plugin: Any, names: list[str]) -> None:
    """A file with one score is named like it. A family may hold others only; its first is what a plan means by the file's name."""
    own = plugin.name.replace("-", "_")
    odd = [name for name in names if not re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", name)]
    ensure(not odd, f"{plugin.name}: score names are lower-case words joined by _, not {odd}")
    ensure(len(set(names)) == len(names), f"{plugin.name}: two scores have one name: {names}")
    if len(names) == 1 or own in names:
        ensure(names[0] == own, f"{plugin.name}: the first score is {names[0]!r}, it must be {own!r}, like the file")
    known = scores_of(plugin)
    ensure(set(names) <= set(known), f"{plugin.name}: gives {names}, but its scores name {list(known)} only")


def _check_order(plugin: Any, judged: Judged, scores: list[Score]) -> None:
    order = np.random.default_rng(5).permutation(len(judged.examples))
    mixed = Judged(
        [judged.examples[row] for row in order],
        [judged.predictions[row] for row in order],
        {name: value[order] for name, value in judged.outputs.items()},
        judged.schema,
        judged.calibration,
    )
    for score, other in zip(scores, plugin.compute(mixed), strict=True):
        same = score.name == other.name and math.isclose(score.value, other.value, rel_tol=1e-9, abs_tol=1e-9)
        ensure(same, f"{plugin.name}: {score.name} is {score.value}, and {other.value} when the rows come in another order")


def _check_resamples(plugin: Any, judged: Judged, scores: list[Score]) -> None:
    """``resample`` is no part of the port, but where it is there, every row once must give what ``compute`` gives."""
    if not hasattr(plugin, "resample"):
        return
    values = {score.name: score.value for score in scores}
    for name, drawn in plugin.resample(judged, np.ones((2, len(judged.examples)))).items():
        ensure(name in values, f"{plugin.name}: resample gives {name!r}, which compute does not")
        ensure(np.shape(drawn) == (2,), f"{plugin.name}: resample gives {name} of shape {np.shape(drawn)} for two resamples")
        ensure(
            bool(np.allclose(drawn, values[name], rtol=1e-6, atol=1e-9)),
            f"{plugin.name}: resample gives {name} {drawn[0]} for every row once, compute gives {values[name]}",
        )
