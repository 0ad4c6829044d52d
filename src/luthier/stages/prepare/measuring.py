"""Measures the prepared data: the figures of the report, and the profile that the monitor compares traffic with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from luthier.core.hooks import worded
from luthier.core.ports import Task
from luthier.core.types import SPLITS, Example
from luthier.stages.prepare import inspection, leakage, splits, writing

if TYPE_CHECKING:
    from luthier.stages.prepare.pipeline import Preparation

SAMPLE = 20_000
"""Rows whose tokens and words are counted; every row of a smaller training set is."""

COUNTED_CHARS = 20_000
"""Of each text, how much its words are counted in; the rest of a longer one is a document, and no memory should depend on it."""

_OPENING_CHARS = 2000
REFERENCE = 1000
_SAMPLE_SEED = 104_729


def _sample(done: Preparation, most: int) -> Any:
    """Row numbers of training rows, chosen by content: adding rows later changes few of them."""
    rows = np.nonzero(done.decided.split == splits.TRAIN)[0]
    if len(rows) > most:
        keys = splits.keys(done.spool.ids[rows], _SAMPLE_SEED)
        rows = np.sort(rows[np.argpartition(keys, most)[:most]])
    return rows


class _Look:
    """What is kept of the sampled rows: never a whole text."""

    def __init__(self, examples: Iterable[Example], task: Task, base: str) -> None:
        self.ids: list[str] = []
        self.openings: list[str] = []
        self.words = inspection.Words()
        self.lengths, self.unit = inspection.token_lengths(self._texts(examples, task), base)

    def _texts(self, examples: Iterable[Example], task: Task) -> Iterator[str]:
        for example in examples:
            text = worded(task, example)
            self.ids.append(example.id)
            self.openings.append(text[:_OPENING_CHARS])
            self.words.add(text[:COUNTED_CHARS])
            yield text


def measure(done: Preparation) -> dict[str, Any]:
    """Everything the report shows, as JSON. Counts are of all rows; tokens, words and languages of the sample."""
    spool, split = done.spool, done.decided.split
    rows = _sample(done, SAMPLE)
    look = _Look(writing.pick(spool, rows), done.task, done.job.inputs.get("base", ""))
    lengths, in_order = look.lengths, np.argsort(splits.keys(spool.ids[rows], _SAMPLE_SEED), kind="stable")
    limit = int(done.schema.get("max_tokens", 512))
    labels = {name: spool.label_counts(split == number) for number, name in enumerate(SPLITS)}
    return {
        "task": done.plan.task,
        "files": [asdict(fact) for fact in done.reader.facts],
        "rows": sum(fact.rows for fact in done.reader.facts),
        "refused": sum(fact.refused for fact in done.reader.facts),
        "masking": {"on": done.plan.prepare.mask, "counts": dict(sorted(done.masker.counts.items()))},
        "duplicates": _duplicates(done),
        "splits": splits.counts(split),
        "labels": labels,
        "merged_labels": done.merged,
        "lengths": {
            "unit": look.unit,
            "rows": len(rows),
            "histogram": inspection.histogram(lengths),
            "quantiles": {str(q): float(np.quantile(lengths, q)) if len(lengths) else 0.0 for q in (0.5, 0.9, 0.95, 0.99, 0.995, 1.0)},
            "truncation": {
                str(most): round(float((lengths > most).mean()), 6) if len(lengths) else 0.0 for most in sorted({32, 64, 128, 256, limit})
            },
        },
        "languages": inspection.languages([look.openings[number] for number in in_order[: inspection.LANGUAGE_SAMPLE].tolist()]),
        "vocabulary": {"words": look.words.frequent(), "count": look.words.count},
        "suspicious": _suspicious(done),
        "leakage": _leakage(done),
        "findings": [asdict(finding) for finding in done.findings],
        "reference": [look.ids[number] for number in in_order[:REFERENCE].tolist()],
    }


def _duplicates(done: Preparation) -> dict[str, Any]:
    duplicates, spool = done.duplicates, done.spool
    exact = int((duplicates.first != np.arange(spool.rows)).sum())
    contents = np.unique(duplicates.first)
    near = len(contents) - len(np.unique(duplicates.near[contents]))
    similar = (
        duplicates.pairs[spool.ids[duplicates.pairs[:, 0]] != spool.ids[duplicates.pairs[:, 1]]]
        if len(duplicates.pairs)
        else duplicates.pairs
    )
    return {
        "threshold": done.plan.prepare.near_duplicates,
        "exact": exact,
        "near": near,
        "exact_dropped": done.decided.exact_dropped,
        "straddling_dropped": done.decided.straddling_dropped,
        "pairs": [[leakage.place(spool, done.titles, int(row)) for row in pair] for pair in similar[:20]],
    }


def _leakage(done: Preparation) -> dict[str, Any]:
    """The verdict. Splits that were made here share nothing by construction; that is checked again on what was decided."""
    found, split, duplicates = done.overlap, done.decided.split, done.duplicates
    given = bool(done.plan.data.test)
    straddling = 0
    if len(duplicates.pairs):
        sides = np.stack([split[duplicates.pairs[:, 0]], split[duplicates.pairs[:, 1]]], axis=1)
        own = (done.spool.roles[duplicates.pairs] == 0).all(axis=1)
        straddling = int((own & (sides[:, 0] != sides[:, 1]) & (sides >= 0).all(axis=1)).sum())
    groups = done.spool.groups
    shared = set(groups[(split == splits.TRAIN) & (groups != 0)].tolist()) & set(groups[(split == splits.TEST) & (groups != 0)].tolist())
    return {
        "test_given": given,
        "passed": not found.rows if given else not straddling and not shared,
        "allowed": bool(given and found.rows and done.plan.prepare.allow_leakage),
        "rows": found.rows,
        "of": found.of,
        "exact": found.exact,
        "near": found.near,
        "groups": found.groups if given else len(shared),
        "straddling_pairs": straddling,
        "units_broken": done.decided.units_broken,
        "units_sampled": done.decided.units_sampled,
        "pairs": found.pairs[:50],
    }


def _suspicious(done: Preparation) -> dict[str, Any]:
    """How many rows are odd in which way, and the first few of each."""
    spool = done.spool
    flags = spool.flags | (inspection.overlong(spool.chars) * inspection.LONG).astype(np.uint8)
    counts = {name: int(((flags >> number) & 1).sum()) for number, name in enumerate(inspection.SUSPICIONS)}
    firsts = [np.nonzero((flags >> number) & 1)[0][:5] for number in range(len(inspection.SUSPICIONS))]
    rows = np.unique(np.concatenate(firsts))
    shown = [
        {
            "place": leakage.place(spool, done.titles, row),
            "kinds": [name for number, name in enumerate(inspection.SUSPICIONS) if flags[row] >> number & 1],
            "text": done.task.text(example)[:160],
        }
        for row, example in zip(rows.tolist(), writing.pick(spool, rows), strict=True)
    ]
    return {"counts": counts, "rows": shown}


def profile(facts: dict[str, Any]) -> dict[str, Any]:
    """What the monitor needs: token lengths, label shares, frequent words, languages, and the ids of 1,000 reference rows."""
    train = facts["labels"]["train"]
    total = max(1, sum(train.values()))
    return {
        "version": 1,
        "rows": facts["splits"]["train"],
        "tokens": facts["lengths"]["histogram"] | {"unit": facts["lengths"]["unit"]},
        "labels": {label: round(count / total, 8) for label, count in train.items()},
        "vocabulary": dict(facts["vocabulary"]["words"]),
        "languages": facts["languages"],
        "reference": facts["reference"],
    }


def summary(facts: dict[str, Any]) -> dict[str, Any]:
    """The short figures for ``stage.finished``."""
    return {
        "rows": facts["rows"],
        "refused": facts["refused"],
        "masked": facts["masking"]["counts"],
        "duplicates": {"exact": facts["duplicates"]["exact"], "near": facts["duplicates"]["near"]},
        "splits": facts["splits"],
        "labels": len(facts["labels"]["train"]),
        "leakage": {key: facts["leakage"][key] for key in ("passed", "rows", "exact", "near", "groups")},
        "warnings": sum(finding["level"] == "warning" for finding in facts["findings"]),
        "report": "report.html",
    }
