"""``luthier predict`` by its words."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from luthier.cli import main


def test_a_file_is_scored_and_shown(
    filled: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    filled.fill(tmp_path / "home")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LUTHIER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LUTHIER_URL", raising=False)
    Path("in.csv").write_text("Said,key\nwhere is it,1\n,2\n")

    def call(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["luthier", "predict", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0)

    assert call("support", "--input", "in.csv", "--output", "out.csv", "--map", "text=Said") == 0
    assert "1 rows scored, 1 refused" in capsys.readouterr().out
    assert Path("out.csv").read_text().startswith("input_line,Said,key,predicted_id,predicted_label")
    assert call("support", "--input", "in.csv", "--output", "out.jsonl", "--map", "text=Said", "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["scored"] == 1
    assert call("suport", "--input", "in.csv", "--output", "out.jsonl") == 1
    assert "did you mean 'support'" in capsys.readouterr().err
    assert call("support", "--input", "in.csv", "--output", "out.jsonl", "--map", "text") == 1
    assert "is not a pair" in capsys.readouterr().err
