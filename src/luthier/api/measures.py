"""The figures that ``/metrics`` shows to Prometheus. Labels are bounded: an endpoint's rarer classes are counted as ``other``."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from luthier.api.tenants import Tenants
from luthier.stages.serve.engine import Answered
from luthier.stages.serve.host import Host, Hosted
from luthier.stages.serve.reservoir import label_of

LATENCY_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
CLASSES = 100
"""Classes of one endpoint that have a counter of their own."""


class Measures:
    """Counts requests and answers of one server."""

    def __init__(self, tenants: Tenants) -> None:
        self.registry = CollectorRegistry()
        self.tenants = tenants
        where: dict[str, Any] = {"registry": self.registry}
        one = ["endpoint"]
        self.requests = Counter("luthier_requests", "HTTP requests", ["route", "method", "status"], **where)
        self.errors = Counter("luthier_errors", "HTTP requests that ended with an error", ["route", "code"], **where)
        self.seconds = Histogram("luthier_request_seconds", "seconds from request to response", ["route"], buckets=LATENCY_S, **where)
        self.strangers = Counter("luthier_failed_logins", "requests without a valid key", ["reason"], **where)
        self.answers = Counter("luthier_answers", "examples answered", one, **where)
        self.answer_seconds = Histogram("luthier_answer_seconds", "seconds from call to answer", one, buckets=LATENCY_S, **where)
        self.batch = Histogram("luthier_batch_examples", "examples that ran together", one, buckets=(1, 2, 4, 8, 16, 32), **where)
        self.confidence = Histogram("luthier_confidence", "calibrated confidence of answers", one, buckets=SHARES, **where)
        self.abstained = Counter("luthier_abstained", "answers below the abstain threshold", one, **where)
        self.labels = Counter("luthier_labels", "answers by label", ["endpoint", "label"], **where)
        self.feedback = Counter("luthier_feedback", "judgements by people", ["endpoint", "thumbs"], **where)
        self.waiting = Gauge("luthier_waiting_examples", "examples that wait for an answer", one, **where)
        self.dropped = Gauge("luthier_journal_dropped", "journal events that could not be kept", **where)
        self._bound: dict[str, tuple[Any, ...]] = {}
        self._known: dict[str, set[str]] = {}
        tenants.new_host.append(self._listen)

    def _listen(self, _workspace: str, host: Host) -> None:
        host.listeners.append(self.answered)

    def answered(self, hosted: Hosted, answers: list[Answered]) -> None:
        """Counts answers. Children are looked up once an endpoint: the look-up costs more than the count."""
        name = hosted.info.name
        if name not in self._bound:
            families = (self.answers, self.answer_seconds, self.batch, self.confidence, self.abstained)
            self._bound[name] = tuple(family.labels(name) for family in families)
        answered, seconds, batch, confidence, abstained = self._bound[name]
        answered.inc(len(answers))
        for one in answers:
            seconds.observe(one.latency_ms / 1e3)
            batch.observe(one.batch)
            confidence.observe(one.prediction.confidence)
            if one.prediction.abstained:
                abstained.inc()
            self.labels.labels(name, self._bounded(name, label_of(one.prediction.output))).inc()

    def _bounded(self, name: str, label: str) -> str:
        known = self._known.setdefault(name, set())
        if label in known or len(known) < CLASSES:
            known.add(label)
            return label
        return "other"

    def page(self) -> bytes:
        """The exposition text."""
        hosts = self.tenants.hosts()
        for host in hosts:
            for hosted in host.all():
                self.waiting.labels(hosted.info.name).set(hosted.endpoint.waiting)
        self.dropped.set(sum(host.dropped for host in hosts))
        return generate_latest(self.registry)
