"""Label Studio's JSON: an array of tasks, each with its data and the annotations (choices, or labelled spans) that people made of it."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from luthier.core.errors import InputError, RowError
from luthier.core.ports import BadRow, Row
from luthier.formats import _text

BLOCK = 1 << 20
_SPACE = re.compile(r"[\s,]*")
_REMEDY = 'export as "JSON" in Label Studio: [{"data": {"text": "..."}, "annotations": [...]}, ...]'


class Annotation(NamedTuple):
    """What one person (or, in ``predictions``, a model) said of a task. ``choices`` or ``spans`` is ``None`` where there is no such result.

    ``at``: seconds since 1970, 0 where it is not said. ``spans``: ``{"start", "end", "label"}``. ``empty``: it was submitted without any
    result, which says that there is none.
    """

    author: str
    at: float
    choices: list[str] | None
    spans: list[dict[str, Any]] | None
    empty: bool = False


def text_of(task: Any) -> str:
    """The text of a task: ``data.text``, else the first text in ``data``; raises ``RowError``."""
    data = task.get("data") if isinstance(task, Mapping) else None
    if not isinstance(data, Mapping):
        raise RowError("data", "is missing", _REMEDY)
    texts = [data["text"]] if isinstance(data.get("text"), str) else [value for value in data.values() if isinstance(value, str)]
    if not texts:
        raise RowError("data", "holds no text", 'write {"data": {"text": "..."}}')
    return str(texts[0])


def said_of(task: Mapping[str, Any], field: str = "annotations") -> list[Annotation]:
    """What was said of a task, oldest first; cancelled (skipped) annotations are left out. Raises ``RowError`` that names the place."""
    given = task.get(field) or []
    if not isinstance(given, list):
        raise RowError(field, f"is a {type(given).__name__}, not a list", _REMEDY)
    found = []
    for number, one in enumerate(given):
        place = f"{field}[{number}]"
        if not isinstance(one, Mapping) or not isinstance(one.get("result", []), list):
            raise RowError(place, "has no list of results", _REMEDY)
        if not one.get("was_cancelled"):
            found.append(_annotation(one, place, text_of(task)))
    return sorted(found, key=lambda annotation: annotation.at)


def _annotation(one: Mapping[str, Any], place: str, text: str) -> Annotation:
    choices: list[str] | None = None
    spans: list[dict[str, Any]] | None = None
    for number, result in enumerate(one.get("result", [])):
        value = result.get("value") if isinstance(result, Mapping) else None
        if not isinstance(value, Mapping):
            raise RowError(f"{place}.result[{number}]", "has no value", _REMEDY)
        if isinstance(value.get("choices"), list):
            choices = [*(choices or []), *map(str, value["choices"])]
        elif isinstance(value.get("labels"), list):
            start, end = value.get("start"), value.get("end")
            if not (isinstance(start, int) and isinstance(end, int)):
                raise RowError(f"{place}.result[{number}].value", "has no start and end in characters", "label plain text, not HTML")
            start, end = _characters(text, start, end, value.get("text"))
            spans = [*(spans or []), *({"start": start, "end": end, "label": str(label)} for label in value["labels"][:1])]
    return Annotation(_author(one), _when(one), choices, spans, not one.get("result"))


def _characters(text: str, start: int, end: int, marked: Any) -> tuple[int, int]:
    """The place in characters. Label Studio before 1.4 counts UTF-16 units, two for an emoji: the marked words, which stand beside the
    place, tell (github.com/HumanSignal/label-studio/issues/1347).
    """
    if not isinstance(marked, str) or text[start:end] == marked or not 0 <= start < end:
        return start, end
    units = text.encode("utf-16-le", "surrogatepass")
    before, inside = (units[2 * one : 2 * other].decode("utf-16-le", "replace") for one, other in ((0, start), (start, end)))
    return (len(before), len(before) + len(inside)) if inside == marked else (start, end)


def _author(one: Mapping[str, Any]) -> str:
    who = one.get("completed_by", one.get("model_version"))
    if isinstance(who, Mapping):
        who = who.get("email") or who.get("username") or who.get("id")
    return f"annotator-{who}" if isinstance(who, int) else str(who or "label-studio")


def _when(one: Mapping[str, Any]) -> float:
    try:
        return datetime.datetime.fromisoformat(str(one.get("created_at", "")).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0


def tasks(path: Path, encoding: str = "") -> Iterator[tuple[Any, int]]:
    """Each element of the array, and how far into the file it ends; raises ``InputError`` for a file that is no whole array."""
    with _text.opened(path, encoding) as opened, _text.damage_named(path):
        decoder, buffer, done, block = json.JSONDecoder(), opened.text.read(BLOCK).lstrip("\ufeff \t\r\n"), False, BLOCK
        if not buffer.startswith("["):
            raise InputError(f"{path}: not an array of tasks", _REMEDY)
        at = 1
        while True:
            at = _SPACE.match(buffer, at).end()  # type: ignore[union-attr]
            if buffer.startswith("]", at):
                return
            try:
                if at == len(buffer):
                    raise ValueError
                value, end = decoder.raw_decode(buffer, at)
                if end == len(buffer) and not done:
                    raise ValueError  # a number could go on
            except (ValueError, RecursionError) as error:
                more = "" if done else opened.text.read(block)
                done, block, buffer, at = not more, block * 2, buffer[at:], 0
                if done or len(buffer) > _text.LONGEST_LINE or isinstance(error, RecursionError):
                    raise InputError(f"{path}: the array of tasks is torn or not JSON near {buffer[:40]!r}", _REMEDY) from None
                buffer += more
                continue
            at, block = end, BLOCK
            yield value, opened.raw.tell()


class LabelStudio:
    """See the module."""

    name = "label-studio"
    summary = "Label Studio's JSON export: text, label (choices) and entities (spans) of the newest annotation"
    suffixes = (".json",)

    def sniff(self, path: Path, head: bytes) -> float:
        """Sure when an array of objects with ``data`` and ``annotations`` or ``predictions`` begins."""
        start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
        known = b'"data"' in start and (b'"annotations"' in start or b'"predictions"' in start)
        return 0.95 if re.match(rb"\[\s*\{", start) and known else 0.0

    def rows(self, path: Path, *, encoding: str = "", delimiter: str = "") -> Iterator[Row | BadRow]:
        """``text``, ``label`` and ``entities`` (where there are any) and the other data of each task; ``line``: its number from 1."""
        number = 0
        for number, (task, at_bytes) in enumerate(tasks(path, encoding), 1):
            try:
                yield Row(number, values(task), at_bytes)
            except RowError as error:
                yield BadRow(number, error.field, error.reason, error.remedy)
        if not number:
            raise InputError(f"{path}: the array holds no task", _REMEDY)


def values(task: Any) -> dict[str, Any]:
    """A task as a row; raises ``RowError``."""
    if not isinstance(task, Mapping):
        raise RowError("", f"a {type(task).__name__}, not a task", _REMEDY)
    text, said = text_of(task), said_of(task)
    row = {str(name): value for name, value in task["data"].items() if value != text and name not in ("text", "label", "entities")}
    row["text"] = text
    if said and (choices := said[-1].choices) is not None:
        row["label"] = choices[0] if len(choices) == 1 else choices
    if said and (spans := [] if said[-1].empty else said[-1].spans) is not None:
        row["entities"] = spans
    return row


plugin = LabelStudio()
