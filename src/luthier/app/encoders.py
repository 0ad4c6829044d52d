"""Base encoders made ready for embeddings: each once, in the background, by a process of its own (it needs torch; the server does not)."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from luthier.catalog import cards, places
from luthier.catalog.card import ModelCard
from luthier.core.errors import Conflict
from luthier.store.locks import locked

LOG = logging.getLogger("luthier.encoders")
AGAIN_S = 600.0
"""After how long a failure is tried again."""

MOST_S = 1800.0
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}


class Encoders:
    """The folders ``root/{stamp}``: one for each base encoder as it lies on this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._making: dict[str, threading.Thread] = {}
        self._failed: dict[str, tuple[float, str]] = {}
        self._lock = threading.Lock()

    def folder(self, card: ModelCard) -> Path | None:
        """The folder of a card's encoder; ``None`` while it is being made, which this starts. Raises ``Conflict`` when that failed."""
        if _here(card):
            target = self._target(card)
            if (target / "model.onnx").is_file():
                return target
        with self._lock:
            when, why = self._failed.get(card.id, (0.0, ""))
            if why and time.monotonic() - when < AGAIN_S:
                raise Conflict(
                    f"{card.id} could not be made ready for embeddings: {why}", "the server's log says more; pip install 'luthier[train]'"
                )
            working = self._making.get(card.id)
            if working is None or not working.is_alive():
                self._making[card.id] = threading.Thread(target=self._make, args=(card,), name=f"encoder-{card.id}", daemon=True)
                self._making[card.id].start()
        return None

    def _target(self, card: ModelCard) -> Path:
        return self.root / stamp(cards.locate(card))

    def wait(self) -> None:
        """Until nothing is being made (for scripts and tests)."""
        for thread in list(self._making.values()):
            thread.join()

    def _make(self, card: ModelCard) -> None:
        try:
            source = cards.locate(card)  # a model of the hub is fetched now
            target = self.root / stamp(source)
            with locked(self.root / f"{target.name}.lock", wait_s=MOST_S, what="the encoder"):
                if not (target / "model.onnx").is_file():
                    self._run(source, target)
        except Exception as error:
            LOG.exception("the encoder %s could not be made", card.id)
            with self._lock:
                self._failed[card.id] = (time.monotonic(), str(error)[:300])

    @staticmethod
    def _run(source: Path, target: Path) -> None:
        command = [sys.executable, "-m", "luthier.stages.serve.encoder_graph", str(source), str(target)]
        # Its input stays open as long as this process lives: a killed server leaves no orphan.
        with subprocess.Popen(
            command, env={**os.environ, **ENVIRONMENT}, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            said = b"" if process.stderr is None else process.stderr.read()
            if process.wait(MOST_S) != 0:
                lines = said.decode("utf-8", "replace").strip().splitlines() or [f"it ended with code {process.returncode}"]
                raise RuntimeError(lines[-1])


def _here(card: ModelCard) -> bool:
    """Whether the model lies on this machine already; fetching one would take longer than a caller waits."""
    if card.source.kind != "hub":
        return True
    config = places.cached_file(card.source.name, "config.json")
    return config is not None and any(config.parent.glob("*.safetensors"))


def stamp(folder: Path) -> str:
    """16 hex digits of what a model's folder holds, by names, sizes and times: 100 MB are not read again for it."""
    facts = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(folder.glob("*")) if path.is_file()]
    return hashlib.blake2b(repr((str(folder), facts)).encode(), digest_size=8).hexdigest()
