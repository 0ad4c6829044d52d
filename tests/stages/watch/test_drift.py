"""Drift: false alarms stay at the stated rate, and each kind of drift is found by the test that is meant for it."""

import numpy as np
import pytest

from luthier.core.errors import Damaged
from luthier.stages.watch.drift import LEAST_ROWS, Reference, drift, read_reference


def _rows(generator, count: int, *, shift: float = 0.0, sure: float = 5.0, length: float = 12, mix=(5, 3, 2)) -> Reference:
    vectors = generator.normal(size=(count, 64)).astype(np.float32)
    vectors[:, :8] += shift
    shares = np.array(mix) / sum(mix)
    return Reference(
        vectors,
        generator.beta(sure, 1, count).astype(np.float32),
        generator.poisson(length, count) + 2,
        generator.choice(np.array(["a", "b", "c"]), count, p=shares),
    )


def test_replay_without_drift_keeps_the_stated_rate():
    """200 undrifted windows at alpha 5 %: 10 alarms expected at the most, 18 have a chance below 1 % if the promise holds."""
    generator = np.random.default_rng(5)
    windows = alarms = 0
    for _ in range(20):
        reference = _rows(generator, 200)
        for _ in range(10):
            found = drift(reference, _rows(generator, 150), alpha=0.05, permutations=199, seed=windows)
            windows += 1
            alarms += bool(found.alarms)
    assert windows == 200
    assert alarms <= 18


@pytest.mark.parametrize(
    ("kind", "change"),
    [("inputs", {"shift": 0.6}), ("outputs", {"sure": 2.0}), ("lengths", {"length": 18}), ("labels", {"mix": (2, 3, 5)})],
)
def test_each_kind_of_drift_is_found_by_its_test(kind, change):
    generator = np.random.default_rng(3)
    reference = _rows(generator, 500)
    found = [drift(reference, _rows(generator, 300, **change), seed=n) for n in range(5)]
    assert sum(kind in one.alarms for one in found) == 5
    assert all(one.figures[f"{kind}_p"] <= 0.0025 for one in found)


def test_a_fifth_of_other_messages_is_found():
    generator = np.random.default_rng(4)
    reference, live, other = _rows(generator, 500), _rows(generator, 400), _rows(generator, 100, shift=2.0)
    names = ("embedding", "confidence", "tokens", "label")
    joined = Reference(*(np.concatenate([getattr(live, name), getattr(other, name)]) for name in names))
    assert "inputs" in drift(reference, joined).alarms


def test_too_few_answers_raise_no_alarm():
    generator = np.random.default_rng(1)
    found = drift(_rows(generator, 300), _rows(generator, LEAST_ROWS - 1, shift=9))
    assert found.alarms == []
    assert "50" in found.note


def test_without_embeddings_the_other_tests_go_on():
    generator = np.random.default_rng(2)
    reference, live = _rows(generator, 300), _rows(generator, 300, length=25)
    bare = Reference(np.zeros((300, 0), np.float32), live.confidence, live.tokens, live.label)
    found = drift(reference, bare)
    assert "inputs" not in found.figures
    assert "lengths" in found.alarms


def test_the_exported_reference_is_read_and_a_torn_one_named(export_folder, tmp_path):
    reference = read_reference(export_folder / "reference.npz")
    assert reference is not None
    assert reference.embedding.dtype == np.float32
    assert read_reference(tmp_path / "none.npz") is None
    (tmp_path / "torn.npz").write_bytes((export_folder / "reference.npz").read_bytes()[:1000])
    with pytest.raises(Damaged, match=r"torn\.npz"):
        read_reference(tmp_path / "torn.npz")


def test_real_messages_other_topics_raise_the_alarm_and_the_same_ones_do_not(export_folder, exported):
    """The exported model on made messages: another seed of the same maker, then messages that are out of scope."""
    from luthier.stages.export.parity import run_items
    from luthier.stages.serve.engine import Endpoint

    endpoint = Endpoint.open(export_folder, threads=1)
    reference = read_reference(export_folder / "reference.npz")

    def live(examples) -> Reference:
        items = exported.TASK.encode(examples, endpoint._processor, endpoint.schema)
        bare = [{"input_ids": item["input_ids"]} for item in items]
        outputs = run_items(exported.TASK, endpoint._session, bare)
        said = exported.TASK.decode([one.id for one in examples], outputs, endpoint.schema, endpoint.calibration)
        confidence, labels = np.array([one.confidence for one in said]), np.array([one.output for one in said])
        return Reference(outputs["embedding"], confidence, np.array([len(item["input_ids"]) for item in items]), labels)

    from luthier.core.types import Example

    def bare(examples):
        return [Example(one.id, one.inputs) for one in examples]

    same = drift(reference, live(bare(exported.messages(400)[240:400])))
    other = drift(reference, live(bare(exported.messages(160, "support-messages-out-of-scope"))))
    endpoint.close()
    assert "inputs" in other.alarms
    assert other.figures["inputs"] > 2 * same.figures["inputs"]
    assert same.alarms == []
