"""A worker beside a server: its own process, ended with the server, started again when it dies."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time

LOG = logging.getLogger("luthier.worker")
AGAIN_S = 1.0
STOP_S = 60.0


class Beside:
    """``python -m luthier.app.beside HOME JOBS`` kept running. A context manager."""

    def __init__(self, home: str, jobs: int = 0) -> None:
        self.command = [sys.executable, "-m", "luthier.app.beside", home, str(jobs)]
        self.process: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="worker", daemon=True)

    def __enter__(self) -> Beside:
        """Starts it."""
        self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Asks it to end in good order: its jobs go back to the queue, with a checkpoint."""
        self._stop.set()
        process = self.process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
        self._keeper.join(timeout=5)

    def _keep(self) -> None:
        while not self._stop.is_set():
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env={**os.environ, "LUTHIER_PARENT": str(os.getpid())}
            )
            code = self.process.wait()
            if not self._stop.is_set():
                LOG.warning("the worker ended with code %s; another one is started", code)
                self._stop.wait(AGAIN_S)


def work(home: str, jobs: int = 0) -> None:
    """Runs a worker in this process until SIGTERM or SIGINT; with ``LUTHIER_PARENT`` set it ends with its parent too."""
    import signal

    from luthier.app.worker import Worker
    from luthier.stages.parent import end_with_parent

    if os.environ.pop("LUTHIER_PARENT", ""):
        end_with_parent()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    worker = Worker(home, jobs=jobs)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stop())
    started = time.monotonic()
    worker.run()
    LOG.info("the worker ended after %.0f s", time.monotonic() - started)


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]))
