"""How much this machine takes at once: by cores, memory and accelerators, so that two jobs do not kill each other."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from glob import glob
from itertools import takewhile
from pathlib import Path
from typing import Any

import psutil

from luthier.stages.train.threads import cores

MEMORY_SHARE = 0.9
"""Share of the machine's memory that running jobs may need together."""

_CARD = re.compile(r"\d+|(GPU|MIG)-[0-9A-Za-z/-]+")


def memory_bytes() -> float:
    """Memory that jobs may need here: a share of the machine's, or of the container's where that has less."""
    total = psutil.virtual_memory().total
    with contextlib.suppress(OSError, ValueError):  # no such limit, or "max"
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return MEMORY_SHARE * total


def cards() -> tuple[str, ...]:
    """The accelerators that jobs may use here, as ``CUDA_VISIBLE_DEVICES`` names them; an operator who sets that decides."""
    devices, said = len(glob("/dev/nvidia[0-9]*")), os.environ.get("CUDA_VISIBLE_DEVICES")
    if said is None or not devices:
        return tuple(str(number) for number in range(devices))
    named = takewhile(_CARD.fullmatch, (one.strip() for one in said.split(",")))  # CUDA itself stops at the first that is none
    return tuple(dict.fromkeys(named))


class Capacity:
    """What the machine has. ``jobs``: most jobs at once (0: as many as it carries).

    What a job needs is ``memory_bytes``, ``threads`` (0: it did not say), ``device`` and ``executor``. What runs has its ``card`` too, and
    is a job where ``job`` says so; the rest are exports.
    """

    def __init__(self, jobs: int = 0) -> None:
        self.jobs = jobs
        self.cores = cores()
        self.memory_bytes = memory_bytes()
        self.cards = cards()

    def seat(self, needs: dict[str, Any], running: Sequence[dict[str, Any]], *, crowded: bool = False) -> str | None:
        """The card of what may start beside the ``running`` ("" where it needs none); none where it does not fit now.

        One alone may always start: it has all there is. ``crowded``: it takes turns at the cores where there are too few.
        """
        if needs.get("job") and self.jobs and sum(bool(one.get("job")) for one in running) >= self.jobs:
            return None
        if not _local(needs):  # its work is done elsewhere
            return ""
        beside = [one for one in running if _local(one)]
        if beside and not (self._has_memory(needs, beside) and (crowded or self._has_cores(needs, beside))):
            return None
        if not self._wants_card(needs):
            return ""
        used = {str(one.get("card", "")) for one in beside}
        return next((card for card in self.cards if card not in used), None)

    def full(self, running: Sequence[dict[str, Any]]) -> bool:
        """Whether not even the smallest job would fit here now."""
        least = {"job": True, "threads": 1}
        return all(self.seat(least | {"device": device}, running) is None for device in ("auto", "cpu"))

    def too_large(self, needs: dict[str, Any]) -> bool:
        """Whether it fits only if nothing else runs, and perhaps not even then."""
        return _local(needs) and _memory(needs) > self.memory_bytes

    def _has_memory(self, needs: dict[str, Any], beside: Sequence[dict[str, Any]]) -> bool:
        return _memory(needs) + sum(map(_memory, beside)) <= self.memory_bytes

    def _has_cores(self, needs: dict[str, Any], beside: Sequence[dict[str, Any]]) -> bool:
        """A job with a card of its own asks for no cores, and keeps one busy."""
        return self._wants_card(needs) or sum(map(self._threads, [needs, *beside])) <= self.cores

    def _wants_card(self, needs: dict[str, Any]) -> bool:
        return bool(self.cards) and needs.get("device", "auto") != "cpu"

    def _threads(self, needs: dict[str, Any]) -> int:
        """Cores of a job: as its recipe says, else all of a small machine and two of a larger one."""
        return 1 if self._wants_card(needs) else int(needs.get("threads", 0) or min(2, self.cores))


def _local(needs: dict[str, Any]) -> bool:
    return bool(needs.get("executor", "local") == "local")


def _memory(needs: dict[str, Any]) -> float:
    return float(needs.get("memory_bytes", 0))
