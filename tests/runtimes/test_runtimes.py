"""Every runtime: it converts, opens, and answers any batch size and length from several threads."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from luthier.core import registry
from luthier.core.errors import Damaged
from luthier.runtimes._onnxruntime import adds_in_32_bits


def _batch(rows: int, tokens: int) -> dict:
    ids = np.random.default_rng(rows * 100 + tokens).integers(1000, 20000, (rows, tokens))
    return {"input_ids": ids, "attention_mask": np.ones((rows, tokens), np.int64), "labels": np.zeros(rows)}


@pytest.mark.parametrize("name", ["onnx", "onnx-int8"])
def test_any_batch_and_any_length(export_run, name):
    session = registry.get("runtimes", name).open(export_run[0] / "work" / "graphs" / name, "model")
    for rows, tokens in ((1, 1), (1, 7), (3, 40), (17, 2)):
        outputs = session.run(_batch(rows, tokens))
        assert outputs["logits"].shape[0] == rows
        assert outputs["embedding"].shape == (rows, 384)


def test_padding_changes_no_answer_in_fp32(export_run):
    session = registry.get("runtimes", "onnx").open(export_run[0] / "work" / "graphs" / "onnx", "model")
    alone = _batch(1, 9)
    padded = {name: np.pad(alone[name], ((0, 0), (0, 20))) for name in ("input_ids", "attention_mask")}
    np.testing.assert_allclose(session.run(alone)["logits"], session.run(padded)["logits"], atol=1e-4)


def test_several_threads_may_ask_at_once(export_run):
    session = registry.get("runtimes", "onnx-int8").open(export_run[0] / "work" / "graphs" / "onnx-int8", "model")
    batches = [_batch(2, n) for n in range(3, 20)]
    alone = [session.run(batch)["logits"] for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda batch: session.run(batch)["logits"], batches))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["onnx", "onnx-int8"])
def test_a_torn_graph_is_named(tmp_path, name):
    runtime = registry.get("runtimes", name)
    with pytest.raises(Damaged, match="missing"):
        runtime.open(tmp_path, "model")
    (tmp_path / f"model{runtime.suffix}").write_bytes(b"not a graph")
    with pytest.raises(Damaged, match="not a graph"):
        runtime.open(tmp_path, "model")


def test_openvino_quantises_with_samples(export_run, exported, tmp_path):
    runtime = registry.get("runtimes", "openvino-int8")
    if runtime.missing():
        pytest.skip(runtime.missing())
    task = exported.TASK
    model, _ = exported.model_folder(tmp_path / "model", exported.messages(40), 2)
    source = export_run[0] / "work" / "graphs" / "onnx"
    batches = [{name: value for name, value in _batch(4, 12).items() if name != "labels"} for _ in range(3)]
    runtime.convert(task.graphs(model, batches[0]), source, tmp_path, batches)
    outputs = runtime.open(tmp_path, "model").run(batches[0])
    fp32 = registry.get("runtimes", "onnx").open(source, "model").run(batches[0])
    assert np.abs(outputs["logits"] - fp32["logits"]).max() < 0.5 * np.abs(fp32["logits"]).max()


def test_openvino_reports_nothing_over_the_network():
    import os
    import subprocess
    import sys

    runtime = registry.get("runtimes", "openvino-int8")
    if runtime.missing():
        pytest.skip(runtime.missing())
    code = (
        "from luthier.runtimes._openvino import no_telemetry; no_telemetry()\n"
        "from nncf.telemetry.wrapper import telemetry\n"
        "from openvino.tools.ovc import telemetry_utils\n"
        "import sys; loaded = 'openvino_telemetry.main' in sys.modules\n"
        "print(type(telemetry).__name__ == 'NNCFTelemetry', loaded, telemetry_utils.tm.__name__)"
    )
    # NNCF is silent by itself when it sees pytest or CI: what counts is an ordinary process.
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "NNCF", "CI"))}
    done = subprocess.run([sys.executable, "-c", code], env=plain, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1] == "False False openvino.tools.ovc.telemetry_stub"


@pytest.mark.parametrize(
    ("flags", "whole"),
    [("flags : avx avx2 bmi2", False), ("flags : avx2 avx512_vnni", True), ("flags : avx2 avx_vnni", True), ("Features : neon", True)],
)
def test_eight_bits_are_used_where_their_sums_do_not_overflow(tmp_path: Path, flags: str, whole: bool) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor : 0\n{flags}\n")
    assert adds_in_32_bits(tmp_path / "cpuinfo") is whole
    assert adds_in_32_bits(tmp_path / "nothing") is False
