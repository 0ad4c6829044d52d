"""What a caller far away is told: the server's folders are left out of every text, and a figure that is not known is ``null``."""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from luthier.store.workspace import Workspace


class Shown:
    """Takes the folders out: those of this machine, and those that ``plan`` (as JSON) names its data and its base model in."""

    def __init__(self, workspace: Workspace, plan: Mapping[str, Any] | None = None) -> None:
        here = (workspace.home, workspace.root, Path.cwd(), Path.home(), Path(sys.prefix), Path(tempfile.gettempdir()))
        folders = {str(folder) for folder in (*here, *_named(plan or {}))}
        self._folders = sorted((folder for folder in folders if len(Path(folder).parts) > 1), key=len, reverse=True)

    def value(self, value: Any) -> Any:
        """The same JSON without the folders."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, float):
            return value if math.isfinite(value) else None
        if isinstance(value, Mapping):
            return {str(key): self.value(one) for key, one in value.items()}
        return [self.value(one) for one in value] if isinstance(value, list | tuple) else value

    def text(self, text: str) -> str:
        """The same text without the folders (as they are, and as HTML writes them)."""
        for folder in self._folders:
            for written in {folder, escape(folder)}:
                if written in text:
                    text = "." if text == written else text.replace(f"{written}/", "").replace(written, ".")
        return text


def _named(plan: Mapping[str, Any]) -> Iterator[Path]:
    data = plan.get("data") or {}
    names = [name for role in ("train", "validation", "test") for name in data.get(role) or ()]
    source = (plan.get("base") or {}).get("source") or {}
    for name in (*names, plan.get("model"), source.get("name")):
        if isinstance(name, str) and name.startswith("/"):
            yield Path(name).parent
