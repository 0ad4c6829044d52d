"""What a caller may call a file, and for what and how long it may be kept."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from luthier.core.errors import SpecError, UnknownName

PURPOSES = ("assistants", "batch", "evals", "fine-tune", "user_data", "vision")
"""What callers may upload for."""

MADE = ("assistants_output", "batch_output", "fine-tune-results")
"""What the service itself makes files for."""

LONGEST_NAME = 255
SHORTEST_LIFE_S, LONGEST_LIFE_S = 3600, 2_592_000
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,12}$")


def clean_filename(given: str) -> str:
    """The last part of a path, without control characters, at most 255 bytes; "upload" where nothing is left (as clients call it)."""
    name = re.split(r"[/\\]", given)[-1]
    name = "".join(c for c in name if unicodedata.category(c)[0] != "C").strip()
    if not name.strip(". "):
        return "upload"
    if len(name.encode()) <= LONGEST_NAME:
        return name
    suffix = _SUFFIX.search(name)
    ending = suffix.group() if suffix else ""
    return name.encode()[: LONGEST_NAME - len(ending)].decode("utf-8", "ignore").removesuffix(ending) + ending


def check_purpose(purpose: str, known: tuple[str, ...] = PURPOSES + MADE) -> None:
    """Raises ``SpecError`` with the nearest purpose."""
    if purpose not in known:
        near = UnknownName.among("purpose", purpose[:100], known)
        raise SpecError("purpose", f"there is no purpose {purpose[:100]!r}", near.hint)


def lifetime_s(expires_after: Mapping[str, Any] | None) -> int:
    """The seconds of ``{"anchor": "created_at", "seconds": 3600..2592000}``; 0 where nothing is given: kept until deleted."""
    if not expires_after:
        return 0
    anchor, seconds = expires_after.get("anchor", "created_at"), expires_after.get("seconds")
    if anchor != "created_at":
        raise SpecError("expires_after.anchor", f"is {str(anchor)[:40]!r}", "use created_at")
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not SHORTEST_LIFE_S <= seconds <= LONGEST_LIFE_S:
        raise SpecError(
            "expires_after.seconds", f"is {str(seconds)[:40]!r}", f"use a whole number from {SHORTEST_LIFE_S} to {LONGEST_LIFE_S}"
        )
    return seconds
