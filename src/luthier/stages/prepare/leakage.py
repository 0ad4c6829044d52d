"""The leakage gate: a test set that shares near-duplicates or groups with training does not measure what it promises."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from luthier.core.errors import GateRefused
from luthier.core.types import Finding
from luthier.stages.prepare.duplicates import Duplicates
from luthier.stages.prepare.splits import TEST, TRAIN, VALIDATION
from luthier.stages.prepare.spool import Spool

LISTED = 10_000
"""Pairs that are kept for ``leakage.json``, the surest first."""


class Overlap(NamedTuple):
    """What two given sets share: rows of the second set with an exact or near twin in the first, shared groups, and the pairs."""

    rows: int
    of: int
    exact: int
    near: int
    groups: int
    pairs: list[dict[str, Any]]


def overlap(spool: Spool, duplicates: Duplicates, titles: list[str], first: int, second: int) -> Overlap:
    """What the set of role ``second`` shares with the set of role ``first``."""
    roles = spool.roles
    ours, theirs = roles == first, roles == second
    if not (ours.any() and theirs.any()):
        return Overlap(0, int(theirs.sum()), 0, 0, 0, [])
    pairs, similarity = duplicates.pairs, duplicates.similarity
    left, right = roles[pairs[:, 0]], roles[pairs[:, 1]]
    across = ((left == first) & (right == second)) | ((left == second) & (right == first))
    pairs, similarity = pairs[across], similarity[across]
    # Put the row of the second set last, whatever the order of reading was.
    swap = roles[pairs[:, 0]] == second
    pairs = np.where(swap[:, None], pairs[:, ::-1], pairs)
    # Equal rows are told by their ids: in a large bucket of near-duplicates a row need not have met its twin.
    twins = _twins(spool.ids, ours, theirs)
    exact = np.zeros(len(roles), dtype=bool)
    exact[twins[:, 1]] = True
    alike = theirs & np.isin(spool.ids, spool.ids[pairs[:, 1]])
    near = alike & ~exact
    groups = _twins(spool.groups, ours & (spool.groups != 0), theirs)
    shared = np.zeros(len(roles), dtype=bool)
    shared[groups[:, 1]] = True
    groups = groups[np.unique(spool.groups[groups[:, 1]], return_index=True)[1]]
    others = spool.ids[pairs[:, 0]] != spool.ids[pairs[:, 1]]
    pairs, similarity = pairs[others], similarity[others]
    order = np.lexsort((pairs[:, 0], pairs[:, 1], -similarity))[:LISTED]
    listed = [_listed(spool, titles, pair, 1.0, exact=True) for pair in twins[:LISTED]]
    listed += [_listed(spool, titles, pair, float(s), exact=False) for pair, s in zip(pairs[order], similarity[order], strict=True)]
    listed += [{**_listed(spool, titles, pair, 0.0, exact=False), "group": True} for pair in groups[:LISTED]]
    rows = int((exact | near | shared).sum())
    return Overlap(rows, int(theirs.sum()), int(exact.sum()), int(near.sum()), len(groups), listed[:LISTED])


def _twins(keys: Any, first: Any, second: Any) -> Any:
    """Pairs [n, 2]: each row of the mask ``second`` [rows] whose key stands in ``first`` [rows], after the first row there that has it."""
    known, where = np.unique(keys[first], return_index=True)
    theirs = np.nonzero(second & np.isin(keys, known))[0]
    return np.stack([np.nonzero(first)[0][where[np.searchsorted(known, keys[theirs])]], theirs], axis=1)


def _listed(spool: Spool, titles: list[str], pair: Any, similarity: float, *, exact: bool) -> dict[str, Any]:
    first, second = (place(spool, titles, int(row)) for row in pair)
    return {"first": first, "second": second, "similarity": round(similarity, 3), "exact": exact}


def place(spool: Spool, titles: list[str], row: int) -> str:
    """``file:line`` of a row."""
    return f"{titles[int(spool.files[row])]}:{int(spool.lines[row])}"


def judge(spool: Spool, duplicates: Duplicates, titles: list[str]) -> tuple[Overlap, list[Finding]]:
    """What a given test set shares with training, and findings about the other pairs of given sets."""
    found = overlap(spool, duplicates, titles, TRAIN, TEST)
    findings = []
    for first, second, names in (
        (TRAIN, VALIDATION, "validation rows are also in training"),
        (VALIDATION, TEST, "test rows are also in validation"),
    ):
        shared = overlap(spool, duplicates, titles, first, second)
        if shared.rows:
            text = f"{shared.rows} of {shared.of} {names} ({shared.exact} exact, {shared.near} near, {shared.groups} groups)"
            remedy = "early stopping will look better than it is: remove them, or let prepare split the data"
            findings.append(Finding("warning", "sets_overlap", text, remedy, {"pairs": shared.pairs[:20]}))
    return found, findings


def reasons(found: Overlap) -> list[str]:
    """The verdict in words; empty when nothing is shared."""
    if not found.rows:
        return []
    first = "; ".join(
        f"{pair['second']} ~ {pair['first']} ({'same group' if pair.get('group') else 'equal' if pair['exact'] else pair['similarity']})"
        for pair in found.pairs[:3]
    )
    said = [
        f"{found.rows} of {found.of} test rows are shared with training: "
        f"{found.exact} exact, {found.near} near-duplicates, {found.groups} groups"
    ]
    return [*said, f"first: {first}"]


def refuse(found: Overlap, listed: str) -> GateRefused:
    """The error that stops the stage."""
    message = "leakage: " + "; ".join(reasons(found))
    return GateRefused(
        message, f"remove these rows (the pairs: {listed}), or set prepare.allow_leakage=true to go on and have the report say so"
    )
