"""Decides which split each row belongs to, from its content: seeded, stratified, and stable when rows are added later.

Every row has a key in [0, 1): the hash of its group, or of its content id. Rows of one group and near-duplicates of each other form a unit,
which goes where its smallest key says. Since keys do not depend on other rows, new rows move no old ones; the exceptions are a unit that
gains a new near-duplicate, and classes so small that a correction has to place them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from luthier.core.plan import PreparePlan
from luthier.core.types import SPLITS
from luthier.stages.prepare.duplicates import Duplicates, Signatures, components, same_as_first
from luthier.stages.prepare.spool import Spool

DROPPED = -1
TRAIN, VALIDATION, TEST = range(3)
_ENOUGH_UNITS = 10
"""A class with as many units gets one into validation and test even if chance gave it none."""
_TRAINING_ROWS_COMPARED = 2000
"""Of a unit that was cut: with more training rows, each row held out is compared with a sample of them."""
_PAIRS_COMPARED = 20_000_000
_PAIRS_AT_ONCE = 500_000


class Splits(NamedTuple):
    """``split`` [rows] int8: index into SPLITS, or -1 for a row left out; then what was left out and why; conflicts are row numbers.

    ``units_sampled`` of the ``units_broken`` are so large that not every pair across their cut was compared. ``unseen`` are numbers of
    validation rows that were left out because training lacks their label.
    """

    split: Any
    exact_dropped: int
    straddling_dropped: int
    conflicts: list[tuple[int, int]]
    units_broken: int
    units_sampled: int
    unseen: list[int]


def keys(values: Any, seed: int) -> Any:
    """Keys [rows] in [0, 1) of 64-bit hashes: SplitMix64 (Steele et al. 2014) keyed by the seed."""
    mixed = values.astype(np.uint64) + np.uint64((seed * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53


def group_or_id(spool: Spool) -> Any:
    """What a row's key is made of [rows] uint64."""
    return np.where(spool.groups != 0, spool.groups, spool.ids)


def _links_of(values: Any, used: Any) -> tuple[Any, Any]:
    """Pairs that join rows with equal values, among the rows ``used``."""
    return used, used[same_as_first(values[used])]


def units_of(spool: Spool, duplicates: Duplicates) -> Any:
    """Unit number of each row [rows]: near-duplicates and rows of one group are one unit."""
    grouped = np.nonzero(spool.groups)[0]
    if not len(grouped):
        return duplicates.near
    left, right = _links_of(spool.groups, grouped)
    clusters = int(duplicates.near.max()) + 1
    return components(clusters, duplicates.near[left], duplicates.near[right])[duplicates.near]


def _break_giants(units: Any, spool: Spool, own: Any, smallest_share: float) -> tuple[Any, list[Any]]:
    """Units too large for a small split are cut into their groups (or contents); returns the units and the own rows of each cut one."""
    sizes = np.bincount(units[own], minlength=int(units.max()) + 1)
    giants = np.nonzero(sizes > max(50, 0.5 * smallest_share * own.sum()))[0]
    if not len(giants):
        return units, []
    inside = np.isin(units, giants)
    broken = units.copy()
    broken[inside] = int(units.max()) + 1 + same_as_first(group_or_id(spool))[inside]
    return same_as_first(broken), [np.nonzero(own & (units == giant))[0] for giant in giants.tolist()]


def decide(spool: Spool, duplicates: Duplicates, signatures: Signatures, plan: PreparePlan) -> Splits:
    """The split of every row. Rows that were given as validation or test stay there; the rest is cut as the plan says."""
    given = [bool((spool.roles == role).any()) for role in range(3)]
    split = spool.roles.astype(np.int8)
    own = spool.roles == TRAIN
    shares = (0.0 if given[VALIDATION] else plan.validation_share, 0.0 if given[TEST] else plan.test_share)
    broken: list[Any] = []
    straddling = sampled = 0
    if sum(shares) > 0:
        units, broken = _break_giants(units_of(spool, duplicates), spool, own, min(share for share in shares if share > 0))
        lowest = np.full(int(units.max()) + 1, 2.0)
        np.minimum.at(lowest, units[own], keys(group_or_id(spool), plan.seed)[own])
        # Validation takes the low end, test the end above it: a test set is the same whether or not validation is split off.
        key = lowest[units]
        cut = np.where(key < shares[1], TEST, np.where(key < sum(shares), VALIDATION, TRAIN)).astype(np.int8)
        split[own] = cut[own]
        _correct(split, spool, units, key, own, shares)
        if broken:
            straddling = _leave_out_straddling(split, duplicates, own)
            for rows in broken:
                left_out, partly = _leave_out_similar(split, rows, duplicates.first, signatures)
                straddling, sampled = straddling + left_out, sampled + partly
    conflicts = _conflicts(spool, duplicates)
    exact = _drop_exact(split, spool, duplicates, conflicts) if plan.drop_duplicates else 0
    unseen = _leave_out_unseen(split, spool)
    return Splits(split, exact, straddling, conflicts, len(broken), sampled, unseen)


def _correct(split: Any, spool: Spool, units: Any, key: Any, own: Any, shares: tuple[float, float]) -> None:
    """Small classes: every class is in training; one with ten units or more is in validation and test too. Changes ``split``."""
    codes_of: dict[str, list[int]] = {}
    for code in np.unique(spool.strata_of[own]).tolist():
        for label in spool.labels[code]:
            codes_of.setdefault(label, []).append(code)
    wide = len(spool.strata)
    counts = np.stack([np.bincount(spool.strata_of[own & (split == number)], minlength=wide) for number in range(3)])
    for codes in codes_of.values():
        have = counts[:, codes].sum(axis=1)
        lacking = [number for number in (TRAIN, TEST, VALIDATION) if not have[number] and (number == TRAIN or shares[number - 1] > 0)]
        for wanted in lacking if have.sum() >= _ENOUGH_UNITS or TRAIN in lacking else []:
            members = np.nonzero(own & np.isin(spool.strata_of, codes))[0]
            if wanted == TRAIN:
                rows = members
            elif len(np.unique(units[members])) >= _ENOUGH_UNITS:
                rows = members[split[members] == TRAIN]
            else:
                continue
            if len(rows):
                pick = rows[np.argmax(key[rows])] if wanted == TRAIN else rows[np.argmin(key[rows])]
                moved = own & (units == units[pick])
                for number in range(3):
                    counts[number] -= np.bincount(spool.strata_of[moved & (split == number)], minlength=wide)
                split[moved] = wanted
                counts[wanted] += np.bincount(spool.strata_of[moved], minlength=wide)


def _leave_out_straddling(split: Any, duplicates: Duplicates, own: Any) -> int:
    """Where a giant unit was cut, rows of validation and test that have a near-duplicate in training are left out; how many."""
    rows = len(split)
    home = np.full(rows, 9, dtype=np.int8)
    np.minimum.at(home, duplicates.first[own], split[own])
    bad = own & (split != home[duplicates.first])
    if len(duplicates.pairs):
        left, right = duplicates.first[duplicates.pairs[:, 0]], duplicates.first[duplicates.pairs[:, 1]]
        apart = (home[left] != home[right]) & (home[left] < 9) & (home[right] < 9)
        worse = np.where(home[left] > home[right], left, right)[apart]
        marked = np.zeros(rows, dtype=bool)
        marked[worse] = True
        bad |= own & marked[duplicates.first]
    split[bad] = DROPPED
    return int(bad.sum())


def _leave_out_similar(split: Any, rows: Any, first: Any, signatures: Signatures) -> tuple[int, bool]:
    """Rows of validation and test that are much like a training row of the same cut unit are left out, whether or not the search for
    near-duplicates met that pair: in a large bucket it looks at a few neighbours only. Returns how many, and whether some pairs of
    the unit were not looked at. ``rows``: those of the unit.
    """
    train = np.unique(first[rows[split[rows] == TRAIN]])
    held_rows = rows[split[rows] > TRAIN]
    held = np.setdiff1d(first[held_rows], train)
    most = max(50, min(_TRAINING_ROWS_COMPARED, _PAIRS_COMPARED // max(1, len(held))))
    sampled = len(train) > most
    alike = np.zeros(len(split), dtype=bool)
    if sampled:
        both = np.concatenate([train, held])
        for met in signatures.meeting(both, np.repeat([TRAIN, TEST], [len(train), len(held)])):
            met = met[~alike[met[:, 1]]]
            alike[met[signatures.similarity(met[:, 0], met[:, 1]) >= signatures.threshold, 1]] = True
        train = train[np.arange(most) * len(train) // most]
    at = 0
    while at < len(train):
        live = held[~alike[held]]
        some = train[at : at + max(1, _PAIRS_AT_ONCE // max(1, len(live)))]
        at += len(some)
        near = signatures.similarity(np.tile(live, len(some)), np.repeat(some, len(live))) >= signatures.threshold
        alike[live[near.reshape(len(some), len(live)).any(axis=0)]] = True
    bad = held_rows[alike[first[held_rows]]]
    split[bad] = DROPPED
    return len(bad), sampled


def _leave_out_unseen(split: Any, spool: Spool) -> list[int]:
    """Validation rows with a label that no training row has are left out: training could not be judged on them. Their numbers."""
    strata = np.unique(spool.strata_of[split == TRAIN]).tolist()
    seen = {label for code in strata for label in spool.labels[code]}
    odd = [code for code in np.unique(spool.strata_of[split == VALIDATION]).tolist() if not seen.issuperset(spool.labels[code])]
    rows = np.nonzero((split == VALIDATION) & np.isin(spool.strata_of, odd))[0]
    split[rows] = DROPPED
    return [int(row) for row in rows]


def _conflicts(spool: Spool, duplicates: Duplicates) -> list[tuple[int, int]]:
    """Rows (first, other) that have the same content and another label."""
    other = np.nonzero(spool.strata_of != spool.strata_of[duplicates.first])[0]
    return [(int(duplicates.first[row]), int(row)) for row in other.tolist()]


def _drop_exact(split: Any, spool: Spool, duplicates: Duplicates, conflicts: list[tuple[int, int]]) -> int:
    """Keeps the first of equal rows in each split (of conflicting ones: the first with the most frequent label); how many were dropped.

    A test set that was given stays as it was given: figures on a published one could not be compared otherwise.
    """
    place = duplicates.first * 4 + split
    first_there = same_as_first(place)
    keep = (first_there == np.arange(len(split))) & (split != DROPPED)
    if conflicts:
        firsts = np.unique([pair[0] for pair in conflicts])
        members = np.nonzero(np.isin(duplicates.first, firsts) & (split != DROPPED))[0]
        groups: dict[int, list[int]] = {}
        for row in members.tolist():
            groups.setdefault(int(place[row]), []).append(row)
        for rows in groups.values():
            labels = [int(spool.strata_of[row]) for row in rows]
            best = max(rows, key=lambda row: (labels.count(int(spool.strata_of[row])), -row))
            keep[rows] = False
            keep[best] = True
    dropped = (split != DROPPED) & ~keep & (spool.roles != TEST)
    split[dropped] = DROPPED
    return int(dropped.sum())


def counts(split: Any) -> dict[str, int]:
    """Rows in each split."""
    return {name: int((split == number).sum()) for number, name in enumerate(SPLITS)}
