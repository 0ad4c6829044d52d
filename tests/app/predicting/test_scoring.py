"""Scoring a file: every row has an answer or a reason, a broken run goes on, and what is written is the same."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from luthier.api import create_app
from luthier.app.predicting.answering import Answer, Cells, Here, There, answered
from luthier.app.predicting.parts import Parts
from luthier.app.predicting.scoring import Scoring
from luthier.client import Client
from luthier.core import registry
from luthier.core.errors import Conflict, InputError, Overloaded
from luthier.stages.serve.masking import Masking


class Counted:
    """Answers with the length of the text; ``before`` is called with the number of each call."""

    def __init__(self, before: Callable[[int], None] = lambda _number: None, export: str = "export-1") -> None:
        self.task, self.export, self.masking = registry.get("tasks", "text-classification"), export, Masking({})
        self.before, self.calls = before, 0

    def ask(self, rows: Sequence[Cells]) -> list[Answer]:
        def said(body: Any) -> list[dict[str, Any]]:
            self.before(self.calls)
            self.calls += 1
            if any("too long" in text for text in body["texts"]):
                raise InputError("texts[0]: jane@example.com wrote too much", "cut it")
            return [{"label": "long" if len(text) > 12 else "short", "confidence": len(text) / 100} for text in body["texts"]]

        return answered(self.task, rows, said)

    def close(self) -> None:
        """Nothing is held."""


def table(path: Path, rows: int = 100) -> Path:
    lines = [json.dumps({"key": number, "text": f"message {'x' * (number % 7)}", "note": None}) for number in range(rows)]
    lines[10] = '{"key": 10, "text": '
    lines[20] = '{"key": 20, "text": "  "}'
    lines[30] = '{"key": 30, "text": "this is too long"}'
    lines[40] = '{"key": 40, "text": "call jane.doe@example.com", "extra": {"mail": "jane.doe@example.com"}}'
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def score(asked: Any, source: Path, output: Path, **more: Any) -> dict[str, Any]:
    return Scoring(asked, source, output, **{"columns": {}, "batch": 4, "emit": lambda _event: None, "endpoint": "support"} | more).run()


def test_every_row_is_answered_or_refused_with_line_field_and_reason(tmp_path: Path) -> None:
    said = score(Counted(), table(tmp_path / "in.jsonl"), tmp_path / "out.jsonl")
    assert (said["scored"], said["refused"]) == (97, 3)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    refused = [json.loads(line) for line in (tmp_path / "out.jsonl.refused.jsonl").read_text().splitlines()]
    assert {one["input_line"] for one in rows} | {one["line"] for one in refused} == set(range(1, 101))
    assert [one["line"] for one in refused] == [11, 21, 31]
    assert refused[0]["reason"].startswith("not JSON")
    assert refused[1] == {**refused[1], "field": "text", "reason": "is not a text or is empty"}
    assert refused[2] == {"line": 31, "field": "text", "reason": "<EMAIL_1> wrote too much", "remedy": "cut it"}
    columns = {"input_line": 1, "key": 0, "text": "message ", "note": None}
    assert rows[0] == columns | {"predicted_label": "short", "predicted_confidence": 0.08}
    assert not (tmp_path / "out.jsonl.parts").exists()


def test_personal_data_is_masked_in_every_cell(tmp_path: Path) -> None:
    score(Counted(), table(tmp_path / "in.jsonl"), tmp_path / "out.jsonl")
    written = (tmp_path / "out.jsonl").read_text()
    assert "jane" not in written
    assert '"text": "call <EMAIL_1>", "extra": {"mail": "<EMAIL_1>"}' in written


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("at", [0, 1, 7, 11])
def test_a_run_that_is_killed_goes_on_and_writes_the_same(tmp_path: Path, suffix: str, at: int) -> None:
    source = table(tmp_path / "in.jsonl")
    score(Counted(), source, tmp_path / f"whole.{suffix}")

    def killed(number: int) -> None:
        if number == at:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if not child:
        score(Counted(killed), source, tmp_path / f"broken.{suffix}")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert not (tmp_path / f"broken.{suffix}").exists()
    again = Counted()
    score(again, source, tmp_path / f"broken.{suffix}")
    for name in (f"{{}}.{suffix}", f"{{}}.{suffix}.refused.jsonl"):
        assert (tmp_path / name.format("broken")).read_bytes() == (tmp_path / name.format("whole")).read_bytes()
    assert again.calls == 29 - (4 if at > 3 else 0)  # the first part was kept; four rows are asked alone
    assert sorted(path.name for path in tmp_path.iterdir() if "broken" in path.name) == [
        f"broken.{suffix}",
        f"broken.{suffix}.refused.jsonl",
    ]


def test_parts_of_another_run_are_not_mixed_in(tmp_path: Path) -> None:
    source = table(tmp_path / "in.jsonl")

    def away(number: int) -> None:
        if number == 8:
            raise Overloaded("away", "")

    with pytest.raises(Overloaded):
        score(Counted(away), source, tmp_path / "out.csv")
    with pytest.raises(Conflict, match="another export") as caught:
        score(Counted(export="export-2"), source, tmp_path / "out.csv")
    assert "out.csv.parts" in caught.value.hint
    with pytest.raises(Conflict, match="another batch"):
        score(Counted(), source, tmp_path / "out.csv", batch=5)
    table(source, 99)
    with pytest.raises(Conflict, match="another content"):
        score(Counted(), source, tmp_path / "out.csv")


def test_memory_is_bounded_by_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    largest: list[int] = []
    add = Parts.add

    def noted(self: Parts, scored: Sequence[Any], refused: Sequence[Any]) -> None:
        largest.append(len(scored) + len(refused))
        add(self, scored, refused)

    monkeypatch.setattr(Parts, "add", noted)
    score(Counted(), table(tmp_path / "in.jsonl", 1000), tmp_path / "out.csv")
    assert max(largest) == 16
    assert sum(largest) == 1000


def test_csv_and_parquet_have_the_columns_of_all_rows(tmp_path: Path) -> None:
    source = table(tmp_path / "in.jsonl")
    score(Counted(), source, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0]) == ["input_line", "key", "text", "note", "predicted_label", "predicted_confidence", "extra"]
    assert rows[37]["extra"] == '{"mail": "<EMAIL_1>"}'
    score(Counted(), source, tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.num_rows == 97
    kinds = {"key": pa.int64(), "text": pa.string(), "note": pa.string(), "predicted_confidence": pa.float64()}
    assert {name: found.schema.field(name).type for name in kinds} == kinds
    assert found.column("extra")[37].as_py() == {"mail": "<EMAIL_1>"}


def test_a_column_of_several_kinds_is_text(tmp_path: Path) -> None:
    lines = [json.dumps({"text": "hello there", "mixed": value}) for value in (1, 2.5, "x", None, [1])]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    score(Counted(), tmp_path / "in.jsonl", tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").column("mixed").to_pylist() == ["1", "2.5", "x", None, "[1]"]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_it_reads_what_prepare_reads_and_maps_columns(tmp_path: Path, suffix: str) -> None:
    columns = {"id": ["a", "b"], "Customer said": ["hello there", "good morning"]}
    if suffix == "parquet":
        pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    else:
        (tmp_path / "in.csv").write_text("id,Customer said\na,hello there\nb,good morning\n")
    source = tmp_path / f"in.{suffix}"
    with pytest.raises(InputError, match="the column 'text' is missing"):
        score(Counted(), source, tmp_path / "no.jsonl")
    said = score(Counted(), source, tmp_path / "out.jsonl", columns={"text": "Customer said"})
    assert said["scored"] == 2
    assert '"id": "b"' in (tmp_path / "out.jsonl").read_text()


def test_what_is_wrong_with_the_call_is_said_first(tmp_path: Path) -> None:
    source = table(tmp_path / "in.jsonl")
    with pytest.raises(InputError, match="is none of"):
        score(Counted(), source, tmp_path / "out.xlsx")
    with pytest.raises(InputError, match="there is no such file"):
        score(Counted(), tmp_path / "nothing.csv", tmp_path / "out.csv")
    (tmp_path / "again.jsonl").write_text('{"text": "a", "predicted_label": "b"}\n')
    with pytest.raises(InputError, match="'predicted_label' has the name of one that is written"):
        score(Counted(), tmp_path / "again.jsonl", tmp_path / "out.csv")


def test_here_and_far_away_say_the_same(tmp_path: Path, filled: Any) -> None:
    service = filled.fill(tmp_path / "home")
    source = tmp_path / "in.csv"
    source.write_text("text,key\nwhere is my parcel,1\n,2\nmail jane.doe@example.com,3\n")
    here = Here(service.endpoints.get("support"))
    try:
        score(here, source, tmp_path / "here.jsonl")
    finally:
        here.close()
    with filled.listening(create_app(service, workers=1)) as address:
        there = There(Client(address), "support")
        assert there.export == here.export
        score(there, source, tmp_path / "there.jsonl")
    assert (tmp_path / "here.jsonl").read_bytes() == (tmp_path / "there.jsonl").read_bytes()
    rows = [json.loads(line) for line in (tmp_path / "here.jsonl").read_text().splitlines()]
    assert [row["input_line"] for row in rows] == [2, 4]
    assert rows[1]["text"] == "mail <EMAIL_1>"
    assert set(rows[0]) >= {"predicted_id", "predicted_label", "predicted_confidence", "predicted_abstained"}
