"""Finds which column of a file is which column of the task: by ``--map``, by name, or by a known other name."""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from luthier.core.errors import InputError, SpecError
from luthier.core.personal_data import mask_text
from luthier.core.types import Column


class Found(NamedTuple):
    """``chosen``: task column -> file column; ``group``: the file column of the group ("" when there is none)."""

    chosen: dict[str, str]
    group: str


def find_columns(title: str, names: Iterable[str], columns: Sequence[Column], given: Mapping[str, str], group: str) -> Found:
    """The mapping for a file with these column names; raises ``InputError`` that says which one is missing and what was probably meant."""
    known = list(names)
    tasks = [column.name for column in columns]
    for task_column, file_column in given.items():
        if task_column not in tasks:
            swapped = file_column in tasks
            near = difflib.get_close_matches(task_column, tasks, n=1)
            hint = (
                f"write it the other way round: {_map(file_column, task_column)}"
                if swapped
                else f"did you mean {near[0]!r}?"
                if near
                else ""
            )
            raise SpecError(f"data.map.{task_column}", "the task has no such column", hint or "the task's columns: " + ", ".join(tasks))
        if file_column not in known:
            raise _missing(title, file_column, known, task_column)
    taken = set(given.values())
    chosen = dict(given)
    for column in columns:
        if column.name in chosen:
            continue
        name = _by_name(column, [name for name in known if name not in taken])
        if name:
            chosen[column.name] = name
            taken.add(name)
        elif column.required:
            raise _missing(title, column.name, known, column.name)
    if group and group not in known:
        near = difflib.get_close_matches(group, known, n=1)
        meant = f"--group {shlex.quote(near[0])} (in a run: --set {shlex.quote(f'data.group={near[0]}')})" if near else ""
        hint = f"did you mean {meant}?" if near else f"its columns: {_listed(known)}"
        raise InputError(f"{title}: data.group: there is no column {group!r}", hint)
    return Found(chosen, group)


def _by_name(column: Column, known: Sequence[str]) -> str:
    lower = {name.casefold().strip(): name for name in reversed(known)}
    return next((lower[name] for name in (column.name, *column.aliases) if name in lower), "")


def _missing(title: str, wanted: str, known: Sequence[str], task_column: str) -> InputError:
    near = difflib.get_close_matches(wanted.casefold(), [name.casefold() for name in known], n=1, cutoff=0.55)
    meant = next((name for name in known if near and name.casefold() == near[0]), "")
    hint = f"did you mean {_map(task_column, meant)}?" if meant else f"say which one it is: {_map(task_column, 'COLUMN')}"
    return InputError(f"{title}: the column {wanted!r} is missing; the file has {_listed(known)}", hint)


def _map(task_column: str, file_column: str) -> str:
    pair = f"{task_column}={file_column}"
    return f"--map {shlex.quote(pair)} (in a run: --set {shlex.quote('data.map.' + pair)})"


def _listed(names: Sequence[str]) -> str:
    """The first names. Of a file without a header they are a row, with whatever a person wrote there."""
    return ", ".join(repr(mask_text(name)[0]) for name in names[:12]) + (" ..." if len(names) > 12 else "")


def as_text(value: Any) -> str:
    """A cell of another column as text: nothing is ``""``, lists and objects are JSON (what JSON has no form for is text in them)."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, list | dict):
        return _JSON.encode(value)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


_JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=as_text)
