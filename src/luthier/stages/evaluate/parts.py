"""Runs the pieces of an evaluation (folds, baselines) side by side, a process of one thread for each core, while the stage goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from luthier.core.errors import KILLED, JobFailed, LuthierError, from_json
from luthier.core.events import StageProgressed
from luthier.core.job import Job
from luthier.core.ports import Emit
from luthier.stages.evaluate.part import FOLDER, result_folder
from luthier.store import files

TICK_S = 0.1
SAY_EVERY_S = 0.5
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Part(NamedTuple):
    """``name`` as ``part.py`` takes it, the ``results`` (folders) it leaves, and the part that must be finished ``after`` which it runs.

    ``threads`` is more than 1 only for a part that will soon be the last one running.
    """

    name: str
    results: tuple[str, ...]
    after: str = ""
    threads: int = 1


@dataclass
class _Running:
    process: subprocess.Popen[str]
    share: float = 0.0


@dataclass
class Parts:
    """Finished parts are not run again. ``wait`` raises the first error of a part, and ends the others."""

    job: Job
    wanted: Sequence[Part]
    processes: int
    emit: Emit
    _pending: list[Part] = field(default_factory=list)
    _running: dict[str, _Running] = field(default_factory=dict)
    _started: float = field(default_factory=time.perf_counter)
    _said: float = 0.0
    _error: list[LuthierError] = field(default_factory=list)
    _thread: threading.Thread = field(default_factory=threading.Thread)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Parts:
        folder = Path(self.job.work) / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        files.sweep(folder)
        files.write_text(folder / "job.json", self.job.model_dump_json())
        self._pending = [part for part in self.wanted if not self._finished(part)]
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left running, whatever happened."""
        self._stop.set()
        self._thread.join()
        for one in self._running.values():
            one.process.kill()
            one.process.wait()

    def wait(self) -> None:
        """Blocks until every part is finished; raises the error of the first that failed."""
        self._thread.join()
        if self._error:
            raise self._error[0]

    def _finished(self, part: Part) -> bool:
        return all((result_folder(Path(self.job.work), name) / "facts.json").exists() for name in part.results)

    def _loop(self) -> None:
        while (self._pending or self._running) and not self._error and not self._stop.is_set():
            for name in [name for name, one in self._running.items() if one.process.poll() is not None]:
                self._reap(name)
            self._launch()
            self._say()
            time.sleep(TICK_S)

    def _launch(self) -> None:
        busy = set(self._running) | {part.name for part in self._pending}
        for part in [part for part in self._pending if part.after not in busy]:
            if len(self._running) >= self.processes:
                return
            self._pending.remove(part)
            self._running[part.name] = self._start(part)

    def _start(self, part: Part) -> _Running:
        folder = Path(self.job.work) / FOLDER
        (folder / f"{part.name}.error.json").unlink(missing_ok=True)
        with (folder / f"{part.name}.log").open("w", encoding="utf-8") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "luthier.stages.evaluate.part", str(folder / "job.json"), part.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **dict.fromkeys(THREADS, str(part.threads))},
                text=True,
            )
        one = _Running(process)
        threading.Thread(target=_listen, args=(one,), daemon=True).start()
        return one

    def _reap(self, name: str) -> None:
        process = self._running.pop(name).process
        if process.stdin:
            process.stdin.close()
        part = next(part for part in self.wanted if part.name == name)
        if process.returncode or not self._finished(part):
            self._error.append(self._failure(name, process.returncode))

    def _failure(self, name: str, code: int) -> LuthierError:
        folder = Path(self.job.work) / FOLDER
        path = folder / f"{name}.error.json"
        if path.exists():
            data: dict[str, Any] = files.read_json(path)
            return from_json({**data, "message": f"evaluate, {name}: {data.get('message', '')}"})
        tail = (folder / f"{name}.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        return JobFailed(
            f"evaluate, {name}: the process ended with {code}" + (f": {tail[0]}" if tail else ""),
            "start the same command again: finished parts are kept; if it was killed for memory, close other programs first",
            KILLED if code < 0 else "error",
        )

    def _say(self) -> None:
        now = time.perf_counter()
        if now - self._said < SAY_EVERY_S or not self.wanted:
            return
        self._said = now
        done = len(self.wanted) - len(self._pending) - len(self._running) + sum(one.share for one in self._running.values())
        spent = now - self._started
        left = spent / done * (len(self.wanted) - done) if done > 0.3 else None
        self.emit(
            StageProgressed(
                stage="evaluate",
                phase="folds and baselines",
                done=round(done, 2),
                total=len(self.wanted),
                unit="parts",
                left_s=None if left is None else round(left, 1),
            )
        )


def _listen(one: _Running) -> None:
    for line in one.process.stdout or ():
        try:
            one.share = min(1.0, float(line))
        except ValueError:
            continue
