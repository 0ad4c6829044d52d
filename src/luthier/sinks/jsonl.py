"""Events as JSON lines in a file, or on standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from luthier.core.events import Event


class JsonLines:
    """See the module."""

    name = "jsonl"
    summary = "JSON lines in a file, or on standard output when no file is named"

    def open(self, target: str) -> Callable[[Event], None]:
        """Appends each event to the file ``target``; a line is flushed whole."""
        stream = Path(target).open("a", encoding="utf-8") if target else sys.stdout  # noqa: SIM115 - open as long as the run

        def take(event: Event) -> None:
            stream.write(json.dumps(event.as_json(), ensure_ascii=False) + "\n")
            stream.flush()

        return take


plugin = JsonLines()
