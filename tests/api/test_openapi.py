"""The document at /openapi.json is true: invented requests for every operation, judged against it (``bench/openapi.py`` asks many)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Literal

import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.responses import JSONResponse

from luthier.api import create_app
from luthier.app.service import Service

SCRIPT = Path(__file__).parents[2] / "bench" / "openapi.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_openapi", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_openapi"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore")
def test_every_answer_is_as_declared(script: ModuleType, tmp_path: Path) -> None:
    results = list(script.ask_all(create_app(Service(tmp_path), workers=1), examples=2))
    assert len(results) > 50
    assert not {asked.operation: asked.failures for asked in results if asked.failures}


class Declared(BaseModel):
    """What is promised."""

    kind: Literal["right"]


@pytest.mark.filterwarnings("ignore")
def test_a_false_answer_is_seen(script: ModuleType) -> None:
    """That the test above can fail: another shape, an undeclared status, a defect."""
    app = FastAPI()

    @app.get("/shape", response_model=Declared)
    def shape() -> JSONResponse:
        return JSONResponse({"kind": "wrong"})

    @app.get("/status")
    def status() -> JSONResponse:
        return JSONResponse({}, 418)

    @app.get("/defect", responses={500: {}})
    def defect() -> JSONResponse:
        return JSONResponse({}, 500)

    found = {asked.operation: set(asked.failures) for asked in script.ask_all(app, examples=1)}
    assert found == {
        "GET /shape": {"JsonSchemaError"},
        "GET /status": {"UndefinedStatusCode"},
        "GET /defect": {"ServerError"},
    }
