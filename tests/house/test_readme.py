"""What the README promises is run: its Python block, and the names of its commands."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.long
def test_the_notebook_walk_runs(tmp_path: Path) -> None:
    """In about ten lines, in an empty folder, from data to an answer of a deployed endpoint."""
    (block,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len([line for line in block.splitlines() if line.strip()]) <= 12
    (tmp_path / "walk.py").write_text(block)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "LUTHIER_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "walk.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    label, confidence = done.stdout.strip().splitlines()[-1].rsplit(" ", 1)
    assert re.fullmatch(r"[a-z_]+|None", label)
    assert 0 <= float(confidence) <= 1


def test_its_command_for_your_own_file_fits_its_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the columns that it names, every row of such a file comes into the dataset, whatever the recipe says about made messages."""
    from luthier.app.planning import make_plan
    from luthier.core.job import Job
    from luthier.core.spec import make_spec, override, read_spec
    from luthier.stages import prepare

    (line,) = re.findall(r"^luthier run .*data\.train=tickets\.csv.*$", README, flags=re.MULTILINE)
    assert ". .venv/bin/activate" in README[: README.index(line)]
    _, _, recipe, *settings = shlex.split(line)
    assert set(settings[::2]) == {"--set"}
    rows = [f"ticket {n} about {topic} of {n * 7919 % 10_007},{topic}" for n in range(1300) for topic in ("refunds", "parcels")]
    (tmp_path / "tickets.csv").write_text("\n".join(["body,topic", *rows]) + "\n")
    monkeypatch.chdir(tmp_path)
    spec = make_spec(override(read_spec(ROOT / recipe).model_dump(exclude_unset=True), settings[1::2]))
    plan = make_plan(spec, check_memory=False)
    job = Job(id="j", run="r", stage="prepare", plan=plan, work=str(tmp_path / "w"))
    notes: list[str] = []
    summary = prepare.run(job, lambda event: notes.append(str(event.as_json())))
    assert (summary["rows"], summary["refused"], summary["labels"]) == (len(rows), 0, 2)
    assert "data.rows" not in "".join(notes)


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
