"""The set-up is pinned: every dependency that pyproject.toml names has one exact version in constraints.txt."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = {
    canonicalize_name(name): exact
    for name, exact in re.findall(r"^([\w.\-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), flags=re.MULTILINE)
}
NEEDED = [Requirement(text) for group in [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()] for text in group]


def test_every_line_pins() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    assert len(lines) == len(PINS)
    assert all("+" not in exact for exact in PINS.values()), "a local version cannot be fetched elsewhere"
    assert "luthier" not in PINS


def test_every_dependency_is_pinned_within_its_range() -> None:
    for requirement in NEEDED:
        name = canonicalize_name(requirement.name)
        if name != "luthier":
            assert name in PINS, f"{name} is not in constraints.txt: make pins"
            assert requirement.specifier.contains(PINS[name]), f"{requirement} but {PINS[name]} is pinned"


def test_what_runs_is_what_is_pinned() -> None:
    for name in ("torch", "transformers", "pydantic", "numpy", "onnxruntime"):
        assert version(name).split("+")[0] == PINS[name]


def test_ci_calls_make_test() -> None:
    run = ROOT / ".ci" / "run"
    assert run.stat().st_mode & 0o111
    assert "make test" in run.read_text(encoding="utf-8")
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
