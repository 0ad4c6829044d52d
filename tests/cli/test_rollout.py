"""``luthier deploy --canary`` and ``luthier rollout`` over a workspace on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from luthier.app.service import Service
from luthier.cli.commands import app
from luthier.core.errors import InputError
from versions import export


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls the command line; what it printed as JSON. ``support`` answers with v1."""
    monkeypatch.setenv("LUTHIER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LUTHIER_URL", raising=False)
    service = Service(tmp_path / "home")
    service.deploy(export(service, "parcel"), "support")
    new = export(service, "refund").id

    def call(*words: str) -> Any:
        result = CliRunner().invoke(app, [new if word == "NEW" else word for word in words], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout.splitlines()[-1]) if "--json" in words else result.output

    return call


def test_a_canary_from_its_beginning_to_its_way_back(desk: Any) -> None:
    begun = desk("deploy", "NEW", "-e", "support", "--canary", "5,25", "--step-s", "60", "--set", "deploy.max_error_rise=0.02", "--json")
    assert begun["traffic"] == {"v1": 95, "v2": 5}
    plan = begun["rollout"]["plan"]
    assert (plan["canary"], plan["step_s"], plan["max_error_rise"]) == ([5, 25, 100], 60, 0.02)
    assert "v2 against v1: running, at 5 % (steps 5 %, 25 %, 100 %)" in desk("rollout", "status", "support")
    assert "running" in desk("rollout", "status")
    assert desk("rollout", "promote", "support", "--json")["traffic"] == {"v2": 100}
    assert desk("rollout", "back", "support", "--json")["traffic"] == {"v1": 100}


def test_blue_green_by_hand(desk: Any) -> None:
    assert desk("deploy", "NEW", "-e", "support", "--beside", "--json")["traffic"] == {"v1": 100}
    assert desk("rollout", "traffic", "support", "v1=40", "v2=60", "--json")["traffic"] == {"v1": 40, "v2": 60}
    assert desk("rollout", "traffic", "support", "v1=100", "--json")["traffic"] == {"v1": 100}
    assert len(desk("rollout", "remove", "support", "v2", "--json")["versions"]) == 1
    for wrong, said in (("v1=x", "is no share"), ("v1=90", "sum to 90")):
        with pytest.raises(InputError, match=said):
            desk("rollout", "traffic", "support", wrong)
    with pytest.raises(InputError, match="no list of percents"):
        desk("deploy", "NEW", "-e", "support", "--canary", "5;25")
