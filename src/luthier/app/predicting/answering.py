"""Who answers a batch of rows: an endpoint of this workspace in this process, or a server; both refuse a bad row alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from luthier.core import registry
from luthier.core.errors import InputError, LuthierError, NotPossible, RowError
from luthier.core.ports import Task
from luthier.core.types import Column
from luthier.stages.serve.masking import Masking

TEXT = "text"

Cells = Mapping[str, Any]
"""A row's inputs by the task's column names."""


class Refused(NamedTuple):
    """Why a row has no answer."""

    field: str
    reason: str
    remedy: str


Answer = dict[str, Any] | Refused


class Answering(Protocol):
    """An endpoint that can be asked. ``export``: what it answers with; ``masking``: how texts may be written down."""

    task: Task
    export: str
    masking: Masking

    def ask(self, rows: Sequence[Cells]) -> list[Answer]:
        """The answers, in order."""

    def close(self) -> None:
        """Lets go of what it holds."""


def inputs_of(task: Task) -> list[Column]:
    """The columns that a question has: the first one, and what a row may have besides. The right answer is not asked for."""
    return [task.columns[0], *(column for column in task.columns[1:] if not column.required)]


def body_of(task: Task, rows: Sequence[Cells]) -> dict[str, Any]:
    """The request for some rows: texts go together, anything else alone."""
    if task.columns[0].name == TEXT:
        return {"texts": [row.get(TEXT) for row in rows]}
    return {name: value for name, value in rows[0].items() if value is not None}


def answered(task: Task, rows: Sequence[Cells], ask: Callable[[Mapping[str, Any]], list[dict[str, Any]]]) -> list[Answer]:
    """The answers of ``ask`` for the rows that can be asked; a batch that is refused as a whole is asked row by row."""
    found: list[Answer] = [_checked(task, row) or {} for row in rows]
    good = [number for number, one in enumerate(found) if not isinstance(one, Refused)]
    together = task.columns[0].name == TEXT
    for numbers in [good] if together and good else [[number] for number in good]:
        try:
            answers: list[Answer] = [*ask(body_of(task, [rows[number] for number in numbers]))]
        except InputError as error:
            answers = [_alone(task, rows[number], ask) for number in numbers] if len(numbers) > 1 else [_refused(task, error)]
        for number, answer in zip(numbers, answers, strict=True):
            found[number] = answer
    return found


def _alone(task: Task, row: Cells, ask: Callable[[Mapping[str, Any]], list[dict[str, Any]]]) -> Answer:
    try:
        return ask(body_of(task, [row]))[0]
    except InputError as error:
        return _refused(task, error)


def _checked(task: Task, row: Cells) -> Refused | None:
    try:
        task.request(body_of(task, [row]))
    except LuthierError as error:
        return _refused(task, error)
    return None


def _refused(task: Task, error: LuthierError) -> Refused:
    """The place in a request ("texts[0]: is empty") is the row's column, for whoever reads the file."""
    field, reason = (error.field, error.reason) if isinstance(error, RowError) else (task.columns[0].name, error.message)
    for place in ("texts[0]: ", f"{task.columns[0].name}: "):
        reason = reason.removeprefix(place)
    return Refused(field, reason, error.hint)


class Here:
    """An exported folder, opened in this process; nothing is journaled."""

    def __init__(self, info: Any) -> None:
        from luthier.stages.serve.writing import open_export

        self.export: str = info.export_id
        self._opened = open_export(info.folder)
        self.task, self.masking = self._opened.task, self._opened.masking

    def ask(self, rows: Sequence[Cells]) -> list[Answer]:
        """The answers, in order."""

        def now(body: Mapping[str, Any]) -> list[dict[str, Any]]:
            answers = self._opened.predict_now(self.task.request(body))
            return [self.task.answer(one.prediction, scores=False) for one in answers]

        return answered(self.task, rows, now)

    def close(self) -> None:
        """Frees the model."""
        self._opened.close()


class There:
    """An endpoint of a server; it masks what it is sent by its own patterns, so what is written here is masked by the usual ones."""

    def __init__(self, client: Any, endpoint: str) -> None:
        about = client.endpoints.get(endpoint)
        self.export: str = about["export"]
        if about["task"] not in registry.names("tasks"):
            raise NotPossible(f"endpoint {endpoint!r} has the task {about['task']!r}, which is not installed here", "install its package")
        self.task: Task = registry.get("tasks", about["task"])
        self.masking = Masking({})
        self._client, self._endpoint = client, endpoint

    def ask(self, rows: Sequence[Cells]) -> list[Answer]:
        """The answers, in order."""

        def far(body: Mapping[str, Any]) -> list[dict[str, Any]]:
            return [
                {name: value for name, value in one.items() if name != "latency_ms"}
                for one in self._client.endpoints.ask(self._endpoint, body)
            ]

        return answered(self.task, rows, far)

    def close(self) -> None:
        """Nothing is held."""
