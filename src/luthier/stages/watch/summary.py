"""What a person wants to know of an endpoint's last minutes."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core.errors import InputError
from luthier.core.events import DriftMeasured
from luthier.stages.serve.reservoir import sample_path
from luthier.stages.watch.drift import Drift, Reference, drift, read_reference
from luthier.stages.watch.window import Reads, Window, read_window

OUT_OF_SCOPE = 0.95
"""From here an answer is counted as out of scope: it is less like the known messages than 95 % of the validation rows."""


@dataclass
class WatchSummary:
    """One window of one endpoint. Shares are 0 to 1; ``live_accuracy`` is ``nan`` without corrections, and covers judged answers only."""

    endpoint: str
    start: float
    end: float
    answers: int = 0
    per_s: float = 0.0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    errors: dict[str, int] = field(default_factory=dict)
    error_share: float = 0.0
    labels: dict[str, float] = field(default_factory=dict)
    reference_labels: dict[str, float] = field(default_factory=dict)
    confidence: float = 0.0
    reference_confidence: float = float("nan")
    abstained: float = 0.0
    out_of_scope: float = 0.0
    tokens: float = 0.0
    thumbs: dict[str, int] = field(default_factory=dict)
    judged: int = 0
    live_accuracy: float = float("nan")
    exports: list[str] = field(default_factory=list)
    mirrored: dict[str, dict[str, float]] = field(default_factory=dict)
    """Version -> copies that it answered, how many the same, how many not at all, and the share of its answers that agreed."""

    drift: Drift = field(default_factory=lambda: Drift(0, 0.0, note="there is no reference to compare with"))

    def as_json(self) -> dict[str, Any]:
        """For ``luthier watch --json``; a figure that is not known is ``null``."""
        return {key: None if isinstance(value, float) and value != value else value for key, value in asdict(self).items()}

    def event(self) -> DriftMeasured:
        """The drift figures as an event for the journal."""
        return DriftMeasured(endpoint=self.endpoint, window=self.drift.rows, figures=self.drift.figures, alarms=self.drift.alarms)


def summarise(
    journal: Reads,
    endpoint: str,
    reference: Path | Reference | None,
    now: float,
    window_s: float,
    *,
    samples: Path | None = None,
    export: str = "",
) -> WatchSummary:
    """The window ``[now - window_s, now]``. ``reference``: the export's folder, or its rows; ``samples``: the folder where the server
    writes its drift samples (without them, drift is measured on what the journal holds: all but the embeddings); ``export``: drift is
    measured on this export's answers alone ("": on all), since the reference is one export's.
    """
    if not window_s > 0:
        raise InputError(f"window_s: {window_s} is not above 0", "give the window in seconds, e.g. 300")
    window = read_window(journal, endpoint, now - window_s, now)
    rows = read_reference(reference / "reference.npz") if isinstance(reference, Path) else reference
    summary = _figures(window, window_s)
    if rows is not None:
        summary.reference_labels = _mix(list(rows.label))
        summary.reference_confidence = float(np.mean(rows.confidence)) if len(rows) else float("nan")
        summary.drift = drift(rows, _live(window, samples, export))
    return summary


def _figures(window: Window, window_s: float) -> WatchSummary:
    count, failed = len(window), sum(window.errors.values())
    p50, p95, p99 = np.percentile(window.latency_ms, [50, 95, 99]) if count else (0.0, 0.0, 0.0)
    judged, accuracy = _accuracy(window)
    return WatchSummary(
        endpoint=window.endpoint,
        start=window.start,
        end=window.end,
        answers=count,
        per_s=count / window_s,
        p50_ms=float(p50),
        p95_ms=float(p95),
        p99_ms=float(p99),
        errors=dict(window.errors),
        error_share=failed / (count + failed) if failed else 0.0,
        labels=_mix(window.labels),
        confidence=float(np.mean(window.confidence)) if count else 0.0,
        abstained=window.abstained / count if count else 0.0,
        out_of_scope=float(np.mean(np.array(window.out_of_scope) >= OUT_OF_SCOPE)) if count else 0.0,
        tokens=float(np.mean(window.tokens)) if count else 0.0,
        thumbs=dict(window.thumbs),
        judged=judged,
        live_accuracy=accuracy,
        exports=list(window.exports),
        mirrored={name: _agreement(counts) for name, counts in sorted(window.mirrored.items())},
    )


def _agreement(counts: Counter[str]) -> dict[str, float]:
    answers = counts["same"] + counts["other"]
    share = counts["same"] / answers if answers else 0.0
    return {"answers": answers, "same": counts["same"], "failed": counts["failed"], "agreement": share}


def _mix(labels: list[str]) -> dict[str, float]:
    counts = Counter(map(str, labels))
    return {label: count / len(labels) for label, count in counts.most_common()}


def _accuracy(window: Window) -> tuple[int, float]:
    """Judged answers, and the share that was right: by the corrected label where there is one, else by the thumb."""
    right: dict[str, bool] = dict.fromkeys(window.praised, True) | dict.fromkeys(window.blamed, False)
    right |= {one: window.answered[one] == label for one, label in window.corrected.items() if one in window.answered}
    return len(right), sum(right.values()) / len(right) if right else float("nan")


def _live(window: Window, samples: Path | None, export: str) -> Reference:
    """The server's sample of this window, or, without one, the journal's rows without embeddings; of one export, if it is named."""
    path = sample_path(samples, window.endpoint) if samples else None
    if path is not None and path.is_file():
        with np.load(path, allow_pickle=False) as found:
            same = not export or ("export" in found and str(found["export"]) == export)
            order = np.argsort(found["at"], kind="stable")
            inside = order[(found["at"][order] >= window.start) & (found["at"][order] <= window.end) & same]
            rows = (found["embedding"].astype(np.float32), found["confidence"], found["tokens"], found["label"])
            if len(inside):
                return Reference(*rows).rows(inside)
    count = len(window)
    theirs = np.array([not export or one == export for one in window.answered_by], bool)
    vectors = np.zeros((count, 0), np.float32)
    return Reference(vectors, np.array(window.confidence), np.array(window.tokens), np.array(window.labels)).rows(theirs)
