"""``luthier bench`` by its words: a server far away, files of texts, wrong words."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from luthier.api import create_app
from luthier.cli import main
from luthier.cli.bench import _bodies
from luthier.core.errors import InputError

Luthier = Callable[..., int]


@pytest.fixture(scope="module")
def url(filled: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    service = filled.fill(tmp_path_factory.mktemp("bench") / "home")
    with filled.listening(create_app(service, workers=1)) as address:
        yield address


@pytest.fixture
def luthier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Luthier:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("LUTHIER_HOME", str(tmp_path / "home"))
    for name in ("LUTHIER_URL", "LUTHIER_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    def call(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["luthier", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0)

    return call


def test_a_server_far_away_is_measured_and_shown(luthier: Luthier, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "texts.txt").write_text("where is my parcel\n\nrefund me\n", encoding="utf-8")
    words = ["bench", "support", "--url", url, "--texts", "texts.txt", "--duration-s", "2", "--clients", "4", "--slo", "p95=2s"]
    assert luthier(*words, "--json", "--page", "page.html") == 0
    out, err = capsys.readouterr()
    said = json.loads(out)
    assert said["best_per_s"] > 0
    assert said["objectives"] == ["p95=2000ms", "errors=1%"]
    assert all(step["errors"] == 0 for step in said["steps"])
    assert "left" in err
    assert "<svg" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_an_objective_that_never_holds_ends_with_code_1(luthier: Luthier, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert luthier("bench", "support", "--url", url, "--duration-s", "1", "--slo", "p50=0.001ms") == 1
    out = capsys.readouterr().out
    assert "no load that was tried stays within p50=0.001ms" in out
    assert "page: bench-support.html" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["support", "--slo", "p95=fast"], "is no objective"),
        (["support", "--texts", "nothing.txt"], "cannot be read"),
        (["suport"], "unknown endpoint 'suport'"),
    ],
)
def test_wrong_words_are_a_sentence(luthier: Luthier, words: list[str], said: str, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert luthier("bench", *words, "--url", url) == 1
    err = capsys.readouterr().err
    assert said in err
    assert "→" in err
    assert "Traceback" not in err


def test_bodies_are_texts_or_objects(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"premise": "a", "hypothesis": "b"}\n', encoding="utf-8")
    assert _bodies(tmp_path / "pairs.jsonl") == [b'{"premise": "a", "hypothesis": "b"}']
    assert len(_bodies(None)) == 500
    (tmp_path / "bad.jsonl").write_text('{"text": "a"}\n{"te\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"bad\.jsonl:2: not JSON"):
        _bodies(tmp_path / "bad.jsonl")
