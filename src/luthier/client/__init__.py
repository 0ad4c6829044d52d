"""The service over HTTP: the same nouns and verbs as the command line (knows core only)."""

from __future__ import annotations

from typing import Any

from luthier.client.connection import OWN, Connection, part
from luthier.client.keys import Keys
from luthier.client.labelling import Labellings
from luthier.client.records import Artifacts, Catalog, Datasets, Evaluations, Runs
from luthier.client.serving import Deployments, Endpoints, Feedback, Rollouts
from luthier.client.tuning import Files, Jobs, follow

__all__ = ["Client", "follow"]


class Client:
    """A server that was started with ``luthier serve``: ``Client("http://127.0.0.1:8000", key).endpoints.predict("support", "hello")``.

    Errors are those of ``luthier.core.errors``, as the server raised them. What the server had no room for (429, 503) is tried again,
    ``tries`` times in all, after the time that it asks for.
    """

    def __init__(self, url: str, key: str = "", *, timeout_s: float = 60.0, tries: int = 4) -> None:
        self.connection = Connection(url, key, timeout_s=timeout_s, tries=tries)
        self.catalog = Catalog(self.connection)
        self.artifacts = Artifacts(self.connection)
        self.datasets = Datasets(self.connection)
        self.evaluations = Evaluations(self.connection)
        self.runs = Runs(self.connection)
        self.endpoints = Endpoints(self.connection)
        self.deployments = Deployments(self.connection)
        self.rollouts = Rollouts(self.connection)
        self.feedback = Feedback(self.connection)
        self.files = Files(self.connection)
        self.jobs = Jobs(self.connection)
        self.keys = Keys(self.connection)
        self.labellings = Labellings(self.connection)

    def predict(self, endpoint: str, texts: str | list[str], *, scores: bool = False) -> Any:
        """The answer to a text, or the answers to a list of texts."""
        return self.endpoints.predict(endpoint, texts, scores=scores)

    def plan(self, recipe: dict[str, Any]) -> dict[str, Any]:
        """What a recipe would do there; nothing runs. Its data are ids of uploaded files, or ``made:NAME``."""
        found: dict[str, Any] = self.connection.post(f"{OWN}/plans", recipe)
        return found

    def watch(self, endpoint: str, window_s: float = 300.0) -> dict[str, Any]:
        """The last ``window_s`` seconds of an endpoint, as ``luthier watch --json`` says them."""
        found: dict[str, Any] = self.connection.get(f"{OWN}/monitors/{part(endpoint)}", window_s=window_s)
        return found
