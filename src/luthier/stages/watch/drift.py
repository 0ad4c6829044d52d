"""Whether live messages and answers differ from the evaluation's, with a false-alarm rate that is stated and kept.

Four tests, each calibrated by permutation: live and reference rows are pooled and dealt out again and again, which shows how large the
statistic gets when nothing differs. With ``alpha`` shared among the tests (Bonferroni), a window without drift raises any alarm with
probability ``alpha`` at most, provided that its messages are independent of each other.

- inputs: distance of the mean embeddings (linear MMD; Gretton et al. 2012, JMLR 13). Sees most shifts of topic and wording.
- outputs: Kolmogorov-Smirnov on the confidence (black-box shift detection; Lipton et al. 2018, arXiv 1802.03916).
- lengths: population stability index of the token counts, in the reference's deciles.
- labels: chi-square of the mix of answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from luthier.core.errors import Damaged

ALPHA = 0.01
"""At most one false alarm in a hundred windows without drift."""

PERMUTATIONS = 999
LEAST_ROWS = 50
"""Fewer live rows tell nothing."""

MOST_ROWS = 1000


@dataclass(frozen=True)
class Reference:
    """Rows of the evaluation, or of a window: ``embedding`` [n,H]; ``confidence``, ``tokens`` and ``label`` [n]."""

    embedding: Any
    confidence: Any
    tokens: Any
    label: Any

    def __len__(self) -> int:
        return len(self.label)

    def rows(self, chosen: Any) -> Reference:
        """Some of the rows (an index array, a mask or a slice)."""
        return Reference(self.embedding[chosen], self.confidence[chosen], self.tokens[chosen], self.label[chosen])


@dataclass(frozen=True)
class Drift:
    """``figures``: each test's statistic and p-value. ``alarms``: the tests whose p-value is below ``alpha`` / number of tests."""

    rows: int
    alpha: float
    figures: dict[str, float] = field(default_factory=dict)
    alarms: list[str] = field(default_factory=list)
    note: str = ""


def read_reference(path: Path) -> Reference | None:
    """The rows in a ``.npz`` file that export or a server wrote (``None`` when there is none); raises ``Damaged``."""
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as found:
            return Reference(found["embedding"].astype(np.float32), found["confidence"], found["tokens"], found["label"])
    except (ValueError, KeyError, OSError, EOFError, BadZipFile) as error:
        raise Damaged(f"{path}: not a whole reference: {error}", "export the model again") from None


def drift(reference: Reference, live: Reference, *, alpha: float = ALPHA, permutations: int = PERMUTATIONS, seed: int = 0) -> Drift:
    """Compares live rows (at most the last ``MOST_ROWS``) with the reference's."""
    if len(live) < LEAST_ROWS or len(reference) < LEAST_ROWS:
        few = "live" if len(live) < LEAST_ROWS else "reference"
        return Drift(len(live), alpha, note=f"drift needs {LEAST_ROWS} {few} answers, there are {min(len(live), len(reference))}")
    reference, live = reference.rows(slice(-MOST_ROWS, None)), live.rows(slice(-MOST_ROWS, None))
    tests = _tests(reference, live)
    hands = _hands(len(reference), len(live), permutations, seed)
    figures, alarms = {}, []
    for name, statistic in tests.items():
        values = statistic(hands)
        # The first hand is the one that was really dealt.
        p = float((values >= values[0] - 1e-12).mean())
        figures[name], figures[f"{name}_p"] = float(values[0]), p
        if p <= alpha / len(tests):
            alarms.append(name)
    return Drift(len(live), alpha, figures, alarms)


def _hands(first: int, second: int, permutations: int, seed: int) -> Any:
    """[1 + permutations, rows] bool: which rows of the pool are called live; the first line tells the truth."""
    generator = np.random.default_rng(seed)
    truth = np.arange(first + second) >= first
    dealt = np.broadcast_to(truth, (permutations, first + second)).copy()
    return np.concatenate([truth[None], generator.permuted(dealt, axis=1)])


def _tests(reference: Reference, live: Reference) -> dict[str, Callable[[Any], Any]]:
    tests: dict[str, Callable[[Any], Any]] = {
        "outputs": _kolmogorov(np.concatenate([reference.confidence, live.confidence])),
        "lengths": _stability(np.concatenate([reference.tokens, live.tokens]), np.asarray(reference.tokens)),
        "labels": _chi_square(np.concatenate([reference.label, live.label])),
    }
    if reference.embedding.shape[1] and reference.embedding.shape[1] == live.embedding.shape[1]:
        tests["inputs"] = _mean_distance(np.concatenate([reference.embedding, live.embedding]).astype(np.float32))
    return tests


def _mean_distance(vectors: Any) -> Callable[[Any], Any]:
    """Distance between the mean live and the mean reference embedding, in units of the embeddings' spread."""
    centred = vectors - vectors.mean(axis=0)
    spread = float(np.sqrt((centred**2).sum(axis=1).mean())) or 1.0

    def statistic(hands: Any) -> Any:
        live = hands.sum(axis=1, keepdims=True)
        total = hands.astype(np.float32) @ centred
        # The pool's mean is 0, so the other side's sum is the negative of this side's.
        return np.linalg.norm(total / live + total / (hands.shape[1] - live), axis=1) / spread

    return statistic


def _kolmogorov(values: Any) -> Callable[[Any], Any]:
    """Largest difference between the two cumulative distributions; at tied values only the last counts."""
    order = np.argsort(values, kind="stable")
    last = np.append(np.diff(values[order]) > 0, True)

    def statistic(hands: Any) -> Any:
        dealt = hands[:, order]
        live = dealt.sum(axis=1, keepdims=True)
        steps = np.where(dealt, 1.0 / live, -1.0 / (dealt.shape[1] - live))
        return np.abs(np.cumsum(steps, axis=1)[:, last]).max(axis=1)

    return statistic


def _stability(tokens: Any, reference: Any) -> Callable[[Any], Any]:
    """Population stability index over the reference's deciles."""
    edges = np.unique(np.quantile(reference, np.linspace(0.1, 0.9, 9)))
    bins = np.searchsorted(edges, tokens, side="left")

    def statistic(hands: Any) -> Any:
        live, rest = _shares(hands, bins, len(edges) + 1, smoothing=0.5)
        return ((live - rest) * np.log(live / rest)).sum(axis=1)

    return statistic


def _chi_square(labels: Any) -> Callable[[Any], Any]:
    """Chi-square of a two-row table; classes seen fewer than ten times in all are counted as one."""
    names, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    rare = counts < 10
    if rare.any():
        classes = np.where(rare[classes], len(names), classes)
        _, classes = np.unique(classes, return_inverse=True)
    size = int(classes.max()) + 1

    def statistic(hands: Any) -> Any:
        live = hands.astype(np.float32) @ np.eye(size, dtype=np.float32)[classes]
        total = np.bincount(classes, minlength=size)
        share = hands.sum(axis=1, keepdims=True) / hands.shape[1]
        wanted, other = total * share, total * (1 - share)
        return ((live - wanted) ** 2 / wanted + (live - wanted) ** 2 / other).sum(axis=1)

    return statistic


def _shares(hands: Any, bins: Any, size: int, smoothing: float) -> tuple[Any, Any]:
    live = hands.astype(np.float32) @ np.eye(size, dtype=np.float32)[bins] + smoothing
    rest = np.bincount(bins, minlength=size) + 2 * smoothing - live
    return live / live.sum(axis=1, keepdims=True), rest / rest.sum(axis=1, keepdims=True)
