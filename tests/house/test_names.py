"""Names say what a thing is for, and files stay small enough to read."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "luthier"
MODULES = sorted(SOURCE.rglob("*.py"))
EMPTY_NAMES = {"utils", "util", "common", "helpers", "helper", "manager", "managers", "base", "misc", "shared", "stuff", "tools"}
PICKLERS = {"pickle", "dill", "cloudpickle", "joblib", "shelve"}
LONGEST_FILE, LONGEST_FUNCTION = 400, 60

modules = pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))


@modules
def test_module_has_a_name_that_says_something(path: Path) -> None:
    assert not set(re.split(r"[_/]", str(path.relative_to(SOURCE).with_suffix("")))) & EMPTY_NAMES


@modules
def test_module_is_short_and_says_what_it_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= LONGEST_FILE, f"{path.name} has {text.count(chr(10))} lines: look for the second thing inside it"
    assert (ast.get_docstring(ast.parse(text)) or "").strip(), f"{path.name} opens with no sentence"


@modules
def test_functions_are_short(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= LONGEST_FUNCTION, f"{path.name}: {node.name} has {lines} lines"


@modules
def test_no_pickle_and_no_eval(path: Path) -> None:
    """A pickle can run any code when it is read; so can eval."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", "") or ""]
            found = PICKLERS & {name.split(".")[0] for name in names}
            assert not found, f"{path}:{node.lineno} imports {found}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("eval", "exec"), f"{path}:{node.lineno}"


def test_plugin_files_end_with_their_plugin() -> None:
    rooms = ("tasks", "methods", "metrics", "baselines", "formats", "runtimes", "executors", "sinks")
    for path in (p for room in rooms for p in (SOURCE / room).glob("*.py") if not p.stem.startswith("_")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        named = {t.id for n in tree.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)}
        named |= {n.target.id for n in tree.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}
        assert "plugin" in named, f"{path.relative_to(SOURCE)} has no `plugin = ...`"
