"""What answers: endpoints, deployments, what people say of answers, and the monitor."""

from __future__ import annotations

from typing import Any

from luthier.client.connection import OWN, Connection, part
from luthier.client.records import Paged, Record

MOST = 256
"""Texts in one call."""


class Endpoints:
    """What is served now."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> list[Record]:
        """Every endpoint that answers."""
        found: list[Record] = self._connection.get(f"{OWN}/endpoints")["endpoints"]
        return found

    def get(self, name: str) -> Record:
        """One endpoint with its labels."""
        found: Record = self._connection.get(f"{OWN}/endpoints/{part(name)}")
        return found

    def predict(self, name: str, texts: str | list[str], *, scores: bool = False) -> Any:  # type: ignore[valid-type]
        """The answer to a text, or the answers to a list of texts (of any length: it is sent in several calls)."""
        path = f"{OWN}/endpoints/{part(name)}/predict"
        if isinstance(texts, str):
            return self._connection.post(path, {"text": texts, "scores": scores})
        answers: list[Record] = []
        for start in range(0, len(texts), MOST):
            answers += self._connection.post(path, {"texts": texts[start : start + MOST], "scores": scores})["answers"]
        return answers

    def ask(self, name: str, body: Any) -> list[Record]:  # type: ignore[valid-type]
        """The answers to a request as the endpoint's task takes it (``texts``, ``messages`` ...)."""
        said = self._connection.post(f"{OWN}/endpoints/{part(name)}/predict", body)
        found: list[Record] = said.get("answers", [said])
        return found


class Feedback:
    """What people said of answers."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pages = Paged(connection, f"{OWN}/feedback")

    def give(self, endpoint: str, identity: str, *, thumbs: str = "", right: Any = None, comment: str = "") -> Record:
        """Judges an answer by its id: thumbs (up, down), the right label or labels, a comment; one of them at least."""
        body = {"endpoint": endpoint, "id": identity, "thumbs": thumbs, "right": right, "comment": comment}
        found: Record = self._connection.post(f"{OWN}/feedback", body)
        return found

    def list(self, endpoint: str, limit: int = 20, after: str = "") -> Record:
        """A page of an endpoint's judgements, newest first."""
        return self._pages.list(limit, after, endpoint=endpoint)


class Deployments(Paged):
    """Which model each name answers with."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, f"{OWN}/deployments")

    def put(self, name: str, model: str, **more: Any) -> Record:
        """Makes the name answer with a model."""
        found: Record = self._connection.put(f"{self._path}/{part(name)}", {"model": model} | more)
        return found

    def delete(self, name: str) -> Record:
        """Takes the name away."""
        found: Record = self._connection.delete(f"{self._path}/{part(name)}")
        return found


class Rollouts(Paged):
    """The versions of endpoints, and how traffic goes from one to another; ``get`` takes an endpoint's name."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, f"{OWN}/rollouts")

    def start(self, endpoint: str, model: str, **wish: Any) -> Record:
        """Begins a rollout: ``canary=[5, 25, 100]``, ``step_s``, ``mirror``, and the rules of a plan's ``deploy`` section."""
        found: Record = self._connection.post(self._path, {"endpoint": endpoint, "model": model} | wish)
        return found

    def promote(self, endpoint: str) -> Record:
        """Gives the candidate all traffic now."""
        return self._do(endpoint, "promote")

    def abort(self, endpoint: str) -> Record:
        """Ends the rollout; the version before has all traffic again."""
        return self._do(endpoint, "abort")

    def back(self, endpoint: str) -> Record:
        """Makes the endpoint answer with the version before the present one."""
        return self._do(endpoint, "back")

    def _do(self, endpoint: str, what: str) -> Record:
        found: Record = self._connection.post(f"{self._path}/{part(endpoint)}/{what}", {})
        return found

    def traffic(self, endpoint: str, table: dict[str, int]) -> Record:
        """Shares the traffic by hand: percents by version, which sum to 100."""
        found: Record = self._connection.put(f"{self._path}/{part(endpoint)}/traffic", {"traffic": table})
        return found

    def remove(self, endpoint: str, version: str) -> Record:
        """Closes a version and forgets it."""
        found: Record = self._connection.delete(f"{self._path}/{part(endpoint)}/versions/{part(version)}")
        return found
