"""What a person writes: the plan's sections with every field optional, read from YAML, flags, REST or keywords."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, field_validator
from pydantic_core import PydanticCustomError

from luthier.core.errors import InputError, SpecError
from luthier.core.plan import DataPlan, DeployPlan, EvaluatePlan, ExportPlan, PreparePlan, Section, TrainPlan


def _form(section: type[Section]) -> type[BaseModel]:
    """The same fields, each optional and ``None`` by default: what is not written is not decided."""
    fields: dict[str, Any] = {
        name: (info.annotation | None, Field(default=None, description=info.description, **_bounds(info.metadata)))  # type: ignore[operator]
        for name, info in section.model_fields.items()
    }
    return create_model(section.__name__.replace("Plan", "Spec"), __config__=ConfigDict(extra="forbid", allow_inf_nan=False), **fields)


def _bounds(metadata: list[Any]) -> dict[str, Any]:
    bounds = {}
    for rule in metadata:
        for key in ("ge", "gt", "le", "lt"):
            if getattr(rule, key, None) is not None:
                bounds[key] = getattr(rule, key)
    return bounds


SECTIONS: dict[str, type[Section]] = {
    "data": DataPlan,
    "prepare": PreparePlan,
    "train": TrainPlan,
    "evaluate": EvaluatePlan,
    "export": ExportPlan,
    "deploy": DeployPlan,
}
_FORMS = {name: _form(section) for name, section in SECTIONS.items()}
_FILES = {"data": ("train", "validation", "test"), "train": ("unlabelled",)}
"""Fields that name files: one name is a list of one, and in a recipe they are looked for beside it."""
_FIELDS_BELOW = "write fields below it, e.g. train: {epochs: 3}"


class Spec(BaseModel):
    """A recipe. Sections are dictionaries that hold only what was written, already checked."""

    model_config = ConfigDict(extra="forbid")

    name: str = ""
    task: str = "text-classification"
    model: str = "all-minilm-l6-v2"
    executor: str = "local"
    ask: list[str] = Field(default_factory=list)
    data: dict[str, Any] = Field(default_factory=dict)
    prepare: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)
    evaluate: dict[str, Any] = Field(default_factory=dict)
    export: dict[str, Any] = Field(default_factory=dict)
    deploy: dict[str, Any] = Field(default_factory=dict)

    @field_validator(*SECTIONS, mode="before")
    @classmethod
    def _section(cls, value: Any, info: Any) -> dict[str, Any]:
        if value is not None and not isinstance(value, Mapping):
            raise PydanticCustomError("no_fields", "This holds fields, not one value")
        given = dict(value or {})
        for key in _FILES.get(info.field_name, ()):
            if isinstance(given.get(key), str):
                given[key] = [given[key]]
        return _FORMS[info.field_name].model_validate(given).model_dump(exclude_none=True)

    def written(self) -> Iterator[tuple[str, Any]]:
        """Every value that a person wrote, as (dotted path, value)."""
        for section in SECTIONS:
            for key, value in getattr(self, section).items():
                yield f"{section}.{key}", value


def make_spec(data: dict[str, Any], where: str = "") -> Spec:
    """A checked ``Spec``; raises ``SpecError`` with the dotted path, the reason and the nearest known field."""
    try:
        return Spec.model_validate(data)
    except ValidationError as error:
        raise _spec_error(error, where) from None


def _spec_error(error: ValidationError, where: str) -> SpecError:
    first = error.errors()[0]
    location = [str(part) for part in first["loc"]]
    path = ".".join(location)
    prefix = f"{where}: " if where else ""
    if first["type"] == "extra_forbidden":
        section = location[0] if len(location) > 1 else ""
        known = list(SECTIONS[section].model_fields) if section in SECTIONS else list(Spec.model_fields)
        near = difflib.get_close_matches(location[-1], known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "known fields: " + ", ".join(known)
        return SpecError(prefix + path, "there is no such field", hint)
    hint = _FIELDS_BELOW if first["type"] in ("no_fields", "invalid_key") else "see docs/recipes.md for every field"
    return SpecError(prefix + path, f"{first['msg']} (got {first.get('input')!r})", hint)


def read_spec(path: Path) -> Spec:
    """The recipe in a YAML file. Relative data paths are read from the recipe's own folder when they exist there."""
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such recipe", "luthier run recipes/support-intents.yaml") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", "name a YAML file") from None
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{path}: not YAML: {error}", "see docs/recipes.md") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: a recipe is a mapping, this is {type(data).__name__}", "see docs/recipes.md")
    data.setdefault("name", path.stem)
    spec = make_spec(data, str(path))
    for section, keys in _FILES.items():
        written = getattr(spec, section)
        for key in keys:
            if key in written:
                written[key] = [_beside(path.parent, name) for name in written[key]]
    return spec


def _beside(folder: Path, name: str) -> str:
    if ":" in name.split("/")[0] or Path(name).is_absolute():
        return name
    return str(folder / name) if (folder / name).exists() else name


def override(data: dict[str, Any], settings: list[str]) -> dict[str, Any]:
    """``data`` with ``train.learning_rate=1e-4``-like settings laid over it; values are read as YAML.

    YAML 1.1 reads ``1e-4`` as text: the field decides whether that is a number (``make_spec``).
    """
    import yaml

    for setting in settings:
        path, sign, value = setting.partition("=")
        *parents, last = path.strip().split(".")
        if not sign or not all((*parents, last)):
            raise InputError(f"{setting!r} is not a setting", "write dotted.path=value, e.g. train.epochs=3")
        here = data
        for depth, parent in enumerate(parents, 1):
            if here.get(parent) is None:
                here[parent] = {}
            if not isinstance(here[parent], dict):
                taken = f"is {here[parent]!r} and has no fields, so {setting!r} has no place"
                raise SpecError(".".join(parents[:depth]), taken, _FIELDS_BELOW)
            here = here[parent]
        try:
            here[last] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError):
            hint = f"close what was opened, or quote a text: {path.strip()}='\"...\"'"
            raise SpecError(path.strip(), f"{value!r} is not YAML", hint) from None
    return data
