"""What the texts of a job may be: a caller far away names no folder, no address and no package of the server.

Every text that the body of ``POST /fine_tuning/jobs`` can carry is decided upon in ``DECIDED``. A field that is not in it is refused, and
``tests/app/test_remote_fields.py`` fails: who adds a setting says here what becomes of its text.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from luthier.core.errors import SpecError
from luthier.core.spec import SECTIONS

REFUSED = "refused: it names a file of the server"
ALLOWED = "only what the owner of the server allows"
KEPT = "kept and shown, never looked up"
NAME = "compared with names that are registered"
COLUMN = "a column of the file, or a label in it"

DECIDED: dict[str, str] = {
    "model": "find_base: the catalog, the hub by id, a folder below models/, or a tuned model by name; never a path",
    "training_file": "an id in the table of files",
    "validation_file": "an id in the table of files",
    "suffix": KEPT,
    "metadata": KEPT,
    "trainingType": KEPT,
    "task": NAME,
    "executor": NAME,
    "method.reinforcement.grader": "refused with its method",
    "method.reinforcement.hyperparameters": "refused with its method",
    "method.reinforcement.response_format": "refused with its method",
    "integrations.sink": "tuning_sinks: a sink that the owner names, or one that writes into the workspace",
    "integrations.target": "tuning_sinks: refused",
    "integrations.experiment": "tuning_sinks: a name, cleaned",
    "integrations.project": "tuning_sinks: a name, cleaned",
    "integrations.wandb.project": "tuning_sinks: a name, cleaned",
    "integrations.wandb.name": "tuning_sinks: a value, quoted",
    "integrations.wandb.entity": "tuning_sinks: a value, quoted; left out where something is sent",
    "integrations.wandb.tags": "tuning_sinks: values, quoted",
    "data.train": REFUSED,
    "data.validation": REFUSED,
    "data.test": REFUSED,
    "data.format": NAME,
    "data.map": COLUMN,
    "data.group": COLUMN,
    "data.encoding": "a codec of Python's: its lookup opens the package encodings only",
    "data.delimiter": "a character",
    "prepare.mask_kinds": NAME,
    "prepare.mask_patterns": "regular expressions",
    "prepare.ner_model": ALLOWED,
    "train.method": NAME,
    "train.unlabelled": REFUSED,
    "train.metric": NAME,
    "train.lora_targets": "names of layers in the model",
    "evaluate.bars": NAME,
    "evaluate.baselines": NAME,
    "evaluate.slices": COLUMN,
    "evaluate.costs": COLUMN,
    "evaluate.compare_to": "an id or a name in the workspace's own store; Artifacts refuses what leaves it",
    "export.runtimes": NAME,
}
"""Dotted path -> what becomes of the text (of numbers and closed choices nothing has to be said)."""


def texts(form: type[BaseModel], under: str = "") -> Iterator[str]:
    """Dotted paths of the fields that can hold a text of the caller's own, those of parts included."""
    for name, info in form.model_fields.items():
        parts = [one for one in _leaves(info.annotation) if isinstance(one, type) and issubclass(one, BaseModel)]
        for part in parts:
            yield from texts(part, f"{under}{name}.")
        if not parts and any(one in (str, bytes, object, Any) for one in _leaves(info.annotation)):
            yield under + name


def _leaves(annotation: Any) -> Iterator[Any]:
    """The plain types that an annotation is made of; a closed choice is none."""
    if get_origin(annotation) is Literal:
        return
    inner = get_args(annotation)
    if not inner:
        yield annotation
    for one in inner:
        yield from _leaves(one)


def ner_models() -> list[str]:
    """What ``prepare.ner_model`` of a job may be: ``LUTHIER_NER_MODELS``, names or folders, parted by commas."""
    return [one.strip() for one in os.environ.get("LUTHIER_NER_MODELS", "").split(",") if one.strip()]


def check(sections: Mapping[str, Any]) -> None:
    """Refuses texts that would be a place on the server (``SpecError``); ``sections`` are those of a recipe, as a caller wrote them."""
    for section, form in SECTIONS.items():
        written = sections.get(section) or {}
        for path in texts(form, f"{section}."):
            value = written.get(path.removeprefix(f"{section}.")) if isinstance(written, Mapping) else None
            if value:
                _check(path, value)


def _check(path: str, value: Any) -> None:
    decided = DECIDED.get(path, REFUSED)
    if decided == REFUSED:
        raise SpecError(path, "cannot be set by a job: it may name a file of the server", "upload the file, and name it by its id")
    known = ner_models() if decided == ALLOWED else []
    if decided == ALLOWED and value not in known:
        hint = f"name one of: {', '.join(known)}" if known else "leave it empty; the server's owner can allow models by LUTHIER_NER_MODELS"
        raise SpecError(path, f"{str(value)[:200]!r} is not among the models that this server allows", hint)
