"""Near-duplicates against a brute-force count, and splits: shares, stability, groups, small classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tests.stages.prepare._jobs import run, texts, write

from luthier.core.types import content_id
from luthier.stages.prepare import duplicates
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
