"""What a refused request says: the field, and what is wrong with its value."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from luthier.api import errors
from luthier.core.tuning import TuningRequest


def _said(body: dict[str, Any], *, below: tuple[str, ...] = ("body",)) -> dict[str, Any]:
    with pytest.raises(ValidationError) as caught:
        TuningRequest.model_validate({"model": "a", "training_file": "file-b"} | body)
    found = [one | {"loc": (*below, *one["loc"])} for one in caught.value.errors()]
    answer = errors.response(RequestValidationError(found))
    assert answer.status_code == 400
    return dict(json.loads(answer.body)["error"])


def test_a_database_that_has_no_connection_free_is_away() -> None:
    answer = errors.response(PoolTimeout("QueuePool limit of size 5 overflow 10 reached"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert json.loads(answer.body)["error"]["code"] == "database_away"


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"hyperparameters": {"n_epochs": 999}}, "hyperparameters.n_epochs", "less than or equal to 50"),
        ({"hyperparameters": {"n_epochs": "many"}}, "hyperparameters.n_epochs", "'auto', or: Input should be a valid integer"),
        ({"hyperparameters": {"learning_rate_multiplier": -1}}, "hyperparameters.learning_rate_multiplier", "greater than 0"),
        ({"metadata": {"path": 5}}, "metadata.path", "valid string"),
        ({"colour": "red"}, "colour", "not permitted"),
    ],
)
def test_a_field_of_several_kinds_is_told_what_is_wrong_with_what_was_meant(body: dict[str, Any], param: str, words: str) -> None:
    said = _said(body)
    assert (said["param"], said["target"]) == (param, param)
    assert said["message"].startswith(f"{param}: ")
    assert words in said["message"]
