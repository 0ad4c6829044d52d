"""watch: a window of the request journal beside what evaluation saw: rates, latency, answers, people's judgements, drift."""

from luthier.stages.watch.drift import Drift, Reference, drift, read_reference
from luthier.stages.watch.summary import WatchSummary, summarise

__all__ = ["Drift", "Reference", "WatchSummary", "drift", "read_reference", "summarise"]
