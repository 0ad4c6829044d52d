"""A window of the journal: rates, latency, labels, judgements, and how it looks."""

import json

import numpy as np
import pytest
from rich.console import Console

from luthier.cli.watch_view import render
from luthier.core.errors import InputError
from luthier.core.events import FeedbackGiven, PredictionAnswered, PredictionFailed
from luthier.stages.serve.engine import Answered
from luthier.stages.serve.reservoir import SIZE, Reservoir, sample_path
from luthier.stages.watch import Reference, summarise
from luthier.store.database import connect
from luthier.store.journal import Journal

NOW = 1_000_000.0


@pytest.fixture
def journal(tmp_path):
    made = Journal(connect(f"sqlite:///{tmp_path / 'journal.db'}"))
    events: list = []
    for number in range(100):
        events.append(
            PredictionAnswered(
                endpoint="support",
                id=f"id-{number}",
                export="export-1",
                output="refund" if number < 75 else "order",
                confidence=0.9,
                abstained=number % 10 == 0,
                out_of_scope=0.99 if number < 5 else 0.1,
                tokens=10,
                latency_ms=float(number + 1),
                at=NOW - 100 + number,
            )
        )
    events.append(PredictionAnswered(endpoint="support", id="old", export="export-0", output="old", confidence=0.1, at=NOW - 5000))
    events.append(PredictionAnswered(endpoint="other", id="else", export="export-9", output="else", confidence=0.1, at=NOW - 50))
    events.append(PredictionFailed(endpoint="support", code="overloaded", message="full", at=NOW - 10))
    events.append(FeedbackGiven(endpoint="support", id="id-1", thumbs="up", at=NOW - 9))
    events.append(FeedbackGiven(endpoint="support", id="id-2", thumbs="down", at=NOW - 8))
    events.append(FeedbackGiven(endpoint="support", id="id-3", right="order", at=NOW - 7))
    events.append(FeedbackGiven(endpoint="support", id="id-4", thumbs="down", right="refund", at=NOW - 6))
    made.append(events)
    return made


def test_the_figures_are_those_of_the_window(journal):
    found = summarise(journal, "support", None, NOW, 200)
    assert found.answers == 100
    assert found.per_s == 0.5
    assert (found.p50_ms, found.p99_ms) == (50.5, pytest.approx(99.01))
    assert found.labels == {"refund": 0.75, "order": 0.25}
    assert found.abstained == 0.1
    assert found.out_of_scope == 0.05
    assert found.errors == {"overloaded": 1}
    assert found.error_share == pytest.approx(1 / 101)
    assert found.thumbs == {"up": 1, "down": 2}
    assert found.judged == 4
    assert found.live_accuracy == 0.5  # up, down, corrected to another, corrected to the same
    assert found.exports == ["export-1"]
    assert "no reference" in found.drift.note


def test_an_endpoint_without_answers(journal):
    found = summarise(journal, "quiet", None, NOW, 60)
    assert found.answers == 0
    assert json.loads(json.dumps(found.as_json()))["live_accuracy"] is None


def test_drift_against_a_reference_without_samples(journal):
    generator = np.random.default_rng(0)
    reference = Reference(np.zeros((200, 0)), np.full(200, 0.9), np.full(200, 10), generator.choice(["refund", "order"], 200, p=[0.2, 0.8]))
    found = summarise(journal, "support", reference, NOW, 200)
    assert found.drift.alarms == ["labels"]
    assert found.event().alarms == ["labels"]
    assert found.reference_labels["order"] > 0.6


def test_the_servers_sample_of_the_window_is_used(journal, tmp_path):
    reservoir = Reservoir(sample_path(tmp_path, "support"))
    from luthier.core.types import Prediction

    vectors = np.random.default_rng(0).normal(size=(SIZE + 200, 8)).astype(np.float32)
    for number, vector in enumerate(vectors):
        reservoir.add([Answered(Prediction(str(number), "refund", 0.9), 10, 1, 1.0)], {"embedding": vector[None]})
    reservoir.write()
    import time

    now = time.time() + 1
    reference = Reference(vectors[:300] + 2.0, np.full(300, np.float32(0.9)), np.full(300, 10), np.full(300, "refund"))
    found = summarise(journal, "support", reference, now, 60, samples=tmp_path)
    assert found.drift.rows == SIZE
    assert found.drift.alarms == ["inputs"]


def test_after_a_swap_drift_is_measured_on_the_present_exports_answers_alone(journal, tmp_path):
    from luthier.core.types import Prediction

    def answers(export, label):
        return [
            PredictionAnswered(endpoint="support", id="x", export=export, output=label, confidence=0.9, tokens=10, at=NOW - 150)
            for _ in range(100)
        ]

    journal.append(answers("export-0", "order"))
    reference = Reference(np.zeros((200, 0)), np.full(200, 0.9), np.full(200, 10), np.array(["refund"] * 150 + ["order"] * 50))
    both, present, absent = (summarise(journal, "support", reference, NOW, 200, export=export) for export in ("", "export-1", "export-9"))
    assert (both.drift.rows, both.drift.alarms) == (200, ["labels"])
    assert (present.drift.rows, present.drift.alarms) == (100, [])
    assert present.answers == 200, "the other figures are the endpoint's"
    assert "there are 0" in absent.drift.note

    former = Reservoir(sample_path(tmp_path, "support"), "export-0")
    for number in range(100):
        former.add([Answered(Prediction(str(number), "order", 0.9), 10, 1, 1.0)], {"embedding": np.zeros((1, 0), np.float32)})
    former.write()
    import time

    now = time.time() + 1
    rows = {
        export: summarise(journal, "support", reference, now, 60, samples=tmp_path, export=export).drift.rows
        for export in ("export-0", "export-1")
    }
    assert rows == {"export-0": 100, "export-1": 0}


@pytest.mark.parametrize("window_s", [0, -1, float("nan")])
def test_a_window_without_time_is_refused(journal, window_s):
    with pytest.raises(InputError, match="window_s"):
        summarise(journal, "support", None, NOW, window_s)


def test_it_is_shown_in_the_terminal(journal):
    console = Console(width=110, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    reference = Reference(np.zeros((200, 0)), np.full(200, 0.9), np.full(200, 10), np.array(["order"] * 150 + ["refund"] * 50))
    console.print(render(summarise(journal, "support", reference, NOW, 200)))
    text = console.export_text()
    for part in ("support", "0.50/s", "overloaded 1", "refund", "75.0%", "25.0%", "50.0% of 4 judged", "ALARM", "at most 1%"):
        assert part in text
