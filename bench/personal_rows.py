"""The rows that a finder of personal data learns from: public sentences split by template, the same with other values, and made ones."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np

from luthier.core.types import Example, Place
from real_data import FOLDER
from spans import jsonl

FRESH = {"NAME": "person", "PLACE": "place", "ORGANISATION": "company"}
"""Kinds whose values are made anew in a copy, and what makes them."""
SUPPORT = {
    "person": "NAME",
    "city": "PLACE",
    "address": "ADDRESS",
    "email": "EMAIL",
    "phone": "PHONE",
    "card": "CARD",
    "iban": "IBAN",
    "ip": "IP",
}


def splits(task: Any, rows: int = 0) -> dict[str, list[Example]]:
    """Train, validation and test (60 : 15 : 25 of the templates), each with templates of its own."""
    from luthier.stages.prepare.finder import kind_of

    table = list(jsonl(FOLDER / "pii" / "labelled.jsonl.gz"))[: rows or None]
    templates = sorted({row["template"] for row in table})
    order = np.random.default_rng(13).permutation(templates).tolist()
    rank = {template: place / len(order) for place, template in enumerate(order)}
    found: dict[str, list[Example]] = {"train": [], "validation": [], "test": []}
    for line, row in enumerate(table, 1):
        at = rank[row["template"]]
        entities = [{**one, "label": kind_of(one["label"])} for one in row["entities"]]
        values = {"text": row["text"], "entities": entities, "template": str(row["template"])}
        example = task.example(values, Place("labelled.jsonl", line))
        found["train" if at < 0.6 else "validation" if at < 0.75 else "test"].append(example)
    return found


def varied(task: Any, examples: Sequence[Example], copies: int, seed: int = 7) -> list[Example]:
    """Copies with other names, places and organisations: half of them values of other rows of ``examples``, half made."""
    random, known = Random(seed), _values(examples)
    return [task.example(_copy(one, random, known), Place(f"varied {one.id[:8]}", copy)) for copy in range(copies) for one in examples]


def _values(examples: Sequence[Example]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in examples:
        for part in one.target["entities"]:
            found.setdefault(part["label"], []).append(one.inputs["text"][part["start"] : part["end"]])
    return found


def _copy(example: Example, random: Random, known: dict[str, list[str]]) -> dict[str, Any]:
    from luthier.catalog.grammar import Piece, pick
    from luthier.catalog.personal_sentences import as_written, joined, value

    text, at, pieces = example.inputs["text"], 0, []
    for part in sorted(example.target["entities"], key=lambda one: one["start"]):
        pieces.append(Piece(text[at : part["start"]]))
        kind, at = part["label"], part["end"]
        if kind not in FRESH:
            pieces.append(Piece(text[part["start"] : at], kind))
        elif random.random() < 0.5:
            pieces.append(Piece(pick(random, known[kind]), kind))
        else:
            pieces.append(value(FRESH[kind], random))
    words, entities = joined(as_written([*pieces, Piece(text[at:])], random))
    return {"text": words, "entities": entities}


def made(task: Any, count: int, support: int) -> list[Example]:
    """``count`` made sentences and ``support`` made support messages."""
    from luthier.catalog.made import make

    rows = [{"text": row["text"], "entities": row["entities"]} for row in (make("personal-sentences", count, 7) if count else ())]
    for row in make("support-messages", support, 7) if support else ():
        entities = [{**one, "label": SUPPORT[one["kind"]]} for one in row["entities"] if one["kind"] in SUPPORT]
        rows.append({"text": row["text"], "entities": entities})
    return [task.example(row, Place("made", line)) for line, row in enumerate(rows, 1)]


def merged(task: Any, examples: Sequence[Example]) -> list[Example]:
    """The same with addresses called places: the public sentences label a town now inside an address, now as a place beside it, by their
    template; Presidio calls both a location.
    """
    found = []
    for example in examples:
        entities = [{**one, "label": "PLACE" if one["label"] == "ADDRESS" else one["label"]} for one in example.target["entities"]]
        found.append(task.example({**example.columns, "text": example.inputs["text"], "entities": entities}, Place(example.source, 0)))
    return found


def by_template(examples: Sequence[Example], count: int, seed: int = 13) -> list[list[Example]]:
    """The rows in ``count`` parts of equally many templates; no template is in two."""
    templates = np.random.default_rng(seed).permutation(sorted({str(one.columns["template"]) for one in examples})).tolist()
    part = {template: number % count for number, template in enumerate(templates)}
    return [[one for one in examples if part[str(one.columns["template"])] == number] for number in range(count)]
