"""The whole stage on small files: what it writes, that it is deterministic, and the gates."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.stages.prepare._jobs import job, run, texts, write

from luthier.core.errors import GateRefused
from luthier.core.events import NoteSaid
from luthier.core.plan import DataPlan, Plan
from luthier.core.types import Example
from luthier.stages import prepare
from luthier.stages.prepare import measuring, spool, writing
from luthier.store import datasets, files


def _file(folder: Path, count: int = 400, name: str = "a.csv") -> Path:
    return write(folder / name, [(text, f"label {number % 4}") for number, text in enumerate(texts(count))])


def test_writes_every_file_of_a_dataset(tmp_path: Path) -> None:
    summary, events = run(tmp_path / "w", {"train": [str(_file(tmp_path))]})
    out = tmp_path / "w" / "out"
    assert {path.name for path in out.iterdir()} == {
        "train.parquet", "validation.parquet", "test.parquet", "refused.jsonl", "schema.json", "report.json", "report.html", "profile.json",
    }  # fmt: skip
    assert summary["rows"] == 400
    assert summary["labels"] == 4
    assert sum(summary["splits"].values()) == 400
    assert 15 <= summary["splits"]["test"] <= 70
    rows = [example for split in ("train", "validation", "test") for example in datasets.read_split(out, split)]
    assert sorted(example.inputs["text"] for example in rows) == sorted(texts(400))
    assert all(example.source.startswith("a.csv:") for example in rows)
    assert files.read_json(out / "schema.json")["labels"] == [f"label {n}" for n in range(4)]
    assert len(files.read_json(out / "profile.json")["reference"]) == summary["splits"]["train"]
    page = (out / "report.html").read_text()
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page
    assert any(event.name == "stage.progressed" for event in events)
    assert not (tmp_path / "w" / "spool").exists()


def test_same_input_gives_same_bytes(tmp_path: Path) -> None:
    path = _file(tmp_path)
    run(tmp_path / "one", {"train": [str(path)]})
    run(tmp_path / "two", {"train": [str(path)]})
    assert files.manifest(tmp_path / "one" / "out") == files.manifest(tmp_path / "two" / "out")


def test_leftovers_of_a_killed_try_are_removed(tmp_path: Path) -> None:
    for name in ("out", "spool"):
        (tmp_path / "w" / name).mkdir(parents=True)
        (tmp_path / "w" / name / "torn").write_text("x")
    run(tmp_path / "w", {"train": [str(_file(tmp_path))]})
    assert not (tmp_path / "w" / "out" / "torn").exists()


@pytest.mark.parametrize("marker", ["spool/signatures.u8", "out/train.parquet"])
def test_killed_and_started_again_is_whole(tmp_path: Path, marker: str) -> None:
    path = _file(tmp_path, 6000)
    (tmp_path / "job.json").write_text(job(tmp_path / "w", {"train": [str(path)]}).model_dump_json())
    code = (
        "import sys\nfrom luthier.core.job import Job\nfrom luthier.stages import prepare\n"
        "prepare.run(Job.model_validate_json(open(sys.argv[1]).read()), lambda e: None)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "job.json")])
    while not (tmp_path / "w" / marker).exists() and child.poll() is None:
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    # What was being written at that moment stands aside under another name; everything under its own name is whole.
    for parquet in (tmp_path / "w" / "out").glob("[a-z]*.parquet"):
        assert datasets.read_split(parquet.parent, parquet.stem)  # type: ignore[arg-type]
    run(tmp_path / "w", {"train": [str(path)]})
    run(tmp_path / "clean", {"train": [str(path)]})
    assert files.manifest(tmp_path / "w" / "out") == files.manifest(tmp_path / "clean" / "out")


def test_too_many_refused_rows_stop_the_stage_and_are_kept(tmp_path: Path) -> None:
    rows = [(text, "a" if n % 2 else "b") for n, text in enumerate(texts(100))]
    for number in range(10):
        rows[number * 5] = ("", "a")
    path = write(tmp_path / "a.csv", rows)
    with pytest.raises(GateRefused, match=r"10 of 100 rows are refused \(10\.0%, the most is 5%\); first: a\.csv:2: text: is empty"):
        run(tmp_path / "w", {"train": [str(path)]})
    kept = [json.loads(line) for line in (tmp_path / "w" / "out" / "refused.jsonl").read_text().splitlines()]
    assert len(kept) == 10
    assert kept[1] == {"file": "a.csv", "line": 7, "field": "text", "reason": "is empty", "remedy": "fill it in or remove the row"}
    summary, _ = run(tmp_path / "w2", {"train": [str(path)]}, max_refused=0.2)
    assert summary["refused"] == 10


def test_test_rows_in_training_are_refused_and_named(tmp_path: Path) -> None:
    some = texts(60)
    path = write(tmp_path / "train.csv", [(text, "ab"[n % 2]) for n, text in enumerate(some)])
    test = write(tmp_path / "test.csv", [(some[4], "a"), (some[9].upper() + "  !", "b"), *((text, "a") for text in texts(20, seed=9))])
    with pytest.raises(
        GateRefused, match=r"2 of 22 test rows are shared with training: 1 exact, 1 near-duplicates.*test\.csv:2 ~ train\.csv:6"
    ) as refused:
        run(tmp_path / "w", {"train": [str(path)], "test": [str(test)]})
    assert "prepare.allow_leakage" in refused.value.hint
    summary, _ = run(tmp_path / "w", {"train": [str(path)], "test": [str(test)]}, allow_leakage=True)
    assert summary["splits"]["test"] == 22
    assert summary["leakage"] == {"passed": False, "rows": 2, "exact": 1, "near": 1, "groups": 0}


def test_shared_groups_are_leakage(tmp_path: Path) -> None:
    rows = [(text, "ab"[n % 2], f"c{n // 3}") for n, text in enumerate(texts(60))]
    path = write(tmp_path / "train.csv", rows, ("text", "label", "conversation_id"))
    test = write(
        tmp_path / "test.csv",
        [(text, "ab"[n % 2], f"c{n + 19}") for n, text in enumerate(texts(10, 5))],
        ("text", "label", "conversation_id"),
    )
    with pytest.raises(GateRefused, match=r"1 of 10 test rows .* 1 groups"):
        run(tmp_path / "w", {"train": [str(path)], "test": [str(test)], "group": "conversation_id"})
    run(tmp_path / "w", {"train": [str(path)], "test": [str(test)]})


def test_exact_duplicates_are_dropped_and_conflicts_named(tmp_path: Path) -> None:
    rows = [(text, "ab"[n % 2]) for n, text in enumerate(texts(60))]
    rows += [(rows[0][0], "b"), (rows[0][0], "b"), rows[1]]
    summary, events = run(tmp_path / "w", {"train": [str(write(tmp_path / "a.csv", rows))]})
    assert summary["duplicates"]["exact"] == 3
    assert sum(summary["splits"].values()) == 60
    kept = {
        e.inputs["text"]: e.target for split in ("train", "validation", "test") for e in datasets.read_split(tmp_path / "w" / "out", split)
    }
    assert kept[rows[0][0]] == "b"
    said = "".join(event.text for event in events if isinstance(event, NoteSaid))
    assert "another label; first: a.csv:2 and a.csv:62" in said
    assert "the more frequent one was kept" in said
    summary, events = run(tmp_path / "w", {"train": [str(tmp_path / "a.csv")]}, drop_duplicates=False)
    assert sum(summary["splits"].values()) == 63
    said = "".join(event.text for event in events if isinstance(event, NoteSaid))
    assert "decide which label is right; all of them were kept" in said
    assert "more frequent" not in said


def test_several_labels_and_other_columns(tmp_path: Path) -> None:
    lines = [{"body": text, "topic": ["a", "b"] if n % 3 else ["c"], "mail": "ann@example.com", "n": n} for n, text in enumerate(texts(90))]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    summary, _ = run(tmp_path / "w", {"train": [str(path)], "map": {"text": "body", "label": "topic"}})
    assert summary["masked"] == {"EMAIL": 90}
    schema = files.read_json(tmp_path / "w" / "out" / "schema.json")
    assert schema["labels"] == ["a", "b", "c"]
    assert schema["multi_label"] is True
    example = datasets.read_split(tmp_path / "w" / "out", "train")[0]
    assert example.columns["mail"] == "<EMAIL_1>"
    assert example.target in (["a", "b"], ["c"])
    assert "example.com" not in "".join(path.read_text(errors="replace") for path in (tmp_path / "w" / "out").glob("*.json*"))


def test_made_data_and_group(tmp_path: Path) -> None:
    summary, _ = run(tmp_path / "w", {"train": ["made:support-messages"], "group": "conversation_id", "rows": 600})
    sides: dict[str, set[str]] = {}
    for split in ("train", "validation", "test"):
        for example in datasets.read_split(tmp_path / "w" / "out", split):  # type: ignore[arg-type]
            sides.setdefault(example.group, set()).add(split)
    assert summary["rows"] == 600
    assert all(len(side) == 1 for group, side in sides.items() if group)


def test_dry_run_writes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [("write to ann@example.com", "a"), ("", "b"), ("hello there", "b")])
    before = sorted(tmp_path.iterdir())
    found = prepare.preview(Plan(name="t", task="text-classification", model="m", data=DataPlan(train=[str(path)])))
    assert found["masked"] == {"EMAIL": 1}
    assert (found["rows"], found["refused"], found["labels"]) == (3, 1, {"a": 1, "b": 1})
    assert found["limit"] == 1000
    assert prepare.preview(Plan(name="t", task="text-classification", model="m", data=DataPlan(train=[str(path)])), 1)["limit"] == 1
    assert found["examples"][0] == "write to <EMAIL_1>"
    assert found["refusals"][0]["line"] == 3
    assert sorted(tmp_path.iterdir()) == before


def test_long_rows_wait_by_their_size_and_are_never_kept_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"text": text, "label": "ab"[n % 2], "page": f"{text.split()[0]} " * 800} for n, text in enumerate(texts(100))]
    rows[7]["text"] += " never" * 5000
    path.write_text("\n".join(map(json.dumps, rows)))
    waiting: list[int] = []
    to_batch = spool.datasets.to_batch

    def counted(examples: Sequence[Example]) -> Any:
        waiting.append(sum(len(example.columns["page"]) for example in examples))
        return to_batch(examples)

    monkeypatch.setattr(spool.datasets, "to_batch", counted)
    monkeypatch.setattr(spool, "CHARS_A_BATCH", 50_000)
    monkeypatch.setattr(measuring, "COUNTED_CHARS", 2000)
    kept: list[Example] = []
    pick = writing.pick
    monkeypatch.setattr(writing, "pick", lambda *given: (kept.append(example) or example for example in pick(*given)))
    summary, _ = run(tmp_path / "few", {"train": [str(path)]}, test_share=0, validation_share=0)
    assert len(waiting) > 5
    assert max(waiting) < 50_000 + 800 * 12
    assert kept
    assert not any(example.columns for example in kept)
    report = files.read_json(tmp_path / "few" / "out" / "report.json")
    assert report["lengths"]["quantiles"]["1.0"] == 13 + 5000, "lengths are of whole texts"
    assert report["vocabulary"]["count"] < 99 * 13 + 2000, "words are of their beginnings"
    written = datasets.read_split(tmp_path / "few" / "out", "train")
    assert [example.columns["page"] for example in written] == [row["page"] for row in rows], "nothing is lost"
    assert summary["splits"]["train"] == 100


def test_full_disk_names_itself_and_leaves_nothing_torn(tmp_path: Path) -> None:
    path = _file(tmp_path, 3000)
    (tmp_path / "job.json").write_text(job(tmp_path / "w", {"train": [str(path)]}).model_dump_json())
    code = (
        "import resource, sys\nfrom luthier.core.job import Job\n"
        "from luthier.core.errors import NoSpace\nfrom luthier.stages import prepare\n"
        "j = Job.model_validate_json(open(sys.argv[1]).read())\nresource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)\n"
        "try:\n    prepare.run(j, lambda e: None)\nexcept NoSpace as error:\n    print(error, '|', error.hint)\n"
    )
    for limit in (40_000, 150_000):
        told = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "job.json"), str(limit)], capture_output=True, text=True, check=True
        )
        assert "the disk is full" in told.stdout, told.stdout + told.stderr
        assert "finished work is kept" in told.stdout
        assert not [p for p in (tmp_path / "w").rglob("*") if p.name.startswith(files.ASIDE)]
    run(tmp_path / "w", {"train": [str(path)]})
