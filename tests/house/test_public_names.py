"""What `import luthier` gives is what the docs say, and no more."""

from __future__ import annotations

import re
from pathlib import Path

import luthier

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


def test_public_names_are_the_documented_ones() -> None:
    documented = re.findall(r"^## (\w+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(luthier.__all__) == sorted(documented)
    assert documented, "make docs"


def test_public_names_are_few_and_all_there() -> None:
    assert len(set(luthier.__all__)) == len(luthier.__all__) <= 30
    for name in luthier.__all__:
        assert getattr(luthier, name) is not None
