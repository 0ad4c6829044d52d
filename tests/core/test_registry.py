"""A file's presence is its registration; other packages come in through entry points; listing imports nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import luthier
from luthier.core import registry
from luthier.core.errors import UnknownName

PLUGIN = """
class Kappa:
    name = "kappa"
    summary = "agreement beyond chance"

plugin = Kappa()
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Another package, installed as pip would: a metric ``kappa``, a format named like ours, and a metric that cannot be imported."""
    (tmp_path / "agreement_metrics.py").write_text(PLUGIN)
    facts = tmp_path / "agreement_metrics-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: agreement-metrics\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(
        "[luthier.metrics]\nkappa = agreement_metrics:plugin\nbare = agreement_metrics\nbroken = no_such_module_at_all:plugin\n"
        "[luthier.formats]\ncsv = agreement_metrics:plugin\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    registry._places.cache_clear()
    yield tmp_path
    registry._places.cache_clear()
    sys.modules.pop("agreement_metrics", None)


@pytest.mark.parametrize("room", registry.ROOMS)
def test_every_room_lists_its_files(room: str) -> None:
    folder = Path(luthier.__file__).parent / room
    ours = {path.stem.replace("_", "-") for path in folder.glob("*.py") if not path.stem.startswith("_")}
    assert ours
    assert ours <= set(registry.names(room))
    assert registry.names(room) == sorted(registry.names(room))
    assert not [name for name in registry.names(room) if name.startswith(("-", "_"))], "a file that begins with _ is no plugin"


@pytest.mark.parametrize(("room", "name"), [("formats", "csv"), ("formats", "openai-chat"), ("executors", "dummy")])
def test_a_plugin_has_the_name_of_its_file(room: str, name: str) -> None:
    assert registry.get(room, name).name == name
    assert registry.get(room, name) is registry.get(room, name)


def test_listing_names_imports_none_of_the_files() -> None:
    code = (
        "import sys; from luthier.core import registry; n = sum(len(registry.names(room)) for room in registry.ROOMS);"
        "print(n > 20, [m for m in sys.modules if m.startswith('luthier.') and m.split('.')[1] in registry.ROOMS])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True []"


@pytest.mark.parametrize(("room", "name", "near"), [("formats", "cvs", "'csv'"), ("tasks", "text_classification", "'text-classification'")])
def test_an_unknown_name_brings_the_nearest(room: str, name: str, near: str) -> None:
    with pytest.raises(UnknownName) as caught:
        registry.get(room, name)
    assert str(caught.value) == f"unknown {registry.ROOMS[room]} {name!r}"
    assert near in caught.value.hint


@pytest.mark.parametrize("name", ["luthier.formats.csv", "../formats/csv", "_text", "__init__", "os:system", ""])
def test_only_registered_names_are_taken_never_a_path_to_code(name: str) -> None:
    with pytest.raises(UnknownName):
        registry.get("formats", name)


@pytest.mark.usefixtures("package")
def test_another_package_brings_a_plugin() -> None:
    assert "kappa" in registry.names("metrics")
    assert "agreement_metrics" not in sys.modules, "listing imports nothing"
    assert registry.get("metrics", "kappa").summary == "agreement beyond chance"
    assert registry.get("metrics", "bare") is registry.get("metrics", "kappa"), "without an attribute it is the module's plugin"


@pytest.mark.usefixtures("package")
def test_another_package_cannot_take_a_name_of_ours() -> None:
    assert registry.get("formats", "csv").__class__.__module__ == "luthier.formats.csv"


@pytest.mark.usefixtures("package")
def test_a_broken_package_breaks_only_its_own_plugin() -> None:
    assert {"broken", "f1", "kappa"} <= set(registry.names("metrics"))
    assert registry.get("metrics", "kappa")
    with pytest.raises(ImportError, match="no_such_module_at_all"):
        registry.get("metrics", "broken")


def test_without_the_package_its_plugin_is_gone() -> None:
    assert "kappa" not in registry.names("metrics")
