"""Events as JSON lines in a file, or on standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from luthier.core.errors import InputError
from luthier.core.events import Event


class JsonLines:
    """See the module."""

    name = "jsonl"
    summary = "JSON lines in a file, or on standard output when no file is named"

    def open(self, target: str) -> Callable[[Event], None]:
        """Appends each event to the file ``target``; a line is flushed whole. Raises ``InputError`` for what is no file to write to."""
        stream = _opened(Path(target)) if target else sys.stdout

        def take(event: Event) -> None:
            stream.write(json.dumps(event.as_json(), ensure_ascii=False) + "\n")
            stream.flush()

        return take


def _opened(path: Path) -> TextIO:
    """Open as long as the run; ``\0`` in a name is a ``ValueError``."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a", encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"jsonl: {str(path)!r} cannot be written: {error}", "name a file in a folder that you can write to") from None


plugin = JsonLines()
