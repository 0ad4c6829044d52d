"""Bad input: each kind has an error that names the place and the remedy."""

from __future__ import annotations

import datetime
import decimal
import gzip
import json
import pickle
from pathlib import Path

import pytest
from tests.stages.prepare._jobs import run, texts, write

from luthier.core.errors import GateRefused, InputError, LuthierError, SpecError, UnknownName, UnsafeFile
from luthier.core.events import NoteSaid
from luthier.store import datasets, files


def _rows(count: int = 60) -> list[tuple[str, str]]:
    return [(text, "ab"[n % 2]) for n, text in enumerate(texts(count))]


def _refused(tmp_path: Path, path: Path, kind: type[LuthierError], **data: object) -> LuthierError:
    with pytest.raises(kind) as error:
        run(tmp_path / "w", {"train": [str(path)], **data})
    assert error.value.hint
    assert path.name in error.value.message or "label" in error.value.message
    return error.value


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.tsv", "a.parquet"])
def test_empty_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    assert "the file is empty" in _refused(tmp_path, tmp_path / name, InputError).message


def test_header_only(tmp_path: Path) -> None:
    assert "no row" in _refused(tmp_path, write(tmp_path / "a.csv", []), InputError).message


def test_no_such_file(tmp_path: Path) -> None:
    write(tmp_path / "reviews.csv", _rows())
    with pytest.raises(InputError, match="there is no file") as error:
        run(tmp_path / "w", {"train": [str(tmp_path / "review.csv")]})
    assert "reviews.csv" in error.value.hint


def test_wrong_delimiter(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text;label\n" + "\n".join(f"{text};{label}" for text, label in _rows()))
    assert "';'" in _refused(tmp_path, path, InputError, delimiter=",").hint
    summary, _ = run(tmp_path / "w", {"train": [str(path)]})
    assert summary["rows"] == 60


def test_missing_column(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", _rows(), ("words", "lable"))
    error = _refused(tmp_path, path, InputError, map={"text": "words"})
    assert error.message == "a.csv: the column 'label' is missing; the file has 'words', 'lable'"
    assert error.hint == "did you mean --map label=lable (in a run: --set data.map.label=lable)?"
    error = _refused(tmp_path, path, InputError, map={"text": "word", "label": "lable"})
    assert "--map text=words" in error.hint


def test_map_the_wrong_way_round(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", _rows(), ("body", "label"))
    with pytest.raises(SpecError) as error:
        run(tmp_path / "w", {"train": [str(path)], "map": {"body": "text"}})
    assert error.value.hint == "write it the other way round: --map text=body (in a run: --set data.map.text=body)"


def test_unknown_group(tmp_path: Path) -> None:
    error = _refused(tmp_path, write(tmp_path / "a.csv", _rows()), InputError, group="labels")
    assert error.hint == "did you mean --group label (in a run: --set data.group=label)?"
    spaced = write(tmp_path / "a.csv", _rows(), ("Review Text", "stars"))
    assert (
        "--map 'text=Review Text' (in a run: --set 'data.map.text=Review Text')"
        in _refused(tmp_path, spaced, InputError, map={"text": "review text"}).hint
    )


def test_a_file_without_a_header_shows_nobodys_data(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", _rows(), ("ann@example.com", "call 541-714-1388"))
    error = _refused(tmp_path, path, InputError)
    assert error.message == "a.csv: the column 'text' is missing; the file has '<EMAIL_1>', 'call <PHONE_1>'"
    error = _refused(tmp_path, path, InputError, map={"text": "ann@example.com", "label": "call 541-714-1388"}, group="customer")
    assert error.hint == "its columns: '<EMAIL_1>', 'call <PHONE_1>'"


def test_one_class_only(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [(text, "a") for text in texts(30)])
    assert "two classes" in _refused(tmp_path, path, InputError).message


def test_class_with_a_single_row_goes_to_training_with_a_warning(tmp_path: Path) -> None:
    for seed in range(4):
        summary, events = run(
            tmp_path / f"w{seed}",
            {"train": [str(write(tmp_path / "a.csv", [*_rows(), ("the only one of its kind here", "c")]))]},
            seed=seed,
        )
        assert "c" in files.read_json(tmp_path / f"w{seed}" / "out" / "schema.json")["labels"]
        assert any("'c'" in str(event.as_json()) for event in events)
        assert summary["labels"] == 3


def test_labels_that_differ_by_case_only(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [(text, ["Refund", "refund ", "cancel", "refund"][n % 4]) for n, text in enumerate(texts(80))])
    error = _refused(tmp_path, path, InputError)
    assert "prepare.merge_labels=true" in error.hint
    run(tmp_path / "w", {"train": [str(path)]}, merge_labels=True)
    assert files.read_json(tmp_path / "w" / "out" / "schema.json")["labels"] == ["cancel", "refund"]


def test_large_cell_is_one_refused_row(tmp_path: Path) -> None:
    rows = _rows()
    rows[3] = ("x " * 5_000_000, "a")
    summary, _ = run(tmp_path / "w", {"train": [str(write(tmp_path / "a.csv", rows))]})
    assert summary["refused"] == 1
    refused = json.loads((tmp_path / "w" / "out" / "refused.jsonl").read_text())
    assert (refused["line"], refused["field"]) == (5, "text")
    assert "10,000,000 bytes" in refused["reason"]


def test_binary_files(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"PK\x03\x04" + bytes(range(256)) * 20)
    assert "Excel" in _refused(tmp_path, path, InputError).message
    path.write_bytes(bytes(range(256)) * 20)
    assert "binary" in _refused(tmp_path, path, InputError).message


@pytest.mark.parametrize("name", ["a.pkl", "a.csv", "a.jsonl"])
def test_pickles_are_refused_unread(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps([("text", "label")] * 100))
    assert "pickle" in _refused(tmp_path, tmp_path / name, UnsafeFile).message


def test_truncated_parquet(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": texts(500), "label": ["a", "b"] * 250}), path)
    summary, _ = run(tmp_path / "w", {"train": [str(path)]})
    assert summary["rows"] == 500
    path.write_bytes(path.read_bytes()[:-2000])
    assert "truncated" in _refused(tmp_path, path, InputError).message


def test_truncated_gzip(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    write(tmp_path / "a.csv", _rows(3000))
    path.write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes())[:-5000])
    assert "truncated" in _refused(tmp_path, path, InputError).message


def test_repeated_ids_are_said_and_nothing_is_lost(tmp_path: Path) -> None:
    rows = [(str(n % 50), text, label) for n, (text, label) in enumerate(_rows())]
    summary, events = run(tmp_path / "w", {"train": [str(write(tmp_path / "a.csv", rows, ("id", "text", "label")))]})
    assert sum(summary["splits"].values()) == 60
    assert any("10 rows have the id of an earlier row; first: a.csv:2 and a.csv:52" in str(event.as_json()) for event in events)


def test_open_quote_is_refused_not_swallowed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", _rows())
    path.write_text(path.read_text() + '"never closed,a\nnext row,b\nlast row,a\n')
    summary, _ = run(tmp_path / "w", {"train": [str(path)]})
    assert (summary["rows"], summary["refused"]) == (63, 3)
    refused = [json.loads(line) for line in (tmp_path / "w" / "out" / "refused.jsonl").read_text().splitlines()]
    assert [one["line"] for one in refused] == [62, 63, 64]
    assert all("never closed" in one["reason"] for one in refused)


@pytest.mark.parametrize("closed", [False, True])
def test_one_quote_that_swallows_half_of_a_file_stops_the_stage(tmp_path: Path, closed: bool) -> None:
    path = write(tmp_path / "a.csv", _rows())
    lines = path.read_text().splitlines()
    lines[31] = '"' + lines[31]
    if closed:
        lines[60] = '"it is, said" twice,a'
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(GateRefused, match=r"30 of 60 rows are refused \(50\.0%, .* first: a\.csv:32: a quote is opened and never closed"):
        run(tmp_path / "w", {"train": [str(path)]})


def test_rows_of_another_width(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", _rows())
    path.write_text(path.read_text() + "one, two, three\n")
    run(tmp_path / "w", {"train": [str(path)]})
    refused = json.loads((tmp_path / "w" / "out" / "refused.jsonl").read_text())
    assert refused["reason"] == "has 3 cells, the header has 2"


def test_jsonl_that_is_mostly_broken(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join('{"text": "hello there", "label": "a"}' if n % 2 else '{"text": ' for n in range(40)))
    with pytest.raises(GateRefused, match=r"20 of 40 rows .* a\.jsonl:1: not JSON"):
        run(tmp_path / "w", {"train": [str(path)]})


def test_unknown_kind_to_mask(tmp_path: Path) -> None:
    with pytest.raises(UnknownName) as error:
        run(tmp_path / "w", {"train": [str(write(tmp_path / "a.csv", _rows()))]}, mask_kinds=["EMAILS"])
    assert "EMAIL" in error.value.hint


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"text": "broken \ud83d emoji", "label": "a"}, "text"),
        ({"text": "whole", "label": "\ud83d"}, "label"),
        ({"text": "whole", "label": ["a", "\ud83d"]}, "label"),
        ({"text": "whole", "label": "a", "note": "\ude00"}, "note"),
    ],
)
def test_half_an_emoji_is_one_refused_row(tmp_path: Path, row: dict[str, object], field: str) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"text": text, "label": label} for text, label in _rows()]
    path.write_text("\n".join(json.dumps(one) for one in [*rows, row]))
    summary, _ = run(tmp_path / "w", {"train": [str(path)]})
    assert (summary["rows"], summary["refused"]) == (61, 1)
    refused = json.loads((tmp_path / "w" / "out" / "refused.jsonl").read_text())
    assert (refused["line"], refused["field"], refused["remedy"]) == (61, field, "save the file as UTF-8")
    assert refused["reason"] == "holds half a character (a lone surrogate)"


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        ({"text": ["a", "b"], "label": "a"}, "text", "is a list, not text"),
        ({"text": {"a": "b"}, "label": "a"}, "text", "is a dict, not text"),
        ({"text": float("nan"), "label": "a"}, "text", "is empty"),
        ({"text": "whole", "label": {"name": "a"}}, "label", "is a dict, not text"),
        ({"text": "whole", "label": [["a"]]}, "label", "is a list, not text"),
    ],
)
def test_what_is_no_text_is_one_refused_row(tmp_path: Path, row: dict[str, object], field: str, reason: str) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"text": text, "label": label} for text, label in _rows()]
    path.write_text("\n".join(json.dumps(one) for one in [*rows, row]))
    summary, _ = run(tmp_path / "w", {"train": [str(path)]})
    assert (summary["rows"], summary["refused"], summary["labels"]) == (61, 1, 2)
    refused = json.loads((tmp_path / "w" / "out" / "refused.jsonl").read_text())
    assert (refused["line"], refused["field"], refused["reason"]) == (61, field, reason)


def test_bytes_and_nested_values_of_a_parquet_file(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    when = datetime.datetime(2024, 5, 17, 10, 30)
    some = [text.encode() for text in texts(40)] + [b"caf\xe9"]
    nested = [{"when": when, "price": decimal.Decimal("4.50"), "raw": b"r\xe9", "who": "ann@example.com"}] * 41
    table = {"text": some, "label": [b"a", b"b"] * 20 + [b"a"], "order": nested, "seen": [[when]] * 41, "blob": [b"x"] * 41}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    summary, _ = run(tmp_path / "w", {"train": [str(tmp_path / "a.parquet")]})
    assert (summary["refused"], summary["masked"]) == (1, {"EMAIL": 40 + 1})
    refused = json.loads((tmp_path / "w" / "out" / "refused.jsonl").read_text())
    assert (refused["line"], refused["field"], refused["reason"]) == (41, "text", "holds bytes that are not UTF-8")
    example = datasets.read_split(tmp_path / "w" / "out", "train")[0]
    assert example.inputs["text"] in texts(40)
    assert example.target in ("a", "b")
    assert json.loads(example.columns["order"]) == {"price": "4.50", "raw": "r\ufffd", "when": str(when), "who": "<EMAIL_1>"}
    assert json.loads(example.columns["seen"]) == [str(when)]
    assert example.columns["blob"] == "x"


def test_validation_rows_with_labels_that_training_lacks_are_left_out_and_said(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", _rows())
    own = [(text, label) for text, label in zip(texts(10, seed=3), "abxaybabab", strict=True)]
    validation = write(tmp_path / "val.csv", own)
    summary, events = run(tmp_path / "w", {"train": [str(train)], "validation": [str(validation)]})
    assert summary["splits"]["validation"] == 8
    targets = {example.target for example in datasets.read_split(tmp_path / "w" / "out", "validation")}
    assert targets == {"a", "b"}
    (said,) = [event.text for event in events if isinstance(event, NoteSaid) and "left out" in event.text]
    assert said.startswith("2 validation rows were left out: training lacks their labels 'x', 'y'; first: val.csv:4, val.csv:6 (")
    report = files.read_json(tmp_path / "w" / "out" / "report.json")
    assert [f["data"] for f in report["findings"] if f["code"] == "validation_labels_unseen"] == [{"labels": ["x", "y"], "rows": 2}]


@pytest.mark.parametrize("role", ["validation", "test"])
def test_labels_of_another_set_that_differ_by_case_only(tmp_path: Path, role: str) -> None:
    train = write(tmp_path / "train.csv", _rows())
    other = write(tmp_path / "other.csv", [(text, "A" if n % 2 else "b") for n, text in enumerate(texts(10, seed=3))])
    data = {"train": [str(train)], role: [str(other)]}
    with pytest.raises(InputError, match="label: 'A' and 'a' differ by case or space only"):
        run(tmp_path / "w", data)
    summary, _ = run(tmp_path / "w", data, merge_labels=True)
    assert (summary["labels"], summary["splits"][role]) == (2, 10)


def test_training_with_one_class_is_refused_whatever_the_test_set_has(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", [(text, "a") for text in texts(30)])
    with pytest.raises(InputError, match="two classes at least"):
        run(tmp_path / "w", {"train": [str(train)], "test": [str(write(tmp_path / "test.csv", _rows()))]})


def test_labels_that_look_like_personal_data_are_warned_of(tmp_path: Path) -> None:
    rows = [(text, ["ann@example.com", "refund", "1.2.3"][n % 3]) for n, text in enumerate(texts(60))]
    path = str(write(tmp_path / "a.csv", rows))
    _, events = run(tmp_path / "w", {"train": [path]})
    said = [event.text for event in events if isinstance(event, NoteSaid) and event.level == "warning" and "personal data" in event.text]
    assert len(said) == 1
    assert said[0].startswith("1 labels look like personal data, and labels are not masked; first: '<EMAIL_1>' (")
    for quiet in ({"mask": False}, {"mask_kinds": ["PHONE"]}):
        _, events = run(tmp_path / "w", {"train": [path]}, **quiet)
        assert not [event for event in events if isinstance(event, NoteSaid) and "personal data" in event.text]


def test_rows_that_are_left_unread_are_said(tmp_path: Path) -> None:
    path = str(write(tmp_path / "a.csv", _rows()))
    for rows, said in ((30, ["a.csv: only the first 30 rows are used (data.rows) (set data.rows=0 to use all)"]), (60, []), (0, [])):
        summary, events = run(tmp_path / "w", {"train": [path], "rows": rows})
        assert summary["rows"] == (rows or 60)
        assert [e.text for e in events if isinstance(e, NoteSaid) and e.level == "warning" and "data.rows" in e.text] == said
