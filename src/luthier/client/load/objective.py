"""What an answer may take at most: ``p95=50ms`` or ``errors=1%``, as text and as a thing that can be asked."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from luthier.core.errors import InputError

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
ERRORS = "errors"
UNITS = {"ms": 1.0, "s": 1000.0}
USUAL = ("p95=100ms", "errors=1%")
"""What is asked for where nobody says anything; the second one also where only latency is spoken of."""

_HINT = "write p50, p95 or p99 with ms or s, e.g. p95=50ms or p99=1.5s, or errors=1%"
_LATENCY = re.compile(r"(p\d+)=(\d+(?:\.\d+)?|\.\d+)(ms|s)")
_SHARE = re.compile(r"errors=(\d+(?:\.\d+)?|\.\d+)%")


@dataclass(frozen=True, slots=True)
class Objective:
    """``name`` is a quantile (``limit`` in milliseconds) or ``errors`` (``limit`` is a share, 0 to 1)."""

    name: str
    limit: float

    def __str__(self) -> str:
        return f"errors={self.limit * 100:g}%" if self.name == ERRORS else f"{self.name}={self.limit:g}ms"


def parse(text: str) -> Objective:
    """Reads one; raises ``InputError`` that says what is wrong with it."""
    said = text.strip().lower().replace(" ", "")
    if share := _SHARE.fullmatch(said):
        limit = float(share[1]) / 100
        if limit > 1:
            raise InputError(f"--slo {text!r}: more than all of the requests", _HINT)
        return Objective(ERRORS, limit)
    found = _LATENCY.fullmatch(said)
    if found is None:
        raise InputError(f"--slo {text!r} is no objective", _HINT)
    name, limit = found[1], float(found[2]) * UNITS[found[3]]
    if name not in QUANTILES:
        raise InputError(f"--slo {text!r}: {name} is not measured", _HINT)
    if not 0 < limit < math.inf:
        raise InputError(f"--slo {text!r}: nothing answers in no time", _HINT)
    return Objective(name, limit)


def objectives(texts: Sequence[str]) -> list[Objective]:
    """All of them (several in one text are parted by commas), one a name; what is usual where none is given."""
    found = [parse(part) for text in texts for part in text.split(",")] or [parse(USUAL[0])]
    for number, one in enumerate(found):
        if any(one.name == other.name for other in found[:number]):
            raise InputError(f"--slo: {one.name} has two limits", "say each once")
    return found if any(one.name == ERRORS for one in found) else [*found, parse(USUAL[1])]


def tightest_ms(found: Sequence[Objective]) -> float:
    """The smallest latency that is asked for, in milliseconds; infinite when only errors are."""
    return min((one.limit for one in found if one.name != ERRORS), default=math.inf)


def loosest_ms(found: Sequence[Objective]) -> float:
    """The largest latency that is asked for, in milliseconds; 1,000 when only errors are."""
    return max((one.limit for one in found if one.name != ERRORS), default=1000.0)
