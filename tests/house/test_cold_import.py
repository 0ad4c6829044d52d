"""Starting up costs nothing: no heavy library is imported, and `luthier --help` answers at once."""

from __future__ import annotations

import json
import subprocess
import sys
import time

HEAVY = (
    "torch", "transformers", "onnxruntime", "ray", "mlflow", "nicegui", "sklearn", "scipy", "pandas", "pyarrow", "datasets", "peft",
    "spacy", "presidio_analyzer", "matplotlib", "huggingface_hub", "openvino", "optuna",
)  # fmt: skip
LIMIT_S = 0.3


def _imported_by(code: str) -> list[str]:
    """The heavy libraries that a fresh interpreter holds after ``code``."""
    script = f"{code}\nimport json, sys\nprint(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_importing_luthier_and_its_command_line_is_light() -> None:
    assert _imported_by("import luthier, luthier.cli\nfrom luthier.cli import main") == []


def test_listing_every_plugin_is_light() -> None:
    assert _imported_by("from luthier.core import registry\nassert all(registry.names(room) for room in registry.ROOMS)") == []


def test_the_catalog_is_light() -> None:
    assert _imported_by("from luthier.catalog import cards, made\ncards.list_cards(); list(made.make('support-messages', 5))") == []


def test_the_check_itself_notices() -> None:
    assert _imported_by("import scipy") == ["scipy"]


def _best(code: str, *words: str) -> float:
    """Seconds of the quickest of five processes."""
    times = []
    for _ in range(5):
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60, check=False)
        times.append(time.perf_counter() - started)
        assert done.returncode == 0, done.stderr
        assert not words or "run" in done.stdout
    return min(times)


def test_help_answers_at_once() -> None:
    """Under the limit; where the machine is slow or busy, in no more than twice the time in which it imports typer alone."""
    taken = _best("from luthier.cli import main; main()", "--help")
    if taken >= LIMIT_S:
        bare = _best("import typer")
        assert taken < 2 * bare, f"luthier --help took {taken:.2f} s at best, typer alone {bare:.2f} s"
