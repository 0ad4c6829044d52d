"""Sends copies of requests to versions that are to be compared: their answers go to nobody, only whether they are the same is journaled."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from luthier.core.errors import LuthierError
from luthier.core.events import PredictionMirrored
from luthier.core.types import Example
from luthier.stages.serve.engine import Answered
from luthier.stages.serve.recorder import Recorder
from luthier.stages.serve.traffic import Shared

if TYPE_CHECKING:
    from luthier.stages.serve.host import Hosted

LOG = logging.getLogger("luthier.serve")
MOST = 64
"""Copies that are being answered at a time; more are left out: a slow mirror must not hold up who gets answers."""


class Mirror:
    """Of one host. To be called from the event loop, after the caller's own answer is there."""

    def __init__(self, recorder: Recorder) -> None:
        self.left_out = 0
        self._recorder = recorder
        self._tasks: set[asyncio.Task[None]] = set()

    def copy(self, shared: Shared, given: Hosted, examples: Sequence[Example], answers: Sequence[Answered]) -> None:
        """Asks each mirroring version with the probability that its share says."""
        for name, share in shared.mirrors:
            version = shared.versions[name]
            if version is given or random.random() * 100 >= share:
                continue
            if len(self._tasks) >= MOST:
                self.left_out += 1
                continue
            task = asyncio.ensure_future(self._compare(name, version, given, examples, answers))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _compare(self, name: str, version: Hosted, given: Hosted, examples: Sequence[Example], answers: Sequence[Answered]) -> None:
        said = {"endpoint": given.info.name, "version": name, "against": given.version}
        try:
            copies: Sequence[Answered] = await version.endpoint.predict(examples)
        except Exception as error:  # noqa: BLE001 - nobody waits for this answer; that there was none is what is said
            code = error.code if isinstance(error, LuthierError) else "error"
            if code != "closed":
                ids = [one.prediction.id for one in answers]
                self._recorder.record([PredictionMirrored.model_validate(said | {"id": one, "same": False, "code": code}) for one in ids])
            return
        self._recorder.record(
            [
                PredictionMirrored.model_validate(
                    said
                    | {"id": one.prediction.id, "same": copy.prediction.output == one.prediction.output}
                    | {"confidence": copy.prediction.confidence, "latency_ms": round(copy.latency_ms, 3)}
                )
                for one, copy in zip(answers, copies, strict=True)
            ]
        )
