"""One recipe in several ways: the settings that differ, and a name for each way."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from luthier.core.errors import InputError
from luthier.core.spec import Spec, make_spec, override

MOST_WAYS = 64
"""A grid grows fast; one that is larger was hardly meant."""


def ways(vary: Sequence[str], also: Sequence[str] = ()) -> list[list[str]]:
    """The settings of each way: every combination of ``vary`` (``train.class_weights=none,balanced``), then each of ``also`` (settings with
    spaces between). Without ``vary`` the recipe as it is comes first.

    Raises ``InputError`` for what is no setting, and for more than 64 ways.
    """
    axes = [_axis(one) for one in vary]
    found = [list(one) for one in itertools.product(*axes)] + [one.split() for one in also]
    if len(found) > MOST_WAYS:
        raise InputError(f"--vary makes {len(found)} ways, the most is {MOST_WAYS}", "name fewer values, or search with luthier tune")
    return found


def _axis(text: str) -> list[str]:
    path, sign, values = text.partition("=")
    found = [one.strip() for one in re.split(r",(?![^\[{]*[\]}])", values)]
    if not sign or not path.strip() or not all(found):
        raise InputError(f"--vary {text!r} is not a field and its values", "write --vary train.class_weights=none,balanced")
    return [f"{path.strip()}={value}" for value in found]


def varied(spec: Spec, settings: Sequence[str], where: str = "") -> Spec:
    """The recipe with these settings over it, under a name that tells them; raises ``SpecError`` for one that cannot be so."""
    written = spec.model_dump(exclude_unset=True)
    name = "-".join([spec.name or "run", *(_short(one) for one in settings)])
    return make_spec(override(written, list(settings)) | {"name": name}, where)


def title(settings: Sequence[str]) -> str:
    """Settings for people: fields without their section."""
    return ", ".join(one.split(".", 1)[-1] for one in settings)


def _short(setting: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", title([setting]).lower()).strip("-")
