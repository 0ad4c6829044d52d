"""What a search may try: one axis a field, written ``log:1e-5:1e-3``, ``0:0.3``, ``int:2:6`` or ``320,640,1280``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from luthier.core.errors import InputError

_HOW = "write field=log:1e-5:1e-3, field=0:0.3, field=int:2:6 or field=a,b,c"


@dataclass(frozen=True)
class Axis:
    """One field (dotted path) and its values: from ``low`` to ``high``, or one of ``values``."""

    field: str
    kind: Literal["log", "linear", "int", "choice"]
    low: float = 0.0
    high: float = 0.0
    values: tuple[Any, ...] = ()

    def setting(self, value: Any) -> str:
        """``field=value``, as ``--set`` takes it."""
        return f"{self.field}={value!r}" if isinstance(value, float) else f"{self.field}={value}"

    def edges(self) -> tuple[Any, ...]:
        """Values that must be possible for all others to be: the ends, or every choice."""
        if self.kind == "choice":
            return self.values
        return (int(self.low), int(self.high)) if self.kind == "int" else (self.low, self.high)

    def holds(self, value: Any) -> bool:
        """Whether the search may try this value."""
        if self.kind == "choice":
            return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in self.values)
        return isinstance(value, int | float) and self.low <= value <= self.high and (self.kind != "int" or float(value).is_integer())

    def as_text(self) -> str:
        """As it is written."""
        if self.kind == "choice":
            return ",".join(map(str, self.values))
        return {"log": "log:", "int": "int:", "linear": ""}[self.kind] + ":".join(f"{one:g}" for one in (self.low, self.high))


def read_axis(text: str) -> Axis:
    """The axis in ``train.learning_rate=log:1e-5:1e-3``; raises ``InputError`` that says what is wrong with it."""
    field, sign, said = (part.strip() for part in text.partition("="))
    if not (sign and field and said):
        raise InputError(f"--search {text!r} is not a field and its values", _HOW)
    kind, *ends = said.split(":") if said.split(":")[0] in ("log", "int") else ("linear", *said.split(":"))
    if len(ends) == 2:
        return _range(text, field, kind, ends)
    import yaml

    if len(said.split(",")) < 2 or len(ends) > 2:
        raise InputError(f"--search {text!r}: {said!r} is neither a range nor several values", _HOW)
    values = tuple(_value(yaml.safe_load(one)) for one in said.split(","))
    if len(set(map(str, values))) < len(values):
        raise InputError(f"--search {text!r}: a value stands there twice", _HOW)
    return Axis(field, "choice", values=values)


def _range(text: str, field: str, kind: str, ends: list[str]) -> Axis:
    try:
        low, high = (int(one) if kind == "int" else float(one) for one in ends)
    except ValueError:
        raise InputError(f"--search {text!r}: {':'.join(ends)} are not two numbers", _HOW) from None
    if not low < high or (kind == "log" and low <= 0):
        raise InputError(f"--search {text!r}: the first must be below the second" + (", and above 0" if kind == "log" else ""), _HOW)
    known: dict[str, Literal["log", "linear", "int"]] = {"log": "log", "linear": "linear", "int": "int"}
    return Axis(field, known[kind], low, high)


def _value(value: Any) -> Any:
    """YAML 1.1 reads ``1e-4`` as text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
