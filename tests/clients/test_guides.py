"""The example scripts of OpenAI's and Azure's own guides work with only base URL, key and model changed.

``LUTHIER_TEST_CLIENTS=all`` runs every script under every version, as ``bench/clients.py --guides`` does.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import matrix
import pytest
from environments import VERSIONS
from world import World

GUIDES = ("openai_guide", "openai_cookbook", "azure_guide", "azure_rest")
SAID = {
    "openai_guide": ("CANCELLED cancelled", "DELETED True", "New fine-tuned model created: ft:"),
    "openai_cookbook": ("The job has successfully completed", "Fine-tuned model ID: ft:"),
    "azure_guide": ("RESULT step,train_loss", "DEPLOYMENT DELETED True", "MODEL DELETED True", "Status: succeeded"),
    "azure_rest": ("RESULT step,train_loss", "ERROR 404 ", "MODEL ft:"),
}
"""What each script prints when it worked to its end."""

FEW: list[tuple[str, str]] = []
"""Each script trains with the whole default recipe, which takes minutes: they run where everything is asked for."""


def _asked() -> list[tuple[str, str]]:
    everything = [(version, guide) for guide in GUIDES for version in VERSIONS]
    return everything if os.environ.get(matrix.EVERYTHING) == "all" else FEW


@pytest.mark.parametrize(("client_environment", "guide"), _asked(), indirect=["client_environment"])
def test_the_guide_s_script_works(client_environment: str, guide: str, world: World, tmp_path: Path) -> None:
    shutil.copytree(world.data, tmp_path / "data")
    said = matrix.guide(guide, client_environment, world, str(tmp_path / "data"))
    assert [words for words in SAID[guide] if words not in said] == [], said[-3000:]
    answers = re.findall(r"^ANSWER (.*)$", said, flags=re.MULTILINE)
    assert set(answers) <= set(world.labels)
    assert bool(answers) == (guide != "azure_rest")
