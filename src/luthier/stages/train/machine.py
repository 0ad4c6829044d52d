"""What this machine does best, measured at the start with real batches of this model: threads, precision, int8, and seconds a step.

The choices decide how sums are rounded, so they are written down once, whole, and read again by every later try: measured time never
touches
the arithmetic of a training that has begun.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core import registry
from luthier.core.errors import NotPossible
from luthier.core.hooks import pooled_at
from luthier.core.types import Item, content_id
from luthier.stages.inference import HIDDEN, forward, lengths_of, tensors
from luthier.stages.train.batches import course
from luthier.stages.train.features import int8_where_it_holds
from luthier.stages.train.gradients import Gradients
from luthier.stages.train.optimizer import AdamW
from luthier.stages.train.planned import objective_of
from luthier.stages.train.request import FitRequest, prepare_model, step_seed
from luthier.stages.train.threads import cores
from luthier.store import files

FEWER_THREADS_GAIN = 1.25
"""One thread is taken only when it is faster by this factor: a short disturbance must not decide."""
BF16_GAIN = 1.15
INT8_GAIN = 1.1
SAMPLES = 4
FEATURE_TOKENS = 1024
LONG_LOAD_S = 20.0
"""A model that takes longer to load is not loaded twice to measure it."""
VERSION = 3
"""Of what is measured and how; a choice that another version left in the cache is not used."""


@dataclass(frozen=True)
class Machine:
    """Choices (``threads``, ``precision``, ``device``, ``int8``) and measurements: seconds and FLOP/s.

    A training step on t tokens takes ``step_s + t * token_s``; answering ``answer_token_s`` and caching ``feature_token_s`` a token.
    """

    threads: int
    precision: str
    device: str
    int8: bool
    peak_flops: float
    step_s: float
    token_s: float
    answer_token_s: float
    feature_token_s: float
    write_bytes_s: float
    load_s: float


def choose(request: FitRequest, folder: Path, cache: str = "") -> Machine:
    """The machine's choices for a training: those written in ``folder``, else those that an equal training left in ``cache``, else
    measured now."""
    places = [folder / "machine.json"] + ([Path(cache) / f"machine-{_key(request)}.json"] if cache else [])
    written = {place: _written(place) for place in places}
    machine = next((one for one in written.values() if one is not None), None) or measure(request, folder)
    for place, known in written.items():
        if known is None:
            files.write_json(place, asdict(machine))
    return machine


def _written(place: Path) -> Machine | None:
    """The choices in a file, where there is one; ``None`` when they are for a GPU and there is none here: a training that was taken over
    goes on without.
    """
    import torch

    if not place.exists():
        return None
    machine = Machine(**files.read_json(place))
    return None if machine.device.startswith("cuda") and not torch.cuda.is_available() else machine


def _key(request: FitRequest) -> str:
    """Equal for trainings that the machine would do equally: the model's shape, what learns, the batches, and what the machine has."""
    import torch

    plan = request.plan
    about = [
        VERSION,
        request.task.name,
        torch.cuda.is_available(),
        plan.method,
        plan.fitted_head,
        plan.top_layers,
        plan.lora_rank,
        plan.lora_targets,
        plan.batch_tokens,
        plan.batch_rows,
        plan.accumulation,
        plan.gradient_checkpointing,
        plan.threads,
        plan.precision,
        plan.device,
        cores(),
    ]
    lengths = lengths_of(request.task, request.train)
    return content_id([*about, files.read_json(request.base / "config.json"), int(np.mean(lengths)) // 4])


def measure(request: FitRequest, folder: Path) -> Machine:
    """Runs a few real batches each way. Takes a few seconds; the model it trains is thrown away.

    Raises ``NotPossible`` for a plan that names a GPU where there is none.
    """
    import torch

    plan = request.plan
    if plan.device == "cuda" and not torch.cuda.is_available():
        raise NotPossible("train.device: 'cuda', and there is no GPU that torch can use here", "leave it at auto, or train where one is")
    device = plan.device if plan.device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    start = time.perf_counter()
    trial = _Trial(request, device)
    load_s = _load_again_s(trial.request, time.perf_counter() - start)
    threads = plan.threads or _best_threads(trial)
    torch.set_num_threads(threads)
    precision = plan.precision if plan.precision != "auto" else _best_precision(trial, device)
    step_s, token_s = trial.step_cost(precision)
    feature_token_s, int8 = trial.feature_cost()
    return Machine(
        threads=threads,
        precision=precision,
        device=device,
        int8=int8,
        peak_flops=peak_flops(device, precision),
        step_s=step_s,
        token_s=token_s,
        answer_token_s=trial.answer_cost(),
        feature_token_s=feature_token_s,
        write_bytes_s=_write_speed(folder),
        load_s=load_s,
    )


def _load_again_s(request: FitRequest, first_s: float) -> float:
    """Seconds of loading the model once more: the first time the libraries were loaded too. Of a large model these are a small part."""
    if first_s > LONG_LOAD_S:
        return first_s
    start = time.perf_counter()
    prepare_model(request)
    return time.perf_counter() - start


def _best_threads(trial: _Trial) -> int:
    import torch

    most = cores()
    if most == 1:
        return 1
    seconds = {}
    for threads in (most, 1):
        torch.set_num_threads(threads)
        seconds[threads] = trial.seconds(trial.middle)
    return 1 if seconds[1] * FEWER_THREADS_GAIN < seconds[most] else most


def _best_precision(trial: _Trial, device: str) -> str:
    if device == "cpu" and not _has_bf16_matrix_units():
        return "fp32"
    return "bf16" if trial.seconds(trial.middle, "bf16") * BF16_GAIN < trial.seconds(trial.middle, "fp32") else "fp32"


def _has_bf16_matrix_units() -> bool:
    """Without AMX, bfloat16 runs at half the speed of float32 on a CPU (measured); it is not worth the try."""
    try:
        return "amx_bf16" in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False


class _Trial:
    """A throw-away model on sample batches of the real course."""

    def __init__(self, request: FitRequest, device: str) -> None:
        from luthier.networks import touched_rows

        self.request = replace(request, device=device)
        self.device, self.plan, self.task = device, request.plan, request.task
        self.model = prepare_model(self.request)
        self.cut = registry.get("methods", self.plan.method).cut(self.plan, self.model.depth)
        self.pooled = pooled_at(self.task, self.cut, self.model.depth)
        self.rows = touched_rows.put_in(self.model.trunk)
        self.optimizer = AdamW(self.model, self.rows, self.plan)
        self.objective = objective_of(request) if request.plan.accumulation > 1 else None  # pairs take two passes
        self.samples = self._samples()
        self.middle = self.samples[len(self.samples) // 2]

    def _samples(self) -> list[list[Item]]:
        """Batches spread over the lengths that the first epoch holds, the warm-up first run outside the clock."""
        lengths = lengths_of(self.task, self.request.train, pooled=self.pooled)
        batches = course(lengths, self.plan.batch_tokens, self.request.seed, 1, rows=self.plan.batch_rows).batches(0)
        batches.sort(key=lambda numbers: (len(numbers) * int(lengths[numbers].max()), int(lengths[numbers].max())))
        picked = [batches[int(at)] for at in np.linspace(0, len(batches) - 1, min(SAMPLES, len(batches)))]
        return [self._with_hidden([self.request.train[n] for n in numbers]) for numbers in picked]

    def _with_hidden(self, items: Sequence[Item]) -> list[Item]:
        """Stand-ins for the cached lower part: the time of a step does not depend on the values."""
        if not self.cut:
            return list(items)
        width, rng = int(self.model.config.hidden_size), np.random.default_rng(0)
        shapes = [(width,) if self.pooled else (self.task.length(item), width) for item in items]
        return [{**item, HIDDEN: rng.standard_normal(shape, dtype=np.float32)} for item, shape in zip(items, shapes, strict=True)]

    def seconds(self, items: Sequence[Item], precision: str = "fp32", tries: int = 2) -> float:
        """Median seconds of a training step on these items, after one step outside the clock."""
        return _median(lambda: self._step(items, precision), tries, self.device)

    def _step(self, items: Sequence[Item], precision: str) -> None:
        def batch(numbers: Any) -> dict[str, Any]:
            return tensors(self.task, [items[n] for n in numbers], cut=self.cut, pooled=self.pooled, device=self.device)

        self.model.train()
        Gradients(replace(self.request, precision=precision), self.model, self.objective, None, self.cut).add(
            np.arange(len(items)), batch, step_seed(0, 0)
        )
        self.optimizer.step(1e-6)

    def positions(self, items: Sequence[Item]) -> int:
        """Positions that a batch computes, padding included."""
        return len(items) * (1 if self.pooled else max(self.task.length(item) for item in items))

    def step_cost(self, precision: str) -> tuple[float, float]:
        """Seconds a step and seconds a position: a line through the measured steps, neither below 0."""
        sizes = np.array([self.positions(items) for items in self.samples], dtype=float)
        self._step(self.middle, precision)
        tries = 5 if self.pooled else 2
        warm = self.device != "cpu"  # a GPU's first batch of a shape asks for memory, which later ones find there
        times = np.array(
            [_median(lambda items=items: self._step(items, precision), tries, self.device, warm=warm) for items in self.samples]  # type: ignore[misc]
        )
        if sizes.max() > 1.5 * sizes.min():
            slope, start = np.polyfit(sizes, times, 1, w=np.sqrt(sizes))
            if slope > 0 and start >= 0:
                return float(start), float(slope)
        return 0.0, float(times.sum() / sizes.sum())

    def answer_cost(self) -> float:
        """Seconds a position in validation."""
        import torch

        self.model.eval()
        batch = tensors(self.task, self.middle, cut=self.cut, pooled=self.pooled, device=self.device)
        with torch.inference_mode():
            return _median(lambda: forward(self.model, batch, self.cut), 2, self.device) / self.positions(self.middle)

    def feature_cost(self) -> tuple[float, bool]:
        """Seconds a token of caching the lower part, and whether int8 holds and is the faster way (pooled vectors only)."""
        import torch

        if not self.cut and not self.plan.fitted_head:
            return 0.0, False
        self.model.eval()
        cut = self.cut or self.model.depth
        middle = int(np.median(lengths_of(self.task, self.request.train)))
        near = sorted(self.request.train, key=lambda item: abs(self.task.length(item) - middle))[: max(1, FEATURE_TOKENS // max(1, middle))]
        batch = tensors(self.task, near, device=self.device)
        batch.pop("labels", None)
        mask = batch.pop("attention_mask", None)
        size = sum(self.task.length(item) for item in near)
        with torch.inference_mode():
            exact = _median(lambda: self.model.lower(*batch.values(), mask, cut), 3, self.device) / size
            if not pooled_at(self.task, cut, self.model.depth) or self.device != "cpu":
                return exact, False
            fast, holds = int8_where_it_holds(self.task, self.model, self.request.train, cut)
            if not holds:
                return exact, False
            rough = _median(lambda: fast.lower(*batch.values(), mask, cut), 3, self.device) / size
        return (rough, True) if rough * INT8_GAIN < exact else (exact, False)


def _median(work: Callable[[], Any], tries: int, device: str, *, warm: bool = True) -> float:
    """Seconds from the start of the work until the device has done it: a GPU is only asked, and goes on while Python does."""
    if warm:
        work()
    _wait(device)
    found = []
    for _ in range(tries):
        start = time.perf_counter()
        work()
        _wait(device)
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def _wait(device: str) -> None:
    if device != "cpu":
        import torch

        torch.cuda.synchronize()


def peak_flops(device: str = "cpu", precision: str = "fp32") -> float:
    """FLOP/s of the best matrix product seen here in about 0.1 s: of the shape that a transformer's feed-forward part has, or, on a GPU,
    of one that is large enough to fill it.
    """
    import torch

    rows, inner, outer = (1024, 384, 1536) if device == "cpu" else (8192, 8192, 8192)
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = torch.randn(rows, inner, device=device, dtype=kind), torch.randn(inner, outer, device=device, dtype=kind)
    seconds = []
    for _ in range(12):
        start = time.perf_counter()
        torch.mm(left, right)
        _wait(device)
        seconds.append(time.perf_counter() - start)
    return 2.0 * rows * inner * outer / min(seconds)


def _write_speed(folder: Path) -> float:
    """Bytes a second of a written, flushed and hashed file."""
    block = np.random.default_rng(0).bytes(8 << 20)
    place = folder / "write-speed"
    start = time.perf_counter()
    files.write_bytes(place, block)
    files.sha256(place)
    seconds = time.perf_counter() - start
    place.unlink()
    return len(block) / seconds
