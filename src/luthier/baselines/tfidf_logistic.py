"""TF-IDF and logistic regression: words, pairs of words, pieces of 3 to 5 letters, and a linear model; tuned with care, hard to beat.

The strength of the penalty and the weighting of classes are chosen on a part of the training rows; then it learns from all of them.
"""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from luthier.baselines._targets import logits_of, marks
from luthier.core.ports import BaselineContext, BaselineResult
from luthier.core.types import Example

STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0)
"""Inverse penalties tried, when rows x classes are few; else every second one."""
FEW = 100_000
HELD_OUT = 0.15
MOST_FEATURES = 60_000
"""Of each of the two vocabularies: the most frequent ones."""
ITERATIONS = 200


class _Choice(NamedTuple):
    strength: float
    class_weight: str | None
    balanced_score: float


class TfidfLogistic:
    """See the module. scikit-learn's ``TfidfVectorizer`` (sublinear term counts) and ``LogisticRegression`` (L-BFGS)."""

    name = "tfidf-logistic"
    summary = "TF-IDF of words (1-2) and letters (3-5) with logistic regression, tuned"

    def run(self, train: Sequence[Example], test: Sequence[Example], context: BaselineContext) -> BaselineResult:
        """``logits`` [rows, classes]; ``train_s`` includes the choice of its settings."""
        start = time.perf_counter()
        texts, right = [context.task.text(example) for example in train], marks(train, context.schema)
        strata = [context.task.stratum(example) for example in train]
        choice, tried = _choose(texts, right, strata, [example.group or example.id for example in train], context)
        words = _features()
        matrix = words.fit_transform(texts).astype(np.float32)
        models, iterations = _fit(matrix, right, choice.strength, choice.class_weight, context)
        learned = time.perf_counter()
        chances = _chances(models, words.transform([context.task.text(example) for example in test]).astype(np.float32), right.shape[1])
        flop = 4.0 * matrix.nnz * right.shape[1] * (iterations + tried)
        return BaselineResult({"logits": logits_of(chances, context.schema)}, learned - start, time.perf_counter() - learned, flop)


def _features() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import FeatureUnion

    common = {"sublinear_tf": True, "lowercase": True, "max_features": MOST_FEATURES}
    return FeatureUnion(
        [
            ("words", TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", **common)),
            ("letters", TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), min_df=2, **common)),
        ]
    )


def _choose(texts: list[str], right: Any, strata: list[str], groups: list[str], context: BaselineContext) -> tuple[_Choice, float]:
    """The best settings on a held-out part, and the iterations it took to find them. Vocabulary comes from the other part only."""
    kept, held = _parts(strata, groups, context.evaluate.seed)
    words = _features()
    fitted = words.fit_transform([texts[row] for row in kept]).astype(np.float32)
    asked = words.transform([texts[row] for row in held]).astype(np.float32)
    strengths = STRENGTHS if right.size <= FEW else STRENGTHS[::2]
    best, total = _Choice(10.0, None, -1.0), 0.0
    for strength, class_weight in [(c, None) for c in strengths] + [(0.0, "balanced")]:
        tried = strength or best.strength
        models, iterations = _fit(fitted, right[kept], tried, class_weight, context)
        score = _score(_chances(models, asked, right.shape[1]), right[held], several=bool(context.schema.get("multi_label")))
        total += iterations
        if score > best.balanced_score:
            best = _Choice(tried, class_weight, score)
    return best, total


def _parts(strata: list[str], groups: list[str], seed: int) -> tuple[Any, Any]:
    from sklearn.model_selection import StratifiedGroupKFold

    folds = min(round(1 / HELD_OUT), max(Counter(strata).values()), len(set(groups)))
    if folds < 2:
        return np.arange(len(strata)), np.arange(len(strata))
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept, held = next(splitter.split(np.zeros(len(strata)), strata, groups))
    return kept, held


def _fit(matrix: Any, right: Any, strength: float, class_weight: str | None, context: BaselineContext) -> tuple[list[Any], float]:
    """One model over all classes, or for several labels one a label (``None`` when a label is never or always right)."""
    from sklearn.linear_model import LogisticRegression

    def one(target: Any) -> Any:
        model = LogisticRegression(C=strength, class_weight=class_weight, max_iter=ITERATIONS, tol=1e-3, random_state=context.evaluate.seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return model.fit(matrix, target)

    if context.schema.get("multi_label"):
        models = [one(column) if 0 < column.sum() < len(column) else None for column in right.T]
    else:
        models = [one(right.argmax(axis=1))]
    return models, float(sum(model.n_iter_.sum() for model in models if model is not None))


def _chances(models: list[Any], matrix: Any, classes: int) -> Any:
    chances = np.zeros((matrix.shape[0], classes))
    if len(models) == 1:
        chances[:, models[0].classes_] = models[0].predict_proba(matrix)
        return chances
    for column, model in enumerate(models):
        if model is not None:
            chances[:, column] = model.predict_proba(matrix)[:, 1]
    return chances


def _score(chances: Any, right: Any, *, several: bool) -> float:
    """Accuracy and macro F1 in equal parts: what the comparison shows."""
    from sklearn.metrics import f1_score

    chosen = chances >= 0.5 if several else np.eye(right.shape[1], dtype=bool)[chances.argmax(axis=1)]
    exact = float((chosen == right).all(axis=1).mean())
    return (exact + float(f1_score(right, chosen, average="macro", zero_division=0))) / 2


plugin = TfidfLogistic()
