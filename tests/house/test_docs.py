"""The docs cannot be stale: every field, plugin, model and link is there."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from luthier.core import registry
from luthier.core.spec import SECTIONS, read_spec

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("design/*.md"))]


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """docs/generate.py, a script and no module of the package."""
    spec = importlib.util.spec_from_file_location("generate_pages", ROOT / "docs" / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["recipes.md", "models.md", "plugins.md", "python.md"])
def test_generated_pages_are_fresh(generator: ModuleType, page: str) -> None:
    assert page not in generator.stale(), f"docs/{page} is stale: make docs"


def test_every_field_is_described() -> None:
    text = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    for name, section in SECTIONS.items():
        for key, info in section.model_fields.items():
            assert info.description, f"{name}.{key} has no description in core/plan.py"
            assert f"| `{name}.{key}` |" in text, f"{name}.{key} is not in docs/recipes.md: make docs"


@pytest.mark.parametrize("room", sorted(registry.ROOMS))
def test_every_plugin_is_on_a_page(room: str) -> None:
    pages = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("docs/**/*.md"))
    missing = [name for name in registry.names(room) if f"`{name}`" not in pages]
    assert not missing, f"{room}: {missing} on no page of docs/: make docs"


def test_every_room_is_in_the_readme_and_the_architecture() -> None:
    rooms = [path.name for path in (ROOT / "src" / "luthier").iterdir() if (path / "__init__.py").is_file()]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    architecture = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for room in rooms:
        assert f"{room}/" in readme, f"README.md's tree has no line for {room}/"
        assert f"`{room}`" in architecture, f"ARCHITECTURE.md does not name `{room}`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("recipe", sorted(ROOT.glob("recipes/*.yaml")), ids=lambda path: path.stem)
def test_recipes_are_right(recipe: Path) -> None:
    spec = read_spec(recipe)
    assert spec.name == recipe.stem
    assert spec.data["train"]
