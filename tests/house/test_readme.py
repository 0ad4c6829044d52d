"""What the README promises is run: its Python block, and the names of its commands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_notebook_walk_runs(tmp_path: Path) -> None:
    """In about ten lines, in an empty folder, from data to an answer of a deployed endpoint."""
    (block,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len([line for line in block.splitlines() if line.strip()]) <= 12
    (tmp_path / "walk.py").write_text(block)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "LUTHIER_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "walk.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    label, confidence = done.stdout.strip().splitlines()[-1].rsplit(" ", 1)
    assert re.fullmatch(r"[a-z_]+|None", label)
    assert 0 <= float(confidence) <= 1


def test_its_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    promised = re.findall(r"(?:^|`)make ([a-z]+)", README, flags=re.MULTILINE)
    for target in {"demo", "test", "check", "bench", "docs", "clean", "setup", *promised}:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), f"make {target}"


def test_its_commands_exist() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from luthier.cli import main; main()", "--help"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    for command in sorted(set(re.findall(r"^luthier ([a-z]+)", README, flags=re.MULTILINE))):
        assert re.search(rf"\b{command}\b", done.stdout), f"luthier {command}"
