"""Which client lives which life: the combinations, and what a life said."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import environments
from world import MODEL, World

HERE = Path(__file__).parent
CLIENTS = ("OpenAI", "OpenAI-on-Azure", "AzureOpenAI")
"""The class, and where it asks: ``/v1``, ``/openai/v1`` and ``/openai?api-version=``."""

WAYS = ("sync", "async")
EVERYTHING = "LUTHIER_TEST_CLIENTS"
"""Set to ``all``: every class of every version in both ways, and every guide's script (``bench/clients.py --guides`` does)."""


class Combination(NamedTuple):
    """One client."""

    version: str
    client: str
    way: str

    def __str__(self) -> str:
        return "-".join(self)


MATRIX = [Combination(*one) for one in product(environments.VERSIONS, CLIENTS, WAYS)]
FEW = [
    Combination("1.109.1", "AzureOpenAI", "async"),
    Combination("2.15.0", "OpenAI-on-Azure", "sync"),
    Combination("3.54.0", "OpenAI", "async"),
    Combination("3.54.0", "AzureOpenAI", "sync"),
]
"""Every version, every class and both ways of calling: what ``make test`` has time for. ``bench/clients.py`` goes through all."""


def life(one: Combination, world: World, encoder: str = "all-minilm-l6-v2") -> list[dict[str, Any]]:
    """The steps of a life: ``step``, ``ok``, ``ms``, ``why``, ``trace``. Raises ``AssertionError`` when it could not even begin.

    ``encoder``: what is asked for embeddings.
    """
    words = {"client": one.client, "way": one.way, "url": world.url, "key": world.key, "model": MODEL, "encoder": encoder}
    words |= {"data": world.data, "receiver": world.receiver}
    done = environments.run(one.version, HERE / "life.py", *(word for key, value in words.items() for word in (f"--{key}", value)))
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr[-3000:]
    assert lines[0]["openai"] == one.version
    assert Path(lines[0]["file"]).is_relative_to(environments.environment(one.version))
    return lines[1:]


def guide(name: str, version: str, world: World, cwd: str) -> str:
    """What a guide's script printed, under a version; raises ``AssertionError`` with its error."""
    variables = {"MODEL": MODEL, "cwd": cwd}
    if name.startswith("openai"):
        variables |= {"OPENAI_BASE_URL": f"{world.url}/v1", "OPENAI_API_KEY": world.key}
    else:
        variables |= {"AZURE_OPENAI_ENDPOINT": world.url, "AZURE_OPENAI_API_KEY": world.key, "TEMP_AUTH_TOKEN": world.key}
        variables |= {"MANAGEMENT": world.url, "DEPLOYMENT": f"guide-{version.replace('.', '-')}"}
    done = environments.run(version, HERE / "guides" / f"{name}.py", **variables)
    assert done.returncode == 0, f"{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
    return done.stdout
