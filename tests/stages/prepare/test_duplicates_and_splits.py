"""Near-duplicates against a brute-force count, and splits: shares, stability, groups, small classes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from tests.stages.prepare._jobs import run, texts, write

from luthier.core.events import NoteSaid
from luthier.core.plan import PreparePlan
from luthier.core.types import content_id
from luthier.stages.prepare import duplicates, leakage, splits
from luthier.stages.prepare.spool import Spool
from luthier.store import datasets, files


def _pieces(text: str) -> set[bytes]:
    data = duplicates.normalised(text).encode().ljust(5, b"\0")
    return {data[i : i + 5] for i in range(len(data) - 4)}


def test_estimates_and_pairs_agree_with_exact_jaccard(tmp_path: Path) -> None:
    some = texts(300)
    some += [text + " now" for text in some[:50]] + [text.replace(" is ", " was ") for text in some[50:100]] + ["", "a", "ab"]
    signatures = duplicates.Signatures(tmp_path, 0.8)
    for start in range(0, len(some), 100):
        signatures.add(some[start : start + 100])
    signatures.close()
    ids = np.array([int(content_id({"text": text}), 16) for text in some], dtype=np.uint64)
    found = duplicates.find_duplicates(ids, np.zeros(len(some), dtype=np.uint8), signatures)
    sets = [_pieces(text) for text in some]
    exact = {
        (a, b): len(sets[a] & sets[b]) / len(sets[a] | sets[b])
        for a in range(len(some))
        for b in range(a + 1, len(some))
        if ids[a] != ids[b]
    }
    pairs = {tuple(pair): similarity for pair, similarity in zip(found.pairs.tolist(), found.similarity.tolist(), strict=True)}
    assert all(abs(exact[pair] - similarity) < 0.15 for pair, similarity in pairs.items())
    sure = {pair for pair, similarity in exact.items() if similarity >= 0.9}
    assert len(sure) >= 40
    assert sure <= set(pairs)
    assert all(found.near[a] == found.near[b] for a, b in sure)
    assert not [pair for pair in pairs if exact[pair] < 0.65]


def _sides(folder: Path) -> dict[str, str]:
    return {e.inputs["text"]: split for split in ("train", "validation", "test") for e in datasets.read_split(folder / "out", split)}  # type: ignore[arg-type]


def test_new_rows_move_no_old_ones_and_seeds_differ(tmp_path: Path) -> None:
    rows = [(text, "abcd"[n % 4]) for n, text in enumerate(texts(800))]
    run(tmp_path / "few", {"train": [str(write(tmp_path / "few.csv", rows[:400]))]})
    run(tmp_path / "all", {"train": [str(write(tmp_path / "all.csv", rows[::-1]))]})
    run(tmp_path / "seed", {"train": [str(tmp_path / "all.csv")]}, seed=99)
    few, every, other = _sides(tmp_path / "few"), _sides(tmp_path / "all"), _sides(tmp_path / "seed")
    assert all(every[text] == side for text, side in few.items())
    assert sum(every[text] != side for text, side in other.items()) > 100
    for split in ("validation", "test"):
        assert 50 <= sum(side == split for side in every.values()) <= 115


def test_near_duplicates_stay_on_one_side(tmp_path: Path) -> None:
    pairs = [(text, text + " !") for text in texts(150)]
    rows = [(text, "ab"[n % 2]) for n, pair in enumerate(pairs) for text in pair]
    summary, _ = run(tmp_path / "w", {"train": [str(write(tmp_path / "a.csv", rows))]})
    sides = _sides(tmp_path / "w")
    assert summary["duplicates"]["near"] >= 140
    assert sum(sides[a] != sides[b] for a, b in pairs) <= 10
    report = files.read_json(tmp_path / "w" / "out" / "report.json")
    assert report["leakage"]["passed"] is True
    assert report["leakage"]["straddling_pairs"] == 0


def test_one_text_in_every_group_does_not_join_them_all(tmp_path: Path) -> None:
    rows = [(text, "ab"[n % 2], f"c{n}") for n, text in enumerate(texts(300))]
    rows += [("ok thanks a lot, bye", "b", f"c{n}") for n in range(300)]
    summary, events = run(
        tmp_path / "w", {"train": [str(write(tmp_path / "a.csv", rows, ("text", "label", "conversation")))], "group": "conversation"}
    )
    assert summary["splits"]["test"] > 10
    assert summary["splits"]["validation"] > 10
    assert any("were cut" in str(event.as_json()) for event in events)
    assert files.read_json(tmp_path / "w" / "out" / "report.json")["leakage"]["passed"] is True
    holding = [
        split
        for split in ("train", "validation", "test")
        for e in datasets.read_split(tmp_path / "w" / "out", split)
        if e.inputs["text"].startswith("ok thanks")
    ]  # type: ignore[arg-type]
    assert holding == ["train"]


def test_small_classes_are_in_training_and_larger_ones_everywhere(tmp_path: Path) -> None:
    some = texts(400)
    rows = (
        [(text, "big") for text in some[:340]] + [(text, "small") for text in some[340:343]] + [(text, "middle") for text in some[343:355]]
    )
    for seed in range(3):
        run(tmp_path / f"w{seed}", {"train": [str(write(tmp_path / "a.csv", rows))]}, seed=seed)
        labels = files.read_json(tmp_path / f"w{seed}" / "out" / "report.json")["labels"]
        assert labels["train"]["small"] >= 1
        assert all(labels[split]["middle"] >= 1 for split in ("train", "validation", "test"))


def test_in_a_bucket_of_both_roles_each_test_row_meets_training_rows() -> None:
    roles = np.array([0] * 100 + [1] * 30 + [2] * 40 + [0] * 5 + [2] * 3, dtype=np.uint8)
    hashes = np.array([7] * 170 + [9] * 8, dtype=np.uint64)
    rows = np.arange(len(roles)) * 10
    pairs = duplicates._candidates(duplicates._in_runs(hashes, rows, roles))
    role_of, hash_of = dict(zip(rows.tolist(), roles.tolist(), strict=True)), dict(zip(rows.tolist(), hashes.tolist(), strict=True))
    met: dict[tuple[int, int], set[int]] = {}
    for one, other in pairs.tolist():
        assert one != other
        assert hash_of[one] == hash_of[other]
        for a, b in ((one, other), (other, one)):
            met.setdefault((a, role_of[b]), set()).add(b)
    for row, role in role_of.items():
        for earlier in range(role):
            there = sum(1 for other in role_of if role_of[other] == earlier and hash_of[other] == hash_of[row])
            assert len(met.get((row, earlier), ())) >= min(16, there), (row, role, earlier)
    partners = {one // 10 for one, other in pairs.tolist() if other == 1690 and role_of[one] == 0}
    assert max(partners) > 90, "spread over the whole bucket, not its first rows only"


def _sets(roles: list[int], ids: list[int], groups: list[int] | None = None) -> Spool:
    """As much of a spool as the gate reads; row n stands in line n of file 0."""
    count = len(roles)
    made = SimpleNamespace(
        roles=np.array(roles, dtype=np.uint8),
        ids=np.array(ids, dtype=np.uint64),
        groups=np.array(groups or [0] * count, dtype=np.uint64),
        files=np.zeros(count, dtype=np.uint16),
        lines=np.arange(count, dtype=np.uint32),
        rows=count,
    )
    return cast(Spool, made)


def _found(pairs: list[list[int]], similarity: list[float]) -> duplicates.Duplicates:
    return duplicates.Duplicates(None, None, np.array(pairs, dtype=np.int64).reshape(-1, 2), np.array(similarity, dtype=np.float32))


def test_exact_test_rows_are_found_though_no_bucket_paired_them() -> None:
    spool = _sets([0, 0, 0, 2, 2, 2, 2], [11, 12, 13, 13, 14, 13, 12])
    found = leakage.overlap(spool, _found([[1, 4], [0, 3]], [0.95, 0.93]), ["a.csv"], 0, 2)
    assert (found.rows, found.of, found.exact, found.near, found.groups) == (4, 4, 3, 1, 0)
    listed = [(pair["first"], pair["second"], pair["similarity"], pair["exact"]) for pair in found.pairs]
    assert listed == [
        ("a.csv:2", "a.csv:3", 1.0, True), ("a.csv:2", "a.csv:5", 1.0, True), ("a.csv:1", "a.csv:6", 1.0, True),
        ("a.csv:1", "a.csv:4", 0.95, False), ("a.csv:0", "a.csv:3", 0.93, False),
    ]  # fmt: skip
    assert leakage.reasons(found)[1].startswith("first: a.csv:3 ~ a.csv:2 (equal)")


def test_shared_groups_are_counted_and_named_once() -> None:
    spool = _sets([0, 0, 0, 2, 2, 2], [1, 2, 3, 4, 5, 6], [8, 9, 0, 9, 9, 0])
    found = leakage.overlap(spool, _found([], []), ["a.csv"], 0, 2)
    assert (found.rows, found.exact, found.near, found.groups) == (2, 0, 0, 1)
    assert [(pair["first"], pair["second"], pair["group"]) for pair in found.pairs] == [("a.csv:1", "a.csv:3", True)]


def test_nothing_shared_is_nothing_found() -> None:
    for roles in ([0, 0, 2], [0, 0, 0], [2, 2, 2]):
        assert leakage.overlap(_sets(roles, [1, 2, 3]), _found([], []), ["a.csv"], 0, 2).rows == 0


def test_copies_of_training_rows_among_hundreds_that_are_much_alike(tmp_path: Path) -> None:
    start = "".join(f"the same long opening, part {n}, of every message that customers send us from the form. " for n in range(9))
    rows = [(f"{start}{n:03d}", "ab"[n % 2]) for n in range(600)]
    train, test = rows[:560], rows[:560:28] + rows[560:]
    data = {"train": [str(write(tmp_path / "train.csv", train))], "test": [str(write(tmp_path / "test.csv", test))]}
    summary, _ = run(tmp_path / "w", data, allow_leakage=True)
    assert summary["leakage"] == {"passed": False, "rows": 60, "exact": 20, "near": 40, "groups": 0}
    pairs = files.read_json(tmp_path / "w" / "out" / "report.json")["leakage"]["pairs"]
    assert [(pair["first"], pair["second"]) for pair in pairs[:2]] == [("train.csv:2", "test.csv:2"), ("train.csv:30", "test.csv:3")]


def _one_cluster(folder: Path, some: list[str]) -> tuple[Spool, duplicates.Duplicates, duplicates.Signatures]:
    """Rows that are one cluster (as by a chain), of which no pair is recorded: what a search among a few neighbours may leave."""
    count = len(some)
    spool = _sets([0] * count, [int(content_id({"text": text}), 16) for text in some])
    for name, value in {"strata_of": np.arange(count) % 2, "strata": ["a", "b"], "labels": [("a",), ("b",)]}.items():
        setattr(spool, name, value)
    signatures = duplicates.Signatures(folder, 0.9)
    signatures.add(some)
    signatures.close()
    found = duplicates.Duplicates(np.arange(count), np.zeros(count, dtype=np.int64), np.empty((0, 2), dtype=np.int64), np.empty(0))
    return spool, found, signatures


def _still_alike(decided: splits.Splits, signatures: duplicates.Signatures) -> int:
    held, train = (np.nonzero(decided.split > 0)[0], np.nonzero(decided.split == 0)[0])
    pairs = np.array([(a, b) for a in held.tolist() for b in train.tolist()])
    return int((signatures.similarity(pairs[:, 0], pairs[:, 1]) >= signatures.threshold).sum())


@pytest.mark.parametrize("most", [2000, 60])
def test_rows_of_a_cut_cluster_straddle_nothing_though_no_pair_was_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(splits, "_TRAINING_ROWS_COMPARED", most)
    twins = [text + ending for text in texts(300) for ending in ("", " !")]
    spool, found, signatures = _one_cluster(tmp_path, twins)
    decided = splits.decide(spool, found, signatures, PreparePlan())
    assert (decided.units_broken, decided.units_sampled) == (1, int(most == 60))
    assert 60 < decided.straddling_dropped < 200, "about four in five of those that were held out"
    assert (decided.split > 0).sum() > 10
    assert _still_alike(decided, signatures) == 0


def test_the_report_says_when_a_sample_was_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "_TRAINING_ROWS_COMPARED", 50)
    start = "the same long opening of every message that our customers send us from the form on our page, again and again, "
    rows = [(start + text.split()[-1], "ab"[n % 2]) for n, text in enumerate(texts(300))]
    rows += [(text, "ab"[n % 2]) for n, text in enumerate(texts(300, seed=1))]
    _, events = run(tmp_path / "w", {"train": [str(write(tmp_path / "a.csv", rows))]}, near_duplicates=0.7)
    assert any("a sample of the pairs was compared" in event.text for event in events if isinstance(event, NoteSaid))
    report: dict[str, Any] = files.read_json(tmp_path / "w" / "out" / "report.json")
    assert report["leakage"]["units_sampled"] == report["leakage"]["units_broken"] == 1
    assert "a sample of the pairs was compared" in (tmp_path / "w" / "out" / "report.html").read_text()
