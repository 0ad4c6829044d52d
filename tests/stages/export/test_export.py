"""The export stage: parity, choice, the gate, and going on after a kill."""

import json
from pathlib import Path

import numpy as np
import pytest

from luthier.core.errors import GateRefused
from luthier.core.job import Job
from luthier.core.plan import ExportPlan
from luthier.stages import export
from luthier.stages.export.choose import Candidate, choose, failing
from luthier.stages.export.latency import Latency
from luthier.stages.export.parity import Parity


def test_the_folder_holds_all_that_serving_needs(export_folder):
    names = {path.name for path in export_folder.iterdir()}
    assert {"export.json", "plan.json", "schema.json", "tokenizer.json", "calibration.json", "profile.json", "reference.npz"} <= names
    facts = json.loads((export_folder / "export.json").read_text())
    assert len([name for name in names if name.endswith(".onnx")]) == 1
    assert set(facts["parity"]) == {"onnx", "onnx-int8"}
    assert set(facts["latency"]) == {"onnx", "onnx-int8", "torch"}
    assert facts["runtime"] in facts["why"]
    assert {(row["threads"], row["batch"]) for row in facts["latency"]["torch"]} == {(1, 1), (1, 32)}
    for row in facts["latency"]["onnx"]:
        assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]


def test_the_fp32_graph_is_the_trained_function(export_folder):
    parity = json.loads((export_folder / "export.json").read_text())["parity"]
    assert parity["onnx"]["logit_difference"] < 1e-3
    assert parity["onnx"]["label_change"] == 0
    assert parity["onnx-int8"]["logit_difference"] > parity["onnx"]["logit_difference"]
    assert parity["onnx-int8"]["label_change"] < 0.2


def test_the_reference_has_a_row_for_each_held_out_message(export_folder):
    with np.load(export_folder / "reference.npz", allow_pickle=False) as found:
        assert len({len(found[name]) for name in found}) == 1
        assert found["embedding"].shape[1] == 384
        assert ((found["confidence"] > 0) & (found["confidence"] <= 1)).all()


def test_a_killed_export_uses_the_graphs_that_are_there(export_run, tmp_path):
    root, first = export_run
    assert sum("graph made" in getattr(event, "text", "") for event in first) == 2
    events: list = []
    before = (root / "work" / "graphs" / "onnx" / "model.onnx").stat().st_mtime_ns
    export.run(Job.model_validate_json((root / "job.json").read_text()), events.append)
    assert not any("graph made" in getattr(event, "text", "") for event in events)
    assert (root / "work" / "graphs" / "onnx" / "model.onnx").stat().st_mtime_ns == before


def test_below_parity_there_is_no_artifact(export_run, tmp_path):
    root, _ = export_run
    job = Job.model_validate_json((root / "job.json").read_text())
    job.work = str(tmp_path / "work")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "graphs").symlink_to(root / "work" / "graphs")
    job.plan.export.runtimes = ["dummy"]
    job.plan.export.max_label_change = 0.01
    with pytest.raises(GateRefused, match=r"dummy: \d+\.\d+% of \d+ answers changed, allowed 1.00%"):
        export.run(job, lambda event: None)
    assert not (tmp_path / "work" / "out").exists()


def test_a_graph_that_computes_something_else_is_refused(export_run, tmp_path):
    root, _ = export_run
    job = Job.model_validate_json((root / "job.json").read_text())
    job.work = str(tmp_path / "work")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "graphs").symlink_to(root / "work" / "graphs")
    job.plan.export.max_logit_difference = 1e-9
    with pytest.raises(GateRefused, match="differs from the trained model"):
        export.run(job, lambda event: None)


def _candidate(runtime: str, ms: float, change: float = 0.0, loss: float = 0.0) -> Candidate:
    rows = [Latency(1, batch, 16, ms * batch, ms * batch, ms * batch, 1e3 / ms) for batch in (1, 32)]
    return Candidate(runtime, Path(), Parity(100, 0.1, change, "accuracy", 0.9, loss), rows)


def test_the_fastest_that_passes_is_chosen():
    plan = ExportPlan(runtimes=["onnx", "onnx-int8", "openvino-int8"])
    slow, quick, wrong = _candidate("onnx", 4), _candidate("onnx-int8", 2, change=0.01), _candidate("openvino-int8", 1, change=0.02)
    assert choose([slow, quick, wrong], plan).runtime == "onnx-int8"
    assert choose([slow, wrong], plan).runtime == "onnx"
    assert failing(_candidate("onnx-int8", 2, loss=0.006), plan) == ["accuracy fell by 0.0060, allowed 0.0050"]


def test_a_runtime_that_was_not_asked_for_is_not_chosen():
    with pytest.raises(GateRefused, match=r"onnx-int8: 50\.00% of 100 answers changed"):
        choose([_candidate("onnx", 4), _candidate("onnx-int8", 2, change=0.5)], ExportPlan(runtimes=["onnx-int8"]))
