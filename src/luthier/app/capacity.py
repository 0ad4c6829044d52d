"""How many jobs this machine takes at once: by cores, memory and accelerators, so that two do not kill each other."""

from __future__ import annotations

from collections.abc import Sequence
from glob import glob
from typing import Any

import psutil

from luthier.stages.train.threads import cores

MEMORY_SHARE = 0.9
"""Share of the machine's memory that running jobs may need together."""


class Capacity:
    """What the machine has. ``jobs``: most at once (0: as many as cores and memory carry)."""

    def __init__(self, jobs: int = 0) -> None:
        self.jobs = jobs
        self.cores = cores()
        self.memory_bytes = MEMORY_SHARE * psutil.virtual_memory().total
        self.accelerators = len(glob("/dev/nvidia[0-9]*"))

    def carries(self, needs: dict[str, Any], running: Sequence[dict[str, Any]]) -> bool:
        """Whether a job with these needs may start beside the ``running`` ones. One alone may always start: it has all there is."""
        if not running:
            return True
        if self.jobs and len(running) >= self.jobs:
            return False
        if needs.get("executor", "local") != "local":  # its work is done elsewhere
            return True
        local = [one for one in running if one.get("executor", "local") == "local"]
        if not local:
            return True
        threads = sum(self._threads(one) for one in local) + self._threads(needs)
        memory = sum(float(one.get("memory_bytes", 0)) for one in local) + float(needs.get("memory_bytes", 0))
        return threads <= self._slots() and memory <= self.memory_bytes

    def _slots(self) -> int:
        """Cores, or accelerators where there are some: each of them carries one job."""
        return self.accelerators or self.cores

    def _threads(self, needs: dict[str, Any]) -> int:
        """Cores of a job: as its recipe says, else all of a small machine and two of a larger one."""
        if self.accelerators:
            return 1
        return int(needs.get("threads", 0) or min(2, self.cores))
