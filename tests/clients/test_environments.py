"""An environment holds the version of the official client that it is called by, and nothing of ours."""

from __future__ import annotations

from pathlib import Path

import environments
import pytest

LOOK = """
import importlib.util, sys, openai
print(openai.__version__)
print([name for name in ("luthier", "numpy", "fastapi", "pytest") if importlib.util.find_spec(name)])
print([path for path in sys.path if "site-packages" in path])
"""


@pytest.mark.parametrize("client_environment", environments.VERSIONS, indirect=True)
def test_a_script_sees_its_version_and_nothing_of_ours(client_environment: str, tmp_path: Path) -> None:
    script = tmp_path / "look.py"
    script.write_text(LOOK)
    done = environments.run(client_environment, script)
    assert done.stdout.splitlines() == [client_environment, "[]", "[]"], done.stderr


def test_without_an_index_nothing_is_left_and_the_reason_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUTHIER_TEST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(environments.Unavailable, match=r"pip cannot install openai 3\.54\.0: ERROR"):
        environments.environment("3.54.0")
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]
