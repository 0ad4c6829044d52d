"""How far two people agree: Cohen's kappa (1960), the rows on which they differ, and for spans the F1 of one against the other.

Of spans there is no fixed number of things to agree upon, so that kappa over them is not defined; as that number grows it tends to F1
(Hripcsak & Rothschild 2005, doi 10.1197/jamia.M1733). Kappa over the words of the messages is given beside it.
"""

from __future__ import annotations

import itertools
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from luthier.labelling.log import State
from luthier.labelling.values import Kind, Value

MOST = 500
"""Disagreements that are listed for a pair."""

_WORD = re.compile(r"\w+|[^\w\s]")


def pairs(kind: Kind, state: State, texts: Mapping[str, str]) -> list[dict[str, Any]]:
    """For each two authors who labelled the same rows: ``{authors, rows, agreed, share, kappa, ..., disagreements}``.

    ``kappa`` is ``null`` where it is not defined (both always said the same one thing). ``kappa_by_label`` for several labels, ``f1`` for
    spans.
    """
    found = []
    for first, second in itertools.combinations(state.authors, 2):
        both = [row for row, said in state.by_row.items() if row in texts and {first, second} <= state.labels(row).keys() and len(said) > 1]
        if both:
            said = [(state.labels(row)[first], state.labels(row)[second]) for row in both]
            found.append(_pair(kind, (first, second), both, said, texts, state))
    return found


def _pair(
    kind: Kind, authors: tuple[str, str], rows: Sequence[str], said: Sequence[tuple[Value, Value]], texts: Mapping[str, str], state: State
) -> dict[str, Any]:
    differ = [(row, one, other) for row, (one, other) in zip(rows, said, strict=True) if one != other]
    listed = [
        {"row": row, "text": texts[row], "labels": dict(zip(authors, (one, other), strict=True)), "settled": row in state.settled}
        for row, one, other in differ[:MOST]
    ]
    count = len(rows) - len(differ)
    head = {"authors": list(authors), "rows": len(rows), "agreed": count, "share": count / len(rows)}
    return head | _figures(kind, said, [texts[row] for row in rows]) | {"disagreements": listed}


def _figures(kind: Kind, said: Sequence[tuple[Value, Value]], texts: Sequence[str]) -> dict[str, Any]:
    if kind == "label":
        return {"kappa": kappa([one for one, _ in said], [other for _, other in said])}
    if kind == "labels":
        names = sorted({name for pair in said for value in pair for name in value})
        by_label = {name: kappa([name in one for one, _ in said], [name in other for _, other in said]) for name in names}
        defined = [value for value in by_label.values() if value is not None]
        return {"kappa": sum(defined) / len(defined) if defined else None, "kappa_by_label": by_label}
    words = [tags for text, pair in zip(texts, said, strict=True) for tags in zip(*(_tags(text, spans) for spans in pair), strict=True)]
    return {"kappa": kappa([one for one, _ in words], [other for _, other in words]), "f1": span_f1(said)}


def kappa(first: Sequence[Any], second: Sequence[Any]) -> float | None:
    """Cohen's kappa of two lists of answers (scikit-learn); ``None`` where chance alone would make them agree always."""
    from sklearn.metrics import cohen_kappa_score

    if not first:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = float(cohen_kappa_score(list(map(str, first)), list(map(str, second))))
    return value if math.isfinite(value) else None


def span_f1(said: Sequence[tuple[Value, Value]]) -> float | None:
    """F1 of spans with the same start, end and label; ``None`` when neither marked anything."""
    sets = [tuple({(span["start"], span["end"], span["label"]) for span in spans} for spans in pair) for pair in said]
    marked = sum(len(one) + len(other) for one, other in sets)
    return 2 * sum(len(one & other) for one, other in sets) / marked if marked else None


def _tags(text: str, spans: Sequence[Mapping[str, Any]]) -> list[str]:
    """The label of each word ("" outside)."""
    return [
        next((str(span["label"]) for span in spans if word.start() < span["end"] and span["start"] < word.end()), "")
        for word in _WORD.finditer(text)
    ]  # fmt: skip
