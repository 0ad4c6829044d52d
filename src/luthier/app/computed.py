"""What is computed once for each message of a labelling, in the background, and kept in the cache: vectors, a model's answers."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from luthier.app.labelling_rows import Message
from luthier.app.service import Service
from luthier.core.errors import InputError, LuthierError, UnknownName
from luthier.core.types import Prediction
from luthier.store import files

LOG = logging.getLogger("luthier.labelling")
AT_ONCE = 256
AGAIN_S = 60.0
"""After how long a failure is tried again."""

MOMENT_S = 1.0
"""So long a caller waits for what was begun just now: what lies in the cache, or is little, is there then."""

SAVE_EVERY = 5000
"""Messages after which what was computed is written: a killed process does not begin anew."""

Tell = Callable[[int, int], None]
"""Is told how many are done, of how many."""

Compute = Callable[[Sequence[str]], list[Any]]


class Computed:
    """One value for each message id. ``problem`` says why there are none ("" while all is well). Only ``finish`` waits for more than a
    moment.
    """

    suffix: ClassVar[str]

    def __init__(self, service: Service, labelling: str, source: str) -> None:
        self.service = service
        self.labelling = labelling
        self.source = source
        self.values: dict[str, Any] = {}
        self.problem = ""
        self._failed_at = 0.0
        self._busy = threading.Lock()
        self._thread: threading.Thread | None = None

    def get(self, messages: Sequence[Message]) -> dict[str, Any]:
        """What is there by now, by message id; what is missing is begun in the background."""
        lacking = any(message.id not in self.values for message in messages)
        alive = self._thread is not None and self._thread.is_alive()
        if lacking and not alive and (not self.problem or time.monotonic() - self._failed_at > AGAIN_S):
            self._thread = threading.Thread(target=self._quietly, args=(list(messages),), name=f"labelling-{self.labelling}", daemon=True)
            self._thread.start()
            self._thread.join(MOMENT_S)
        return self.values

    def finish(self, messages: Sequence[Message], tell: Tell = lambda done, of: None) -> None:
        """The rest now; raises what stands in the way."""
        with self._busy, self._opened() as (path, compute):
            if not self.values and path.is_file():
                with contextlib.suppress(LuthierError, OSError, ValueError, KeyError):  # a torn cache is made again
                    self.values = self._load(path)
            lacking = [message for message in messages if message.id not in self.values]
            tell(0, len(lacking))
            for start in range(0, len(lacking), AT_ONCE):
                some = lacking[start : start + AT_ONCE]
                made = compute([message.text for message in some])
                self.values = self.values | dict(zip([message.id for message in some], made, strict=True))
                tell(min(start + AT_ONCE, len(lacking)), len(lacking))
                if (start // AT_ONCE + 1) % (SAVE_EVERY // AT_ONCE) == 0:
                    self._save(path)
            if lacking:
                self._save(path)
        self.problem = ""

    def _quietly(self, messages: list[Message]) -> None:
        try:
            self.finish(messages)
        except Exception as error:
            LOG.exception("labelling %s: %s cannot be computed", self.labelling, type(self).__name__.lower())
            self.problem, self._failed_at = str(error)[:300], time.monotonic()

    def _path(self, stamp: str) -> Path:
        return self.service.workspace.cache / "labelling" / self.labelling / f"{stamp}{self.suffix}"

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[Path, Compute]]:
        raise NotImplementedError
        yield

    def _load(self, path: Path) -> dict[str, Any]:
        raise NotImplementedError

    def _save(self, path: Path) -> None:
        raise NotImplementedError


class Vectors(Computed):
    """Vectors [hidden] float32 of length 1, by a base encoder (the graph that ``/v1/embeddings`` answers with)."""

    suffix = ".npz"

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[Path, Compute]]:
        from luthier.stages.serve.encoder import open_encoder, text_example

        encoders, card = self.service.models.encoders, self.service.models.find(self.source).card
        if card is None:
            raise InputError(f"{self.source!r} is no base encoder any more", "make a labelling with another encoder")
        folder = encoders.folder(card)
        if folder is None:
            encoders.wait()
            folder = encoders.folder(card)
        if folder is None:
            raise LuthierError(f"the encoder {self.source} could not be made ready", "the log says why")
        endpoint = open_encoder(folder)
        try:
            yield (
                self._path(folder.name),
                lambda texts: [one.prediction.output for one in endpoint.predict_now([text_example(text) for text in texts])],
            )
        finally:
            endpoint.close()

    def _load(self, path: Path) -> dict[str, Any]:
        with np.load(path, allow_pickle=False) as stored:
            return dict(zip(stored["ids"].tolist(), stored["vectors"], strict=True))

    def _save(self, path: Path) -> None:
        with files.written_aside(path) as aside, aside.open("wb") as handle:
            np.savez(handle, ids=np.array(list(self.values)), vectors=np.stack(list(self.values.values())))


class Answers(Computed):
    """``{"value", "confidence", "unsure"}`` of a trained model: ``source`` is an endpoint, an export, or a model that has one."""

    suffix = ".json"

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[Path, Compute]]:
        from luthier.stages.serve.engine import Endpoint

        folder = folder_of(self.service, self.source)
        endpoint = Endpoint.open(folder)

        def compute(texts: Sequence[str]) -> list[Any]:
            examples = endpoint.task.request({"texts": list(texts)})
            return [_answer(one.prediction) for one in endpoint.predict_now(examples)]

        try:
            yield self._path(folder.name), compute
        finally:
            endpoint.close()

    def _load(self, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = files.read_json(path)
        return found

    def _save(self, path: Path) -> None:
        files.write_json(path, self.values)


def folder_of(service: Service, name: str) -> Path:
    """The exported folder behind an endpoint's, an export's or a model's name; raises ``UnknownName``, ``GateRefused`` without one."""
    try:
        return service.endpoints.get(name).folder
    except UnknownName:
        return Path(service.export_of(name).path)


def _answer(prediction: Prediction) -> dict[str, Any]:
    """``unsure`` is 1 less the margin between the two likeliest labels, or less the confidence where there are no two."""
    ranked = sorted(prediction.scores.values(), reverse=True)
    margin = ranked[0] - ranked[1] if len(ranked) > 1 and isinstance(prediction.output, str) else prediction.confidence
    output = prediction.output["entities"] if isinstance(prediction.output, dict) else prediction.output
    return {"value": output, "confidence": round(prediction.confidence, 6), "unsure": round(1.0 - margin, 6)}
