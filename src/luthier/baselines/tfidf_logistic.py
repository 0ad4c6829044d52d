"""TF-IDF and logistic regression: words, pairs of words, pieces of 3 to 5 letters, and a linear model; tuned with care, hard to beat.

The strength of the penalty and the weighting of classes are chosen on a part of the training rows; then it learns from all of them.
"""

from __future__ import annotations

import contextlib
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
        words, matrix = _vocabulary(texts)
        models, iterations = _fit(matrix, right, choice.strength, choice.class_weight, context)
        learned = time.perf_counter()
        chances = _chances(models, _matrix(words, [context.task.text(example) for example in test]), right.shape[1])
        flop = 4.0 * matrix.nnz * right.shape[1] * (iterations + tried)
        return BaselineResult({"logits": logits_of(chances, context.schema)}, learned - start, time.perf_counter() - learned, flop)


def _vocabulary(texts: list[str]) -> tuple[list[Any], Any]:
    """The vectorizers of words and of letters, and these texts as their matrix; one that finds nothing in them is left out.

    Texts without a word (emoji, punctuation) have no words, and two or three texts may share no piece of letters.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    common = {"sublinear_tf": True, "lowercase": True, "max_features": MOST_FEATURES}
    wanted = (
        TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", **common),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), min_df=2, **common),
    )
    found, parts = [], []
    for one in wanted:
        with contextlib.suppress(ValueError):  # scikit-learn's word for an empty vocabulary
            parts.append(one.fit_transform(texts))
            found.append(one)
    return found, _joined(parts, len(texts))


def _matrix(words: list[Any], texts: list[str]) -> Any:
    """Texts as the matrix of vectorizers that learned from others."""
    return _joined([one.transform(texts) for one in words], len(texts))


def _joined(parts: list[Any], rows: int) -> Any:
    """float32 [rows, features], sparse; one column of zeros when there is no feature."""
    from scipy import sparse

    return sparse.hstack(parts).tocsr().astype(np.float32) if parts else sparse.csr_matrix((rows, 1), dtype=np.float32)


def _choose(texts: list[str], right: Any, strata: list[str], groups: list[str], context: BaselineContext) -> tuple[_Choice, float]:
    """The best settings on a held-out part, and the iterations it took to find them. Vocabulary comes from the other part only."""
    kept, held = _parts(strata, groups, context.evaluate.seed)
    words, fitted = _vocabulary([texts[row] for row in kept])
    asked = _matrix(words, [texts[row] for row in held])
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
    """One model over all classes, or for several labels one a label."""
    from sklearn.linear_model import LogisticRegression

    def one(target: Any) -> Any:
        if (target == target[0]).all():
            return _Same(target[0])
        model = LogisticRegression(C=strength, class_weight=class_weight, max_iter=ITERATIONS, tol=1e-3, random_state=context.evaluate.seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return model.fit(matrix, target)

    targets = right.T.astype(int) if context.schema.get("multi_label") else [right.argmax(axis=1)]
    models = [one(target) for target in targets]
    return models, float(sum(model.n_iter_.sum() for model in models))


class _Same:
    """In the place of a model where all rows to learn from say the same: a class that is alone, a label that is always or never right."""

    def __init__(self, answer: int) -> None:
        self.classes_, self.n_iter_ = np.array([answer]), np.zeros(1)

    def predict_proba(self, matrix: Any) -> Any:
        """Certainty [rows, 1]."""
        return np.ones((matrix.shape[0], 1))


def _chances(models: list[Any], matrix: Any, classes: int) -> Any:
    chances = np.zeros((matrix.shape[0], classes))
    if len(models) == 1:
        chances[:, models[0].classes_] = models[0].predict_proba(matrix)
        return chances
    for column, model in enumerate(models):
        given = np.flatnonzero(model.classes_ == 1)
        if len(given):
            chances[:, column] = model.predict_proba(matrix)[:, given[0]]
    return chances


def _score(chances: Any, right: Any, *, several: bool) -> float:
    """Accuracy and macro F1 in equal parts: what the comparison shows."""
    from sklearn.metrics import f1_score

    chosen = chances >= 0.5 if several else np.eye(right.shape[1], dtype=bool)[chances.argmax(axis=1)]
    exact = float((chosen == right).all(axis=1).mean())
    return (exact + float(f1_score(right, chosen, average="macro", zero_division=0))) / 2


plugin = TfidfLogistic()
