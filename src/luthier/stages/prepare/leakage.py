"""The leakage gate: a test set that shares near-duplicates or groups with training does not measure what it promises."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from luthier.core.errors import GateRefused
from luthier.core.types import Finding
from luthier.stages.prepare.duplicates import Duplicates
from luthier.stages.prepare.splits import TEST, TRAIN, VALIDATION
from luthier.stages.prepare.spool import Spool

SHOWN = 200


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
    pairs, similarity = duplicates.pairs, duplicates.similarity
    left, right = roles[pairs[:, 0]], roles[pairs[:, 1]]
    across = ((left == first) & (right == second)) | ((left == second) & (right == first))
    pairs, similarity = pairs[across], similarity[across]
    # Put the row of the second set last, whatever the order of reading was.
    swap = roles[pairs[:, 0]] == second
    pairs = np.where(swap[:, None], pairs[:, ::-1], pairs)
    same = spool.ids[pairs[:, 0]] == spool.ids[pairs[:, 1]]
    theirs = roles == second
    exact = theirs & np.isin(spool.ids, spool.ids[pairs[same, 1]])
    near = theirs & np.isin(spool.ids, spool.ids[pairs[:, 1]]) & ~exact
    groups = np.intersect1d(spool.groups[roles == first], spool.groups[theirs])
    groups = groups[groups != 0]
    shared = theirs & np.isin(spool.groups, groups)
    order = np.lexsort((pairs[:, 0], pairs[:, 1], -similarity))[:SHOWN]
    listed = [
        {"first": place(spool, titles, a), "second": place(spool, titles, b), "similarity": round(float(s), 3), "exact": bool(e)}
        for (a, b), s, e in zip(pairs[order].tolist(), similarity[order], same[order], strict=True)
    ]
    for group in groups[: SHOWN - len(listed)].tolist():
        a = int(np.nonzero((roles == first) & (spool.groups == group))[0][0])
        b = int(np.nonzero(theirs & (spool.groups == group))[0][0])
        listed.append(
            {"first": place(spool, titles, a), "second": place(spool, titles, b), "similarity": 0.0, "exact": False, "group": True}
        )
    return Overlap(int((exact | near | shared).sum()), int(theirs.sum()), int(exact.sum()), int(near.sum()), len(groups), listed)


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
        message, f"remove these rows (all pairs: {listed}), or set prepare.allow_leakage=true to go on and have the report say so"
    )
