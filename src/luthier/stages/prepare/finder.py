"""Finds personal data with a model that Luthier itself trained (token-classification, exported): names, places, organisations, addresses.

No torch is needed: the exported folder is opened as serving opens it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from luthier.core import registry
from luthier.core.errors import InputError
from luthier.core.personal_data import Span
from luthier.core.types import Example
from luthier.stages.carried import carry
from luthier.store import files

ENTITIES: dict[str, str] = {
    "PERSON": "NAME",
    "PER": "NAME",
    "NAME": "NAME",
    "GPE": "PLACE",
    "LOC": "PLACE",
    "LOCATION": "PLACE",
    "CITY": "PLACE",
    "PLACE": "PLACE",
    "ORG": "ORGANISATION",
    "ORGANIZATION": "ORGANISATION",
    "ORGANISATION": "ORGANISATION",
    "STREET_ADDRESS": "ADDRESS",
    "ADDRESS": "ADDRESS",
    "EMAIL_ADDRESS": "EMAIL",
    "PHONE_NUMBER": "PHONE",
    "CREDIT_CARD": "CARD",
    "IBAN_CODE": "IBAN",
    "US_SSN": "SSN",
    "IP_ADDRESS": "IP",
    "DOMAIN_NAME": "URL",
}
"""What spans are called in public data sets, and the kind that each is here; another name is a kind of its own, in capitals."""


def kind_of(label: str) -> str:
    """The kind of personal data that a model's label means."""
    name = label.upper().replace("-", "_").replace(" ", "_")
    return ENTITIES.get(name, name)


class Finder:
    """An opened model. Texts longer than it reads are looked at in pieces, cut at white space."""

    def __init__(self, folder: Path) -> None:
        facts = files.read_json(folder / "export.json")
        self.task: Any = registry.get("tasks", facts["task"])
        self.schema = files.read_json(folder / "schema.json")
        if not self.schema.get("entities"):
            raise InputError(
                f"prepare.ner_model: {folder} does {facts['task']}, which finds no spans", "name a token-classification export"
            )
        self.calibration = files.read_json(folder / "calibration.json") if (folder / "calibration.json").exists() else {}
        self.processor = self.task.processor(folder, self.schema)
        self.session = registry.get("runtimes", facts["runtime"]).open(folder, facts["graph"], threads=1)
        self.letters = max(40, 2 * int(self.schema["max_tokens"]))

    @property
    def kinds(self) -> set[str]:
        """What it can find."""
        return {kind_of(label) for label in self.schema["entities"]}

    def spans(self, text: str) -> list[Span]:
        """Personal data in the text, in order."""
        found: list[Span] = []
        for start, end in pieces(text, self.letters):
            example = Example("", {"text": text[start:end]})
            items = self.task.encode([example], self.processor, self.schema)
            outputs = carry(self.task, items, self.session.run(self.task.collate(items)))
            (answer,) = self.task.decode([""], outputs, self.schema, self.calibration)
            found += [Span(start + one["start"], start + one["end"], kind_of(one["label"])) for one in answer.output["entities"]]
        return found


def pieces(text: str, most: int) -> list[tuple[int, int]]:
    """[start, end) of pieces of at most ``most`` characters, each ending after white space where there is any."""
    found, start = [], 0
    while start < len(text):
        end = min(start + most, len(text))
        if end < len(text):
            blank = max(text.rfind(mark, start + most // 2, end) for mark in " \n\t")
            end = blank + 1 if blank > 0 else end
        if text[start:end].strip():
            found.append((start, end))
        start = end
    return found
