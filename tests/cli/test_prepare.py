"""``luthier prepare``: what it can be told about a file."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.cli import main

Prepare = Callable[..., tuple[int, str, str]]
ROWS = "".join(f"Größe {number} fällt; zu klein aus,a{number % 2}\n" for number in range(40))


@pytest.fixture
def prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Prepare:
    """``luthier prepare --dry-run`` with these words: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "300")
    for name in ("LUTHIER_HOME", "LUTHIER_DATABASE"):
        monkeypatch.delenv(name, raising=False)

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["luthier", "prepare", *words, "--dry-run"])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return call


def _found(said: tuple[int, str, str]) -> Any:
    assert said[0] == 0, said
    return json.loads(said[1])


@pytest.mark.parametrize(
    ("delimiter", "written", "encoding"), [("|", "|", "cp1252"), ("tab", "\t", "utf-16-le"), ("\\t", "\t", "utf-8"), (",", ",", "cp1250")]
)
def test_delimiter_encoding_and_format(prepare: Prepare, delimiter: str, written: str, encoding: str) -> None:
    Path("odd.data").write_bytes(("text,label\n" + ROWS).replace(",", written).encode(encoding))
    said = prepare("odd.data", "--format", "csv", "--delimiter", delimiter, "--encoding", encoding)
    found = _found(said)
    assert (found["rows"], found["refused"], found["labels"]) == (40, 0, {"a0": 20, "a1": 20})
    assert found["examples"][0] == "Größe 0 fällt; zu klein aus"
    assert (found["files"][0]["format"], found["files"][0]["encoding"], found["limit"]) == ("csv", encoding, 1000)


def test_what_is_said_wins_over_what_is_found(prepare: Prepare) -> None:
    Path("a.csv").write_text("text,label\n" + ROWS)
    assert prepare("a.csv", "--delimiter", ";")[0] == 1
    code, _, error = prepare("a.csv", "--delimiter", ";;")
    assert code == 1
    assert "data.delimiter: ';;' is not one character" in error
    code, _, error = prepare("a.csv", "--format", "cvs")
    assert code == 1
    assert "data.format" in error
    assert "'csv'" in error


def test_a_column_whose_name_has_a_space(prepare: Prepare) -> None:
    Path("a.csv").write_text("Review Text,stars\n" + ROWS)
    for words in (["--map", "text=Review Text"], ["--map", "text=Review Text", "--map", "label=stars"]):
        assert _found(prepare("a.csv", *words))["files"][0]["columns"] == {"text": "Review Text", "label": "stars"}
    Path("b.csv").write_text("body,topic\n" + ROWS)
    assert _found(prepare("b.csv", "--map", "text=body label=topic"))["files"][0]["columns"] == {"text": "body", "label": "topic"}
