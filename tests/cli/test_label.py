"""``luthier label``, here and there: from a file to labels by answers on standard input, and what comes out."""

from __future__ import annotations

import datetime
import io
import json
import os
import pty
import sys
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet
import pytest
from rich.console import Console

from luthier.api import create_app
from luthier.app.service import Service
from luthier.cli import label_view, main
from luthier.cli.label_view import Keys, choices, known_as, row_panel, written
from worded import without_encoder

LABELS = ("refund", "parcel", "account")


class Said(NamedTuple):
    code: int
    out: str
    err: str


Luthier = Callable[..., Said]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with pytest.MonkeyPatch.context() as patch:
        without_encoder(patch)
        yield Service(tmp_path_factory.mktemp("label") / "home")


@pytest.fixture(scope="module")
def url(home: Service, filled: Any) -> Iterator[str]:
    with filled.listening(create_app(home, workers=1)) as address:
        yield address


@pytest.fixture
def luthier(home: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Luthier:
    """``luthier label`` with these words; ``answers`` are its standard input."""
    monkeypatch.chdir(tmp_path)
    for name, value in {"HF_HUB_OFFLINE": "1", "COLUMNS": "160", "LUTHIER_HOME": str(home.workspace.root), "LUTHIER_AUTHOR": "ann"}.items():
        monkeypatch.setenv(name, value)
    for name in ("LUTHIER_URL", "LUTHIER_API_KEY", "LUTHIER_DATABASE"):
        monkeypatch.delenv(name, raising=False)
    rows = [f"message {number} about my {LABELS[number % 3]},{number}" for number in range(24)]
    (tmp_path / "mail.csv").write_text("body,number\n" + "\n".join(rows) + "\n", encoding="utf-8")

    def call(*words: str, answers: str = "") -> Said:
        monkeypatch.setattr(sys, "argv", ["luthier", "label", *words])
        monkeypatch.setattr(sys, "stdin", io.StringIO(answers))
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Said(int(ended.value.code or 0), said.out, said.err)

    return call


@pytest.mark.parametrize("far", [False, True], ids=["here", "there"])
def test_from_a_file_to_labels(luthier: Luthier, url: str, far: bool, tmp_path: Path) -> None:
    more, name = (["--url", url] if far else []), "far" if far else "near"
    said = luthier("new", name, "mail.csv", "--labels", "refund, parcel,account", *more)
    assert said == Said(0, f"{name}: 24 rows added, 0 were there, 0 labels\n", "")
    said = luthier("run", name, *more, answers="refund\nparcl\nparcel\ns\nu\n+other\nq\n")
    assert said.code == 0, said.err
    assert "'parcl' is not a label" in said.out
    assert "did you mean 'parcel'" in said.out
    assert "taken back: skip none" in said.out
    assert said.out.rstrip().endswith("3 rows labelled; 21 are left")
    about = json.loads(luthier("show", name, "--json", *more).out)
    assert about["labels"] == ["account", "other", "parcel", "refund"]
    assert about["progress"]["labelled"] == 3
    assert "taken back: correct other" in luthier("undo", name, *more).out
    assert luthier("undo", name, "--author", "bob", *more).code == 1
    assert f"{name}: label, " in luthier("show", name, *more).out
    assert name in luthier("list", *more).out
    assert luthier("share", name, "--count", "4", *more).out == "4 rows go to everybody\n"
    assert luthier("export", name, "--as", "csv", "-o", "out.csv", *more).code == 0
    assert (tmp_path / "out.csv").read_text().startswith("text,label,number\nmessage ")
    assert json.loads(luthier("agreement", name, "--json", *more).out) == []
    assert luthier("doubts", name, *more).out.startswith("0 labels are likely wrong")
    assert luthier("delete", name, *more) == Said(0, "", "")
    assert luthier("show", name, *more).code == 1


def test_a_script_labels_until_nothing_is_left(luthier: Luthier) -> None:
    """What the answers are follows from what is asked: a pipe, not a person."""
    luthier("new", "all", "mail.csv", "--labels", "refund,parcel,account")
    asked: list[str] = []

    class Script(io.StringIO):
        def readline(self, *_: Any) -> str:  # type: ignore[override]
            return asked[-1].rsplit(" ", 1)[1] + "\n"

    view = label_view.Plain(Script(), io.StringIO())
    plain = view.ask

    def ask(row: Any, about: Any, progress: Any) -> Any:
        asked.append(row["text"])
        return plain(row, about, progress)

    view.ask = ask  # type: ignore[method-assign]
    from luthier.cli.reach import reach

    there = reach().labellings
    label_view.label(there, there.get("all"), "ann", view)
    assert len(asked) == len(set(asked)) == 24
    assert json.loads(luthier("agreement", "all", "--json").out) == []
    lines = luthier("export", "all").out.splitlines()
    assert all(json.loads(line)["text"].endswith(json.loads(line)["label"]) for line in lines)
    assert len(lines) == 24
    assert luthier("run", "all", "--plain").out.endswith("all: nothing is left for ann\n")
    accepted = json.loads(luthier("show", "all", "--json").out)["accepted_share"]
    assert accepted > 0.5, "most suggestions were right"


def test_two_people_and_who_decides(luthier: Luthier) -> None:
    luthier("new", "two", "mail.csv", "--labels", "refund,parcel,account")
    luthier("share", "two", "--count", "2")
    luthier("run", "two", "--count", "2", answers="refund\nrefund\n")
    luthier("run", "two", "--count", "2", "--author", "bob", answers="refund\nparcel\n")
    said = luthier("agreement", "two")
    assert "1 of 2 rows alike" in said.out
    (pair,) = json.loads(luthier("agreement", "two", "--json").out)
    row = pair["disagreements"][0]["row"]
    assert row in said.out
    assert luthier("settle", "two", row, "parcel").code == 0
    assert len(luthier("export", "two").out.splitlines()) == 2
    made = json.loads(luthier("export", "two", "--as", "label-studio").out)
    assert sum(len(task["annotations"]) for task in made) == 4


def test_label_studio_goes_out_and_comes_in(luthier: Luthier, tmp_path: Path) -> None:
    luthier("new", "source", "mail.csv", "--labels", "refund,parcel,account")
    luthier("run", "source", "--count", "2", answers="refund\nparcel\n")
    luthier("export", "source", "--as", "label-studio", "-o", "tasks.json")
    assert luthier("new", "target", "tasks.json").out == "target: 24 rows added, 0 were there, 2 labels\n"
    assert luthier("add", "target", "tasks.json").out == "target: 0 rows added, 24 were there, 0 labels\n"
    one, other = (json.loads(luthier("show", name, "--json").out) for name in ("source", "target"))
    assert other["authors"][0]["author"] == "ann"
    assert other["labels"] == ["parcel", "refund"]
    assert one["progress"] == other["progress"]


def test_spans_come_from_conll_and_go_back(luthier: Luthier, tmp_path: Path) -> None:
    text = "fly\tO\nto\tO\nNew\tB-city\nYork\tI-city\n\nBonn\tB-city\n"
    (tmp_path / "a.conll").write_text(text)
    assert luthier("new", "places", "a.conll", "--kind", "spans").out == "places: 2 rows added, 0 were there, 2 labels\n"
    assert luthier("export", "places", "--as", "conll").out == text
    refused = luthier("run", "places")
    assert refused.code == 1
    assert "labels messages, not spans" in refused.err


def test_a_labelling_that_cannot_be_filled_is_not_left_behind(luthier: Luthier) -> None:
    assert luthier("new", "none", "nothere.csv").code == 1
    assert luthier("new", "none", "mail.csv", "--map", "text").code == 1
    assert luthier("new", "none", "mail.csv", "--map", "text=subject").code == 1
    assert luthier("show", "none").code == 1
    assert luthier("new", "none", "mail.csv", "--from", "x", "--url", "http://127.0.0.1:9").code == 1


def test_a_dataset_of_the_labels(luthier: Luthier, home: Service, tmp_path: Path) -> None:
    rows = [f"message {number} of {number * 7919 % 997} about my {LABELS[number % 3]},{LABELS[number % 3]}" for number in range(60)]
    (tmp_path / "known.csv").write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    luthier("new", "known", "known.csv")
    made = json.loads(luthier("dataset", "known", "--json").out)
    assert home.artifact("known", "dataset").id == made["id"]
    assert luthier("new", "again", "--from", "known").out == "again: 60 rows added, 0 were there, 60 labels\n"
    again = json.loads(luthier("dataset", "again", "--json", "-s", "prepare.seed=3").out)
    assert again["parents"] == [made["id"]]


def test_what_a_line_means() -> None:
    asked = {"suggestion": {"value": "refund"}, "nearest": [{"value": "refund"}, {"value": "parcel"}]}
    assert written("\n", "label", asked) == ("accept", "refund", False)
    assert written("a", "label", asked) == ("accept", "refund", False)
    assert written("=a", "label", asked) == ("correct", "a", False)
    assert written("+late parcel", "label", asked) == ("correct", "late parcel", True)
    assert written("-", "labels", asked) == ("correct", [], False)
    assert written("a, b", "labels", asked) == ("correct", ["a", "b"], False)
    assert [written(key, "label", asked).verb for key in "suq"] == ["skip", "undo", "quit"]
    assert choices(asked) == ["refund", "parcel"]


def test_a_typed_label_is_the_one_that_is_meant() -> None:
    labels = ["card_arrival", "card_linking", "lost_or_stolen_card"]
    assert [known_as(word, labels) for word in ("card_a", "stolen", "card_arival", "nothing")] == [
        "card_arrival", "lost_or_stolen_card", "card_arrival", "nothing",
    ]  # fmt: skip


ASKED: dict[str, Any] = {
    "id": "1", "text": "where is [my] parcel", "shared": False, "columns": {},
    "suggestion": {"value": "parcel", "confidence": 0.91, "by": "linear"},
    "nearest": [{"row": "2", "text": "[bold] a parcel", "value": "refund", "cosine": 0.5}],
}  # fmt: skip
PROGRESS = {"done": 3, "left": 9, "left_s": 130.0, "seconds_a_label": 14.0, "accepted_share": 0.5}


@pytest.mark.parametrize(
    ("keys", "answer"),
    [
        ("\n", ("accept", "parcel", False)),
        ("x2", ("correct", "refund", False)),
        ("9s", ("skip", None, False)),
        ("q", ("quit", None, False)),
    ],
)
def test_a_key_is_an_answer(monkeypatch: pytest.MonkeyPatch, keys: str, answer: Any) -> None:
    pressed = iter(keys)
    monkeypatch.setattr(label_view, "read_key", lambda: next(pressed))
    assert Keys().ask(ASKED, {"labels": [], "kind": "label"}, PROGRESS) == answer


@pytest.mark.parametrize(
    ("pressed", "keys"), [("\x1b[1~a", ["", "a"]), ("\x1b[As", ["", "s"]), ("\x1bOP2", ["", "2"]), ("12", ["1", "2"]), ("\x1b", [""])]
)
def test_a_key_of_several_characters_is_no_answer(monkeypatch: pytest.MonkeyPatch, pressed: str, keys: list[str]) -> None:
    """Home sends ESC [ 1 ~, which must not be the first choice."""
    above, below = pty.openpty()
    try:
        with open(below, closefd=False) as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            tty.setcbreak(below)
            os.write(above, pressed.encode())
            assert [label_view.read_key() for _ in keys] == keys
    finally:
        os.close(above)
        os.close(below)


@pytest.mark.parametrize("far", [False, True], ids=["here", "there"])
def test_a_row_that_cannot_be_used_is_refused_alone(luthier: Luthier, url: str, far: bool, tmp_path: Path) -> None:
    """Also far away, where JSON knows no dates, and a body is checked as a whole."""
    more = ["--url", url] if far else []
    rows = [("one", "a"), (None, "b"), ("x" * 100_001, ""), ("two", None)]
    table = pyarrow.table(
        {"text": [text for text, _ in rows], "label": [label for _, label in rows], "day": [datetime.date(2026, 1, 2)] * 4}
    )
    pyarrow.parquet.write_table(table, tmp_path / "some.parquet")
    said = luthier("new", "some", "some.parquet", *more)
    assert said.out == "some: 2 rows added, 0 were there, 1 labels\n"
    assert [line.split(":")[1] for line in said.err.splitlines()] == [" row 2", " row 3"]
    assert luthier("add", "some", "some.parquet", *more).out == "some: 0 rows added, 2 were there, 0 labels\n"
    assert json.loads(luthier("export", "some", *more).out) == {"text": "one", "label": "a", "day": "2026-01-02"}
    luthier("delete", "some", *more)


def test_another_label_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    pressed, lines = iter("cc"), iter(["", "acc"])
    monkeypatch.setattr(label_view, "read_key", lambda: next(pressed))
    monkeypatch.setattr("builtins.input", lambda *_: next(lines))
    assert Keys().ask(ASKED, {"labels": ["account"], "kind": "label"}, PROGRESS) == ("correct", "account", False)


def test_the_panel_shows_what_a_person_needs() -> None:
    out = Console(width=100, file=io.StringIO(), force_terminal=False)
    out.print(row_panel(ASKED, choices(ASKED), PROGRESS, ["note"]))
    shown = out.file.getvalue()  # type: ignore[attr-defined]
    for part in (
        "where is [my] parcel",
        "91% by linear",
        "0.50",
        "[bold] a parcel",
        "3/12",
        "50% of suggestions accepted",
        "2 min left",
        "note",
    ):
        assert part in shown
