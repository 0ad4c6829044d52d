"""Personal data in what people send: masked as prepare masked the dataset, so that a model meets what it learned from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from luthier.core.edits import Edit
from luthier.core.hooks import edited
from luthier.core.personal_data import mask_edits, mask_text
from luthier.core.plan import PreparePlan
from luthier.core.ports import Task
from luthier.core.types import Example
from luthier.store import files


class Masking:
    """What a plan's ``prepare`` says of masking, done for one text at a time and by patterns alone (prepare has Presidio too)."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        self.on = bool(said.get("mask", False))
        self.kinds: tuple[str, ...] = tuple(said.get("mask_kinds", ()))
        self.patterns: dict[str, str] = dict(said.get("mask_patterns", PreparePlan().mask_patterns))
        self._learned = {kind: pattern for kind, pattern in self.patterns.items() if not self.kinds or kind in self.kinds}

    @classmethod
    def of(cls, folder: Path) -> Masking:
        """From ``plan.json`` of an exported folder; where there is none, the model is asked what people wrote."""
        path = folder / "plan.json"
        return cls(files.read_json(path).get("prepare", {}) if path.is_file() else {})

    def example(self, task: Task, example: Example) -> tuple[Example, list[Edit]]:
        """The example as it would stand in the dataset, with the id of its masked content, and what was replaced in its text."""
        edits = mask_edits(task.text(example), self.kinds, self._learned)[0] if self.on else []
        return (edited(task, example, edits) if edits else example), edits

    def kept(self, text: str) -> str:
        """The text as it may be written down: every kind is masked, also those that the dataset was allowed to hold."""
        return mask_text(text, (), self.patterns)[0]
