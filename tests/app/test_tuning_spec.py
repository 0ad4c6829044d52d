"""What a request for preference tuning becomes: the task, its beta wherever it stood, and what is echoed; nothing is trained."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from chats import lines
from luthier.app.service import Service
from luthier.core.errors import SpecError
from luthier.testing import made

SAID = {"role": "assistant", "content": "Hello!"}


@pytest.fixture
def file(service: Service) -> str:
    """Pairs that were uploaded and checked, and a GPT in the server's own folder."""
    shutil.copytree(made.base(architecture="decoder"), service.workspace.root / "models" / "tiny")
    rows = [
        {
            "input": {"messages": [{"role": "user", "content": f"hello {number}"}]},
            "preferred_output": [SAID],
            "non_preferred_output": [{**SAID, "content": f"What {number}?"}],
        }
        for number in range(20)
    ]
    info = service.files.create("pairs.jsonl", "fine-tune", ["".join(json.dumps(row) + "\n" for row in rows).encode()])
    service.files.check(info.id)
    return str(info.id)


def _create(service: Service, file: str, **more: Any) -> dict[str, Any]:
    return service.fine_tuning.create({"model": "tiny", "training_file": file, "executor": "dummy"} | more)


@pytest.mark.parametrize(
    ("dpo", "beta"),
    [
        ({"hyperparameters": {"beta": 0.3, "n_epochs": 2}}, 0.3),
        ({"beta": 0.4}, 0.4),  # where Azure's documents put it
        ({"beta": 0.4, "hyperparameters": {"beta": 0.3}}, 0.3),
        ({"hyperparameters": {"beta": "auto"}}, 0.1),
        (None, 0.1),
    ],
)
def test_a_job_of_method_dpo(service: Service, file: str, dpo: Any, beta: float) -> None:
    job = _create(service, file, method={"type": "dpo", "dpo": dpo})
    assert (job["status"], job["luthier"]["task"]) == ("queued", "preference")
    assert job["method"] == {"type": "dpo", "dpo": {"hyperparameters": job["hyperparameters"]}}
    assert job["hyperparameters"]["beta"] == beta
    assert job["hyperparameters"]["n_epochs"] == 2
    spec = service.fine_tuning.rows.get(job["id"])["spec"]
    assert (spec["task"], spec["data"]["format"], spec["train"].get("beta", 0.1)) == ("preference", "openai-preference", beta)


def test_what_does_not_go_together_is_refused(service: Service, file: str) -> None:
    with pytest.raises(SpecError, match="the file holds preference pairs, which method dpo learns from"):
        _create(service, file)
    info = service.files.create("chats.jsonl", "fine-tune", [lines(40)])
    service.files.check(info.id)
    with pytest.raises(SpecError, match="dpo learns from preference pairs, and the file holds chats"):
        _create(service, info.id, method={"type": "dpo"})
    with pytest.raises(SpecError, match="supervised has no beta") as caught:
        _create(service, info.id, method={"type": "supervised", "supervised": {"hyperparameters": {"beta": 0.1}}})
    assert caught.value.path == "method.supervised.hyperparameters.beta"
