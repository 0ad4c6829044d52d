"""The whole life of a fine-tuned model by the official clients, each major version in its own environment, no line of them changed.

The first life trains; the others find the same work done, so that each takes seconds. ``bench/clients.py`` shows the time of every step.
"""

from __future__ import annotations

import os
from pathlib import Path

import matrix
import pytest
from world import World

ASKED = matrix.MATRIX if os.environ.get(matrix.EVERYTHING) == "all" else matrix.FEW
LEAST = 25
"""Steps of a life, at least: a walk that ended early is no success."""


@pytest.mark.parametrize(
    ("client_environment", "one"),
    [pytest.param(one.version, one, marks=pytest.mark.long if number else ()) for number, one in enumerate(ASKED)],
    indirect=["client_environment"],
    ids=[str(one) for one in ASKED],
)
def test_the_whole_life(client_environment: str, one: matrix.Combination, world: World) -> None:
    steps = matrix.life(one, world, encoder=matrix.MODEL)  # a small one: to make MiniLM ready takes half a minute
    failed = [f"{said['step']}: {said['why']}\n{said['trace']}" for said in steps if not said["ok"]]
    log = Path(world.log).read_text(encoding="utf-8")[-1500:] if failed else ""
    assert not failed, f"{len(failed)} of {len(steps)} steps failed\n\n" + "\n".join(failed) + f"\nthe server's log:\n{log}"
    assert len(steps) >= LEAST
