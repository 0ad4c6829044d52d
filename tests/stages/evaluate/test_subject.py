"""Rows as evaluation reads them: targets of one shape, whatever brackets the file has."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from luthier.core.job import Job
from luthier.core.plan import Plan, TrainPlan
from luthier.core.types import Example
from luthier.stages.evaluate import calibrate, label_errors, scoring
from luthier.stages.evaluate.subject import Subject, read
from luthier.store import datasets, files
from luthier.tasks.text_classification import plugin as task
from luthier.testing import made

LABELS = ["bill", "billing", "refund"]


def _subject(folder: Path, targets: list[object], *, several: bool) -> Subject:
    examples = [Example(str(n), {"text": f"text {n}"}, target) for n, target in enumerate(targets)]
    for split in ("train", "validation", "test"):
        datasets.write_split(folder, split, examples)  # type: ignore[arg-type]
    plan = Plan(name="n", task=task.name, model="m")
    job = Job(id="j", run="r", stage="evaluate", plan=plan, inputs={"dataset": str(folder)}, work="w")
    return Subject(job, task, Path(), Path(), {"labels": LABELS, "multi_label": several}, {})


def test_one_label_without_brackets_among_several(tmp_path: Path) -> None:
    subject = _subject(tmp_path, ["billing", ["billing", "refund"], [], "refund"] * 10, several=True)
    wanted = [["billing"], ["billing", "refund"], [], ["refund"]] * 10
    assert [row.target for row in subject.train] == [row.target for row in subject.validation] == wanted
    marks = np.array([[label in target for label in LABELS] for target in wanted])
    judged = subject.judged(subject.test, {"logits": 6.0 * marks - 3.0}, {})
    assert scoring.right_rows(judged).all()
    assert calibrate.thresholds(judged)["bill"] == calibrate.thresholds(judged)["billing"]  # "bill" is no part of "billing"
    assert label_errors.likely(task, judged)["found"] == 0


def test_a_list_of_one_where_a_row_has_one_label(tmp_path: Path) -> None:
    subject = _subject(tmp_path, ["billing", ["refund"]], several=False)
    assert [row.target for row in subject.test] == ["billing", "refund"]


def test_an_answer_kept_by_an_earlier_evaluation_may_lack_the_brackets() -> None:
    subject = Subject(Job.model_construct(), task, Path(), Path(), {"labels": LABELS, "multi_label": True}, {})
    judged = subject.judged([Example("1", {}, "refund"), Example("2", {}, "bill")], {"logits": np.array([[-3.0, -3.0, 3.0]] * 2)}, {})
    assert scoring.right_rows(judged).tolist() == [True, False]


def test_rows_are_encoded_as_the_base_model_does_that_the_training_started_from(tmp_path: Path) -> None:
    """A base model that has read unlabelled texts may have more tokens than the one that was asked for."""
    base, adapted = made.base(2), tmp_path / "adapted-1234"
    shutil.copytree(base, adapted)
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.add_tokens(["chargeback"])
    tokenizer.save(str(adapted / "tokenizer.json"))
    files.write_json(adapted / "adapted.json", {"texts": 1})
    files.write_json(tmp_path / "model" / "schema.json", {"labels": LABELS, "multi_label": False})
    files.write_json(tmp_path / "model" / "training.json", {"adapted": {"base": adapted.name}})
    datasets.write_split(tmp_path / "data", "test", [Example("1", {"text": "my chargeback"}, "bill")])
    plan = Plan(name="n", task=task.name, model="m", train=TrainPlan(added_tokens=1))
    inputs = {"dataset": str(tmp_path / "data"), "model": str(tmp_path / "model"), "base": str(base)}
    subject = read(Job(id="j", run="r", stage="evaluate", plan=plan, inputs=inputs, work=str(tmp_path), cache=str(tmp_path)))
    assert (subject.start, subject.base) == (adapted, base)
    ids = subject.items(subject.test, targets=False)[0]["input_ids"].tolist()
    assert tokenizer.token_to_id("chargeback") in ids
