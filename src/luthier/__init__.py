"""Luthier: from a file of examples to a deployed model that is watched."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "prepare": "luthier.app.notebook",
    "train": "luthier.app.notebook",
    "evaluate": "luthier.app.notebook",
    "export": "luthier.app.notebook",
    "deploy": "luthier.app.notebook",
    "run": "luthier.app.notebook",
    "Dataset": "luthier.app.notebook",
    "Model": "luthier.app.notebook",
    "Evaluation": "luthier.app.notebook",
    "Export": "luthier.app.notebook",
    "Endpoint": "luthier.app.notebook",
    "Service": "luthier.app.service",
    "Spec": "luthier.core.spec",
    "Plan": "luthier.core.plan",
    "LuthierError": "luthier.core.errors",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used, so that ``import luthier`` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'luthier' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
