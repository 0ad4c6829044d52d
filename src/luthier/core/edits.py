"""Replacements in a text, and where a place before them lies after them and back: what keeps spans right when a text is masked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Edit(NamedTuple):
    """``text[start:end]`` of the text as it was gives way to ``text``. Edits of one text stand in order and do not overlap."""

    start: int
    end: int
    text: str


def applied(text: str, edits: Sequence[Edit]) -> str:
    """The text after the edits.

    >>> applied("call 555-0100 now", [Edit(5, 13, "<PHONE_1>")])
    'call <PHONE_1> now'
    """
    parts: list[str] = []
    at = 0
    for edit in edits:
        parts += (text[at : edit.start], edit.text)
        at = edit.end
    return "".join([*parts, text[at:]])


def after(start: int, end: int, edits: Sequence[Edit]) -> tuple[int, int]:
    """Where ``[start, end)`` of the text before the edits lies after them; what an edit touches is taken in whole."""
    return _moved(start, end, [(edit.start, edit.end, len(edit.text)) for edit in edits])


def before(start: int, end: int, edits: Sequence[Edit]) -> tuple[int, int]:
    """Where ``[start, end)`` of the edited text lay before the edits; what an edit touches is taken in whole."""
    turned, shift = [], 0
    for edit in edits:
        size = len(edit.text)
        turned.append((edit.start + shift, edit.start + shift + size, edit.end - edit.start))
        shift += size - (edit.end - edit.start)
    return _moved(start, end, turned)


def _moved(start: int, end: int, pieces: Sequence[tuple[int, int, int]]) -> tuple[int, int]:
    """``pieces``: (start, end, new length) of what changes its length. What is put in right behind a place is no part of it."""
    first, last, shift = start, end, 0
    new_first, new_last = start, end
    for begin, stop, size in pieces:
        grown = size - (stop - begin)
        if stop <= first:
            new_first = first + shift + grown
        elif begin <= first:
            new_first = begin + shift
        if stop <= last and begin < last:
            new_last = last + shift + grown
        elif begin < last:
            new_last = begin + shift + size
        shift += grown
    return new_first, new_last
