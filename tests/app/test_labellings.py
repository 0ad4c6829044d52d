"""Labelling from unlabelled messages to a dataset, and what two people make of it."""

from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from luthier.app import label_desk
from luthier.app.label_choice import Standing
from luthier.app.labellings import Labellings
from luthier.app.service import Service
from luthier.core.errors import Conflict, InputError, UnknownName
from luthier.core.spec import make_spec
from luthier.formats import label_studio
from luthier.labelling import choose
from luthier.store.datasets import count_splits, read_split
from luthier.testing import made
from worded import without_encoder

LABELS = ("refund", "parcel", "account")


@pytest.fixture(autouse=True)
def _words(monkeypatch: pytest.MonkeyPatch) -> None:
    without_encoder(monkeypatch)


def rows(count: int = 60, **more: Any) -> list[dict[str, Any]]:
    return [{"text": f"message {number} about my {LABELS[number % 3]}", "columns": {"number": number}} | more for number in range(count)]


def right(text: str) -> str:
    return text.rsplit(" ", 1)[1]


@pytest.fixture
def desk(service: Service) -> Labellings:
    """A labelling ``mail`` of sixty messages, with its vectors."""
    found = service.labellings
    found.create("mail", labels=LABELS, author="ann")
    found.add("mail", rows())
    found.ready("mail")
    return found


def label(desk: Labellings, author: str, count: int) -> list[Any]:
    """Labels rows rightly; what was asked."""
    asked = []
    for _ in range(count):
        (one,) = desk.next("mail", author, 1)
        desk.say("mail", author, [{"row": one.row, "verb": "correct", "value": right(one.text)}])
        asked.append(one)
    return asked


def test_suggestions_get_right_from_few_labels(desk: Labellings) -> None:
    first = label(desk, "ann", 6)
    assert first[0].suggestion is None, "nothing is known yet"
    assert len({right(one.text) for one in first}) == 3, "the first rows differ"
    label(desk, "ann", 24)
    late = desk.next("mail", "ann", 10)
    assert [one.suggestion["value"] for one in late if one.suggestion] == [right(one.text) for one in late]
    assert late[0].suggestion is not None
    assert late[0].suggestion["by"] in ("neighbours", "linear")
    assert late[0].nearest[0]["value"] in LABELS
    about = desk.get("mail")
    assert about["progress"] == {"rows": 60, "labelled": 30, "disputed": 0, "skipped": 0, "shared": 0}
    assert about["vectors"] == {"done": 60, "problem": ""}
    assert about["accepted_share"] > 0.5


def test_everything_is_asked_once_and_then_nothing(desk: Labellings) -> None:
    asked = [one.row for one in label(desk, "ann", 60)]
    assert len(set(asked)) == 60
    assert desk.next("mail", "ann", 5) == []
    assert desk.progress("mail", "ann")["left"] == 0


def test_accept_takes_what_was_shown_and_is_known_as_that(desk: Labellings) -> None:
    label(desk, "ann", 30)
    (one,) = desk.next("mail", "ann", 1)
    said = desk.say("mail", "ann", [{"row": one.row, "verb": "accept"}])
    assert said["done"] == 31
    entry = desk.history("mail", 1)["data"][0]
    assert (entry["verb"], entry["value"], entry["suggested"]) == ("accept", right(one.text), one.suggestion)
    other = next(asked for asked in desk.next("mail", "ann", 5) if asked.row != one.row)
    with pytest.raises(Conflict, match="nothing was suggested"):
        desk.say("mail", "bob", [{"row": other.row, "verb": "accept"}])


def test_what_is_wrong_is_refused_whole(desk: Labellings) -> None:
    good = {"row": desk.next("mail", "ann", 1)[0].row, "value": "refund"}
    for wrong in ({"row": "nothing"}, {**good, "value": "refnd"}, {**good, "verb": "undo"}, {**good, "value": ["refund", "parcel"]}):
        with pytest.raises((InputError, UnknownName)):
            desk.say("mail", "ann", [good, wrong])
    assert desk.history("mail")["data"] == []
    desk.say("mail", "ann", [{**good, "value": "other", "new": True}])
    assert desk.get("mail")["labels"] == ["account", "other", "parcel", "refund"]


def test_nothing_is_overwritten(desk: Labellings) -> None:
    (one,) = label(desk, "ann", 1)
    desk.say("mail", "ann", [{"row": one.row, "value": "account"}])
    said = desk.undo("mail", "ann")
    assert said["undone"]["value"] == "account"
    assert [entry["verb"] for entry in desk.history("mail")["data"]] == ["undo", "correct", "correct"]
    assert desk.history("mail")["data"][0]["undoes"] == desk.history("mail")["data"][1]["id"]
    assert json.loads(desk.export("mail")[1])["label"] == right(one.text)
    desk.undo("mail", "ann")
    with pytest.raises(Conflict, match="nothing to undo"):
        desk.undo("mail", "ann")
    assert len(desk.history("mail")["data"]) == 4
    page = desk.history("mail", 2)
    assert page["has_more"]
    assert len(desk.history("mail", 5, page["last_id"])["data"]) == 2


def test_what_is_skipped_comes_to_another(desk: Labellings) -> None:
    (one,) = desk.next("mail", "ann", 1)
    desk.say("mail", "ann", [{"row": one.row, "verb": "skip"}])
    assert one.row not in [asked.row for asked in desk.next("mail", "ann", 59)]
    assert one.row in [asked.row for asked in desk.next("mail", "bob", 60)]
    assert desk.get("mail")["progress"]["skipped"] == 1


def test_two_at_once_get_different_rows(desk: Labellings) -> None:
    ann, bob = ({asked.row for asked in desk.next("mail", who, 20)} for who in ("ann", "bob"))
    assert not ann & bob


def test_a_row_is_given_once_however_many_are_asked_for(desk: Labellings) -> None:
    for count in (2, 3, 5, 8, 60):
        asked = [one.row for one in desk.next("mail", "ann", count)]
        assert len(set(asked)) == len(asked) == count


def test_two_who_label_at_the_same_time_do_each_row_once(desk: Labellings) -> None:
    said: list[str] = []

    def work(author: str) -> None:
        while found := desk.next("mail", author, 2):
            if len(desk._desk("mail").state.by_row) > 50:  # the last rows are given to everybody who asks
                return
            for one in found:
                desk.say("mail", author, [{"row": one.row, "value": right(one.text)}])
                said.append(one.row)

    threads = [threading.Thread(target=work, args=(author,)) for author in ("ann", "bob", "eve")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(said) == len(set(said)) > 48
    assert desk.get("mail")["progress"]["labelled"] == len(said)


def test_nobody_waits_for_a_slow_choice(desk: Labellings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next rows are chosen ahead, in the background, while there still are some."""
    desk.add("mail", [row | {"text": f"old {row['text']}", "label": "refund"} for row in rows(60)])
    desk.ready("mail")
    by, go, real = list[str](), threading.Event(), Standing.choose

    def slow(self: Standing, left: Any, count: int) -> Any:
        by.append(threading.current_thread().name)
        assert len(by) == 1 or go.wait(30)
        return real(self, left, count)

    monkeypatch.setattr(Standing, "choose", slow)
    monkeypatch.setattr(label_desk, "SLOW_S", -1.0)
    first = label(desk, "ann", choose.BATCH)
    assert by == ["MainThread", "ahead-mail"], "the second choice was begun, and nobody waits for it"
    go.set()
    late = label(desk, "ann", choose.BATCH)
    assert "MainThread" not in by[1:]
    assert len({one.row for one in [*first, *late]}) == 2 * choose.BATCH
    assert all(one.suggestion for one in late)


def test_shared_rows_go_to_both_without_a_suggestion_and_are_measured(desk: Labellings) -> None:
    label(desk, "ann", 20)
    shared = set(desk.share("mail", 12, "boss")["rows"])
    for author in ("ann", "bob"):
        for asked in desk.next("mail", author, 12):
            if asked.shared:
                assert asked.suggestion is None
                wrong = author == "bob" and asked.columns["number"] % 4 == 0
                desk.say("mail", author, [{"row": asked.row, "value": "account" if wrong else right(asked.text)}])
    (pair,) = desk.agreement("mail")
    assert (pair["authors"], pair["rows"]) == (["ann", "bob"], 12)
    assert {one["row"] for one in pair["disagreements"]} <= shared
    assert pair["agreed"] == 12 - len(pair["disagreements"])
    assert pair["kappa"] < 1
    disputed = pair["disagreements"][0]
    assert desk.get("mail")["progress"]["disputed"] == len(pair["disagreements"])
    desk.say("mail", "boss", [{"row": disputed["row"], "verb": "settle", "value": right(disputed["text"])}])
    assert desk.get("mail")["progress"]["disputed"] == len(pair["disagreements"]) - 1
    assert desk.agreement("mail")[0]["disagreements"][0]["settled"]


def test_a_planted_error_is_doubted(desk: Labellings) -> None:
    asked = label(desk, "ann", 60)
    wrong = next(one for one in asked if right(one.text) == "refund")
    desk.say("mail", "ann", [{"row": wrong.row, "value": "parcel"}])
    found = desk.doubts("mail")
    assert (found["rows"][0]["row"], found["rows"][0]["suggested"]) == (wrong.row, "refund")


def test_rows_come_once_with_the_labels_of_others(service: Service) -> None:
    desk = service.labellings
    desk.create("mail")
    given = [
        {"text": "a", "annotations": [{"author": "eve", "at": 5.0, "value": "x"}]},
        {"text": "b", "label": "y"},
        {"text": ""},
        {"text": "b"},
    ]
    said = desk.add("mail", given, "ann")
    assert (said["added"], said["known"], said["labels"], said["refused"]) == (2, 1, 2, 1)
    assert said["refusals"] == [{"row": 3, "field": "text", "reason": "is empty", "remedy": "write the message, or leave the row out"}]
    assert desk.add("mail", given, "ann")["labels"] == 0, "the same file again says nothing new"
    assert [(entry["author"], entry["at"]) for entry in desk.history("mail")["data"]][1] == ("eve", 5.0)
    assert desk.get("mail")["labels"] == ["x", "y"]


def test_a_label_that_was_corrected_here_does_not_come_back_from_a_file(desk: Labellings) -> None:
    """From the same file of labels, which has no times, or from Label Studio's, which keeps milliseconds of them."""
    (one,) = desk.next("mail", "ann", 1)
    desk.add("mail", [{"text": one.text, "label": "refund"}], "ann")
    exported = json.loads(desk.export("mail", "label-studio")[1])
    annotations = [
        {"author": "ann", "at": round(label_studio.said_of(task)[0].at, 3), "value": "refund"} for task in exported if task["annotations"]
    ]
    desk.say("mail", "ann", [{"row": one.row, "value": "parcel"}])
    assert desk.add("mail", [{"text": one.text, "label": "refund"}], "ann")["labels"] == 0
    assert desk.add("mail", [{"text": one.text, "annotations": annotations}])["labels"] == 0
    old = [{"author": "ann", "at": 5.0, "value": "account"}]
    assert desk.add("mail", [{"text": one.text, "annotations": old}])["labels"] == 0, "older than what stands"
    assert json.loads(desk.export("mail")[1])["label"] == "parcel"
    desk.undo("mail", "ann")
    assert json.loads(desk.export("mail")[1])["label"] == "refund"


def test_the_newest_of_an_author_stands_in_whatever_order_they_come(desk: Labellings) -> None:
    said = [{"author": "eve", "at": at, "value": value} for at, value in ((30.0, "refund"), (20.0, "parcel"), (10.0, "refund"))]
    assert desk.add("mail", [{"text": "new", "annotations": said}])["labels"] == 3
    assert json.loads(desk.export("mail")[1])["label"] == "refund"


def test_what_is_said_to_have_been_shown_is_kept_in_one_form(desk: Labellings) -> None:
    (one,) = desk.next("mail", "ann", 1)
    shown = {"value": "refund", "confidence": float("nan"), "by": "me", "more": [1]}
    desk.say("mail", "ann", [{"row": one.row, "value": "refund", "suggested": shown}])
    assert desk.history("mail")["data"][0]["suggested"] == {"value": "refund", "confidence": None, "by": "me"}
    with pytest.raises(InputError, match="not a text"):
        desk.say("mail", "ann", [{"row": one.row, "value": "refund", "suggested": {"value": {"deep": []}}}])


def test_nothing_was_shown_of_a_row_that_became_everybodys(desk: Labellings) -> None:
    label(desk, "ann", 30)
    assert desk.next("mail", "ann", 1)[0].suggestion is not None
    desk.share("mail", 60)
    asked = label(desk, "ann", 30)
    assert all(one.shared for one in asked)
    assert [(entry["verb"], entry["suggested"]) for entry in desk.history("mail", 30)["data"]] == [("correct", {})] * 30


def test_personal_data_is_masked_unless_spans_are_labelled(service: Service) -> None:
    desk, text = service.labellings, "write to jane.doe@example.com"
    for kind in ("label", "spans"):
        desk.create(kind, kind=kind)
        desk.add(kind, [{"text": text, "columns": {"from": "jane.doe@example.com"}}])
    assert desk.next("label", "ann", 1)[0].text == "write to <EMAIL_1>"
    asked = desk.next("spans", "ann", 1)[0]
    assert (asked.text, asked.columns) == (text, {"from": "<EMAIL_1>"})


def test_spans_are_suggested_from_phrases_and_come_out_as_conll(service: Service) -> None:
    desk = service.labellings
    desk.create("cities", kind="spans", labels=["city"])
    desk.add("cities", [{"text": "fly to New York"}, {"text": "rain in New York"}])
    desk.ready("cities")
    (one,) = desk.next("cities", "ann", 1)
    start = one.text.index("New York")
    desk.say("cities", "ann", [{"row": one.row, "value": [{"start": start, "end": start + 8, "label": "city"}]}])
    (two,) = desk.next("cities", "ann", 1)
    start = two.text.index("New York")
    assert two.suggestion == {"value": [{"start": start, "end": start + 8, "label": "city"}], "confidence": 1.0, "by": "phrases"}
    assert "New\tB-city\nYork\tI-city\n" in desk.export("cities", "conll")[1]
    with pytest.raises(InputError, match="not of spans"):
        desk.doubts("cities")


def test_several_labels(service: Service) -> None:
    desk = service.labellings
    desk.create("mail", kind="labels", labels=LABELS)
    desk.add("mail", rows(30))
    desk.ready("mail")
    for _ in range(20):
        (one,) = desk.next("mail", "ann", 1)
        desk.say("mail", "ann", [{"row": one.row, "value": [right(one.text)]}])
    (one,) = desk.next("mail", "ann", 1)
    assert one.suggestion is not None
    assert set(one.suggestion["value"]) <= set(LABELS)
    assert json.loads(desk.export("mail")[1].splitlines()[0])["label"] == [
        right(json.loads(desk.export("mail")[1].splitlines()[0])["text"])
    ]


def test_workspaces_do_not_see_each_other(desk: Labellings, service: Service) -> None:
    other = Service(service.workspace.root, workspace="blue").labellings
    assert other.list() == []
    with pytest.raises(UnknownName):
        other.get("mail")
    other.create("mail")
    assert other.get("mail")["progress"]["rows"] == 0
    other.delete("mail")
    assert desk.get("mail")["progress"]["rows"] == 60


def test_names_encoders_and_kinds_are_checked(desk: Labellings) -> None:
    with pytest.raises(Conflict, match="already"):
        desk.create("mail")
    with pytest.raises(InputError, match="cannot name"):
        desk.create("../x")
    with pytest.raises(UnknownName, match="'word'"):
        desk.create("x", kind="word")
    with pytest.raises(UnknownName, match="unknown model"):
        desk.create("x", encoder="/etc")
    with pytest.raises(InputError, match="no base encoder"):
        desk.create("x", encoder="gpt2")
    with pytest.raises(UnknownName):
        desk.create("x", model="nothing")
    assert [one["name"] for one in desk.list()] == ["mail"]


def test_a_deleted_one_leaves_nothing(desk: Labellings, service: Service) -> None:
    label(desk, "ann", 3)
    desk.create("mail-2", labels=LABELS)
    desk.add("mail-2", rows(3))
    desk.ready("mail-2")
    cached = service.workspace.cache / "labelling"
    assert list((cached / "mail").glob("*"))
    desk.delete("mail")
    assert not list((cached / "mail").glob("*"))
    assert list((cached / "mail-2").glob("*")), "another one keeps its own, whatever its name begins with"
    desk.create("mail")
    assert desk.get("mail")["progress"]["rows"] == 0
    assert desk.history("mail")["data"] == []


def test_vectors_are_kept_and_those_of_new_rows_are_added(desk: Labellings, service: Service) -> None:
    again = Service(service.workspace.root).labellings
    told: list[tuple[int, int]] = []
    again.ready("mail", lambda done, of: told.append((done, of)))
    assert told == [(0, 0)]
    again.add("mail", [{"text": "one more"}])
    again.ready("mail", lambda done, of: told.append((done, of)))
    assert told[-1] == (1, 1)


def test_while_there_are_no_vectors_rows_come_in_order(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    from luthier.app.computed import Vectors

    def broken(self: Any) -> Any:
        raise RuntimeError("no encoder here")

    monkeypatch.setattr(Vectors, "_opened", broken)
    desk = service.labellings
    desk.create("mail", labels=LABELS)
    desk.add("mail", rows(5))
    assert [asked.columns["number"] for asked in desk.next("mail", "ann", 3)] == [0, 1, 2]
    end = time.monotonic() + 10
    while not desk.get("mail")["vectors"]["problem"] and time.monotonic() < end:
        time.sleep(0.01)
    assert desk.get("mail")["vectors"]["problem"] == "no encoder here"
    label(desk, "ann", 5)
    assert desk.next("mail", "ann", 1) == []


def test_a_dataset_has_the_old_one_as_its_parent(desk: Labellings, service: Service, stored: Any) -> None:
    old = stored("dataset")
    desk.create("again", labels=LABELS, dataset=old.id)
    desk.add("again", [row | {"label": right(row["text"])} for row in rows()])
    made_of = desk.dataset("again", make_spec({"prepare": {"near_duplicates": 1.0}}))
    assert (made_of.kind, made_of.parents, made_of.name) == ("dataset", (old.id,), "again")
    assert sum(count_splits(Path(made_of.path)).values()) == 60
    assert {example.target for example in read_split(Path(made_of.path), "train")} == set(LABELS)
    with pytest.raises(InputError, match="nothing is labelled"):
        desk.dataset("mail", make_spec({}))


def test_labels_become_an_uploaded_file(desk: Labellings, service: Service) -> None:
    desk.add("mail", [row | {"label": right(row["text"])} for row in rows()])
    file = desk.file("mail")
    assert (file["filename"], file["purpose"]) == ("mail.jsonl", "fine-tune")
    assert service.files.get(file["id"]).facts["rows"] == 60


def test_a_trained_model_suggests(desk: Labellings, service: Service, export_folder: Path) -> None:
    """The answers of an endpoint, with its labels declared; the least sure rows first."""
    shutil.copytree(export_folder, service.workspace.work / "by-hand-export")
    export = service.workspace.artifacts.add(service.workspace.work / "by-hand-export", "export")
    desk.create("asked", model=export.id)
    assert desk.get("asked")["labels"] == json.loads((export_folder / "schema.json").read_text())["labels"]
    desk.add("asked", rows(20))
    desk.ready("asked")
    asked = desk.next("asked", "ann", 4)
    assert all(one.suggestion and one.suggestion["by"] == export.id for one in asked)
    assert all(one.suggestion["value"] in desk.get("asked")["labels"] for one in asked if one.suggestion)
    assert desk.get("asked")["answers"] == {"done": 20, "problem": ""}
    exported = json.loads(desk.export("asked", "label-studio")[1])
    assert exported[0]["predictions"][0]["model_version"] == export.id


@pytest.mark.long
def test_vectors_of_a_real_encoder(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A base that the operator put below ``models``, by the code that answers /v1/embeddings."""
    monkeypatch.undo()
    shutil.copytree(made.base(), service.workspace.root / "models" / "tiny")
    desk = service.labellings
    desk.create("mail", encoder="tiny")
    desk.add("mail", [{"text": "where is my refund"}, {"text": "please thanks"}])
    desk.ready("mail")
    found = desk._desk("mail").vectors.values
    assert {vector.shape for vector in found.values()} == {(32,)}
    assert [round(float(vector @ vector), 4) for vector in found.values()] == [1.0, 1.0]
