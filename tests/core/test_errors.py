"""The error tree: each is a standard error too, has a code of its own, and comes back from JSON."""

from __future__ import annotations

import json

import pytest

from luthier.core import errors
from luthier.core.errors import JobFailed, LuthierError, MissingExtra, RowError, SpecError, UnknownName, from_json

STANDARD: dict[type[LuthierError], type[Exception]] = {
    errors.InputError: ValueError,
    errors.RowError: ValueError,
    errors.SpecError: ValueError,
    errors.UnknownName: LookupError,
    errors.MissingExtra: ImportError,
    errors.NotPossible: RuntimeError,
    errors.GateRefused: RuntimeError,
    errors.Conflict: RuntimeError,
    errors.Damaged: OSError,
    errors.UnsafeFile: PermissionError,
    errors.Unauthorized: PermissionError,
    errors.Forbidden: PermissionError,
    errors.Overloaded: RuntimeError,
    errors.RateLimited: RuntimeError,
    errors.QuotaExceeded: RuntimeError,
    errors.NoSpace: OSError,
    errors.Stopped: RuntimeError,
    errors.JobFailed: RuntimeError,
}
PLAIN = [c for c in STANDARD if c not in (RowError, SpecError, MissingExtra, errors.RateLimited)]


def test_the_tree_is_whole() -> None:
    found = {c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, LuthierError) and c is not LuthierError}
    assert found == set(STANDARD)
    for cls in found:
        assert cls.__name__ in (errors.__doc__ or "")


def test_codes_are_unique() -> None:
    codes = [cls.code for cls in STANDARD]
    assert len(set(codes)) == len(codes)
    assert "error" not in codes


@pytest.mark.parametrize("cls", PLAIN)
def test_every_error_is_a_standard_one_too(cls: type[LuthierError]) -> None:
    with pytest.raises(STANDARD[cls]) as caught:
        raise cls("training.jsonl:18: messages[2].role is 'asistant'", "did you mean 'assistant'?")
    error = caught.value
    assert isinstance(error, LuthierError)
    assert str(error) == error.message == "training.jsonl:18: messages[2].role is 'asistant'"
    carried = {"cause_code": "error"} if cls is JobFailed else {}
    assert error.as_json() == {"code": cls.code, "message": error.message, "hint": "did you mean 'assistant'?"} | carried
    assert cls("a").hint == ""


def test_errors_with_a_place_name_it() -> None:
    row = RowError("label", "is empty", "fill it in")
    assert isinstance(row, ValueError)
    assert (str(row), row.hint, row.field) == ("label: is empty", "fill it in", "label")
    assert str(RowError("", "is not a mapping", "")) == "is not a mapping"
    spec = SpecError("train.learning_rate", "is negative", "use 1e-4")
    assert (str(spec), spec.path, spec.as_json()["code"]) == ("train.learning_rate: is negative", "train.learning_rate", "invalid_spec")
    extra = MissingExtra("torch", "train")
    assert isinstance(extra, ImportError)
    assert (str(extra), extra.hint) == ("torch is not installed", "pip install 'luthier[train]'")


@pytest.mark.parametrize("cls", PLAIN)
def test_an_error_comes_back_from_json_as_itself(cls: type[LuthierError]) -> None:
    sent = cls("a/b.csv: größe", "remedy")
    back = from_json(json.loads(json.dumps(sent.as_json())))
    assert type(back) is cls
    assert back.as_json() == sent.as_json()


@pytest.mark.parametrize(
    "sent",
    [
        RowError("text: a", "is empty", "fill it"),
        RowError("", "is not a mapping", ""),
        SpecError("train.epochs", "is 0", "use 3"),
        MissingExtra("torch", "train"),
        JobFailed("evaluate: killed", "more memory", "no_space"),
    ],
)
def test_what_an_error_carries_comes_back_with_it(sent: LuthierError) -> None:
    back = from_json(json.loads(json.dumps(sent.as_json())))
    assert type(back) is type(sent)
    assert vars(back) == vars(sent)
    assert str(back) == str(sent)


def test_an_error_from_an_earlier_version_comes_back_without_what_it_did_not_carry() -> None:
    back = from_json({"code": "invalid_row", "message": "text: is empty", "hint": "fill it"})
    assert isinstance(back, RowError)
    assert (str(back), back.remedy, back.field) == ("text: is empty", "fill it", "")
    failed = from_json({"code": "job_failed", "message": "a", "hint": ""})
    assert isinstance(failed, JobFailed)
    assert failed.cause_code == "job_failed"


def test_an_error_that_is_not_ours_becomes_a_failed_job_with_its_code() -> None:
    back = from_json({"code": "some_new_code", "message": "words of the stage", "hint": "h"})
    assert isinstance(back, JobFailed)
    assert (back.message, back.hint, back.cause_code) == ("words of the stage", "h", "some_new_code")
    assert isinstance(from_json({}), JobFailed)


def test_a_near_name_is_offered() -> None:
    error = UnknownName.among("task", "text-clasification", ["text-classification", "token-classification", "chat"])
    assert isinstance(error, LookupError)
    assert str(error) == "unknown task 'text-clasification'"
    assert error.hint.startswith("did you mean 'text-classification'")
    assert "chat" not in error.hint


def test_without_a_near_name_the_known_ones_are_listed_and_without_any_that_is_said() -> None:
    assert UnknownName.among("format", "zzz", ["csv", "arrow"]).hint == "known: arrow, csv"
    assert UnknownName.among("format", "zzz", [f"{n:03d}" for n in range(99)]).hint.endswith("019 ...")
    assert UnknownName.among("model", "zzz", []).hint == "there is no model yet"
