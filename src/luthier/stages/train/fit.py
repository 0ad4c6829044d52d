"""The training loop, one for all tasks and methods; evaluation uses it too, for folds and for baselines.

All chance follows from (seed, epoch) for the order of batches and (seed, step) for dropout, so a training that goes on from a
checkpoint makes exactly the steps that an uninterrupted one makes.
"""

from __future__ import annotations

import contextlib
import copy
import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from luthier.core import registry
from luthier.core.errors import NotPossible, Stopped
from luthier.core.events import NoteSaid, StageProgressed, StepFinished
from luthier.core.hooks import pooled_at, validation_metric
from luthier.core.ports import Emit
from luthier.core.types import Arrays, Item, content_id
from luthier.stages import stopping
from luthier.stages.carried import carry
from luthier.stages.inference import HIDDEN, answers, gather, lengths_of, tensors
from luthier.stages.train import word_table
from luthier.stages.train.batches import Course
from luthier.stages.train.checkpoint import Checkpoints, Saved
from luthier.stages.train.features import FeatureCache
from luthier.stages.train.gradients import Gradients
from luthier.stages.train.judging import check, judge
from luthier.stages.train.optimizer import AVERAGE_EVERY, AdamW, Average, schedule
from luthier.stages.train.output_layer import fit_alone
from luthier.stages.train.planned import objective_of, planned
from luthier.stages.train.pooled import Pooled
from luthier.stages.train.reference import compared
from luthier.stages.train.request import FitRequest, FitResult, prepare_model, silent, step_seed
from luthier.stages.train.slim import lay, slim
from luthier.stages.train.telling import EVERY_S, reporter
from luthier.stages.train.weights import class_weights

CURVE_POINTS = 200
ANSWERED_TOKENS = 2048
"""Tokens in a batch of validation; more where training itself takes more."""


@dataclass
class _Progress:
    """What the loop remembers between steps; JSON in a checkpoint.

    ``best_metric`` is negative where lower is better, so that the greatest is the best; ``best_value`` is what was measured.
    """

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    features_s: float = 0.0
    loss_sum: float = 0.0
    loss_count: int = 0
    best_step: int = 0
    best_metric: float = 0.0
    best_value: float | None = None
    higher_is_better: bool = True
    epochs_without_gain: int = 0
    averaged: int = 0
    stopped: bool = False
    steps_curve: list[dict[str, float]] = field(default_factory=list)
    epochs_curve: list[dict[str, float]] = field(default_factory=list)


def fit(request: FitRequest, emit: Emit = silent) -> FitResult:
    """Trains and returns the best model.

    Raises ``NotPossible`` when the method does not fit the model or the loss is no number any more, ``SpecError`` for an unknown metric.
    """
    loop = _Loop(request, emit)
    loop.restore()
    loop.train()
    return loop.result()


class _Loop:
    """One training in progress."""

    def __init__(self, request: FitRequest, emit: Emit) -> None:
        self.request, self.emit, self.plan, self.task = request, emit, request.plan, request.task
        self.method = registry.get("methods", self.plan.method)
        self.model = prepare_model(request)
        self.cut: int = self.method.cut(self.plan, self.model.depth)
        self.pooled = pooled_at(self.task, self.cut, self.model.depth)
        check(request, self.model, self.cut)
        start = time.perf_counter()
        self.train_items, self.validation = self._ready(request.train, "train"), self._ready(request.validation, "validation")
        self.progress = _Progress(features_s=time.perf_counter() - start)
        self.resumed_at = 0
        self.lengths = lengths_of(self.task, self.train_items, pooled=self.pooled)
        self.token_counts = lengths_of(self.task, self.train_items)
        self.objective = objective_of(request)
        self.course: Course = planned(request, self.lengths)
        self.weights = self._class_weights()
        self.gradients = Gradients(request, self.model, self.objective, self.weights, self.cut)
        self.rows = word_table.put_in(self.model)
        self.optimizer = AdamW(self.model, self.rows, self.plan)
        self.average = Average(self._live()) if self.plan.average_share else None
        self.best: dict[str, Any] = {}
        self.source = Pooled(self.train_items, request.device) if self.pooled else None
        self.checkpoints = Checkpoints(request.checkpoints, self._fingerprint(), emit) if request.checkpoints else None

    def _ready(self, items: Sequence[Item], part: str) -> Sequence[Item]:
        """With what is computed once, by the model as it is before the first step, also where a killed training goes on later."""
        return compared(self.task, self.model, self._cached(items, part), self.request.features)

    def _cached(self, items: Sequence[Item], part: str) -> Sequence[Item]:
        if not self.cut or not items or HIDDEN in items[0]:
            return items
        with contextlib.ExitStack() as stack:
            folder = self.request.features or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            cache = FeatureCache.build(
                self.task, self.model, items, self.cut, folder, int8=self.request.int8, progress=reporter(self.emit, f"features of {part}")
            )
            return cache.attach(items)

    def _class_weights(self) -> Any:
        import torch

        weights = class_weights(self.task, self.request.train, self.request.schema, self.plan)
        return None if weights is None else torch.as_tensor(weights).to(self.request.device)

    def _fingerprint(self) -> str:
        sizes = [int(self.token_counts.sum()), len(self.train_items), len(self.validation)]
        about = self.plan.model_dump(mode="json", exclude={"checkpoint_s", "threads", "keep_checkpoints", "device", "precision"})
        request = self.request
        return content_id([about, sizes, request.seed, request.pretrained, request.max_steps, sorted(asdict(self.progress))])

    def _live(self) -> dict[str, Any]:
        """Every tensor that learns, by name; the word vectors as a whole."""
        live = {name: p.detach() for group in self.optimizer.groups for name, p in zip(group.names, group.parameters, strict=True)}
        return live | ({"rows": self.rows.weight.detach()} if self.rows is not None else {})

    # -- checkpoints -------------------------------------------------------------------------------------------------------------

    def restore(self) -> None:
        """Goes on from the newest whole checkpoint, if there is one."""
        saved: Saved | None = self.checkpoints.newest() if self.checkpoints else None
        if saved is None:
            self._fit_head()
            return
        if saved.best:
            self.best = {name: value.clone() for name, value in self._live().items()}
            lay(self.best, saved.best)
        self.optimizer.restore(saved.state, saved.step)
        known = {key: value for key, value in saved.progress.items() if key not in ("step", "fingerprint")}
        opened_s, self.resumed_at = self.progress.features_s, saved.step
        self.progress = _Progress(step=saved.step, **known)
        self.progress.features_s += opened_s
        if self.average is not None and self.progress.averaged:
            for name, live in self._live().items():
                self.average.mean[name].copy_(live)
            lay(self.average.mean, {k.removeprefix("mean/"): v for k, v in saved.state.items() if k.startswith("mean/")})
            self.average.count = self.progress.averaged
        self.emit(NoteSaid(text=f"training goes on from step {saved.step} of {self.course.steps}"))

    def _fit_head(self) -> None:
        """Starts the new layers from a fit on the untouched model's vectors, so that the trunk is not bent by a random output layer.

        Linear probing, then fine-tuning: Kumar et al. 2022, arXiv 2202.10054.
        """
        if not self.plan.fitted_head or self.pooled or not self.request.pretrained:
            return
        started = time.perf_counter()
        vectors = self._answers(self.train_items)[0]["embedding"] if self.cut else None
        fit_alone(self.request, self.model, vectors, self.emit)
        self.progress.features_s += time.perf_counter() - started

    def _fit_head_again(self) -> None:
        """What an objective taught the trunk is of use once the output layer is fitted on the trunk's new vectors."""
        if self.objective is not None:
            fit_alone(self.request, self.model, self._answers(self.train_items)[0]["embedding"], self.emit, "standard")

    def _slim(self, tensors_by_name: dict[str, Any]) -> dict[str, Any]:
        return slim(tensors_by_name, self.optimizer.row_used if self.rows is not None else None)

    def _checkpoint(self) -> None:
        if self.checkpoints is None:
            return
        state = self.optimizer.state()
        if self.average is not None and self.average.count:
            state |= {f"mean/{name}": value for name, value in self._slim(self.average.mean).items()}
        progress = {key: value for key, value in asdict(self.progress).items() if key != "step"}
        self.checkpoints.write(self.progress.step, state, progress)

    # -- the loop ----------------------------------------------------------------------------------------------------------------

    def train(self) -> None:
        """Runs every step that is left."""
        last_checkpoint = last_said = time.perf_counter()
        self.model.train()
        batches: list[Any] = []
        epoch = -1
        while self.progress.step < self.course.steps and not self.progress.stopped:
            step = self.progress.step
            if self.course.epoch_of(step) != epoch:
                epoch = self.course.epoch_of(step)
                batches = self.course.batches(epoch)
            started = time.perf_counter()
            numbers = batches[step - self.course.start_of(epoch)]
            self._step(numbers)
            self._sample_average()
            self._end_of_step(epoch, numbers, time.perf_counter() - started)
            now = time.perf_counter()
            if now - last_said >= EVERY_S or self.progress.step == self.course.steps:
                last_said = now
                self._say(epoch)
            self._heed_stop()
            if now - last_checkpoint >= self.plan.checkpoint_s and self.progress.step < self.course.steps:
                self._checkpoint()
                last_checkpoint = time.perf_counter()

    def _heed_stop(self) -> None:
        """Leaves a checkpoint to go on from and a model to ask, and ends, when somebody asked for it."""
        if stopping.asked() and self.checkpoints is not None and self.progress.step < self.course.steps:
            self._checkpoint()
            self._keep({})
            raise Stopped(f"training was stopped at step {self.progress.step} of {self.course.steps}", "resume goes on from there")

    def _keep(self, figures: dict[str, float]) -> None:
        """A copy of the model as it is now, for whoever keeps models of the way."""
        if self.request.keep is None:
            return
        model = copy.deepcopy(self.model)
        rows = model.trunk.get_input_embeddings() if self.rows is not None else None
        word_table.take_out(model, rows)
        self.request.keep(self.progress.step, self.method.merge(model).eval(), figures)

    def _step(self, numbers: Any) -> None:
        value = self.gradients.add(numbers, self._batch, step_seed(self.request.seed, self.progress.step))
        self.optimizer.step(schedule(self.progress.step, self.course.steps, self.plan.warmup_share))
        self.progress.step += 1
        if not math.isfinite(value):
            raise NotPossible(f"the loss is not a number at step {self.progress.step}", "lower train.learning_rate")
        self.progress.loss_sum += value
        self.progress.loss_count += 1

    def _batch(self, numbers: Any) -> dict[str, Any]:
        if self.source is not None:
            return self.source.batch(numbers)
        return tensors(self.task, [self.train_items[n] for n in numbers], cut=self.cut, device=self.request.device)

    def _sample_average(self) -> None:
        from_step = self.course.steps * (1.0 - self.plan.average_share)
        if self.average is not None and self.progress.step > from_step and (self.course.steps - self.progress.step) % AVERAGE_EVERY == 0:
            self.average.take()
            self.progress.averaged = self.average.count

    def _end_of_step(self, epoch: int, numbers: Any, seconds: float) -> None:
        progress = self.progress
        progress.tokens += int(self.token_counts[numbers].sum())
        progress.seconds += seconds
        if progress.step % max(1, self.course.steps // CURVE_POINTS) == 0:
            progress.steps_curve.append(
                {"step": progress.step, "epoch": self._epoch_now(epoch), "loss": progress.loss_sum / progress.loss_count}
            )
            progress.loss_sum, progress.loss_count = 0.0, 0
        if progress.step == self.course.ends[epoch]:
            started = time.perf_counter()
            figures = self._validate(epoch)
            if self._may_be_one_of_the_last(epoch):
                with self._averaged():
                    self._keep(figures)
            progress.seconds += time.perf_counter() - started

    def _may_be_one_of_the_last(self, epoch: int) -> bool:
        """Whether the model of this epoch may be one of those to keep; who keeps them lets the older ones go."""
        kept, patience = self.plan.keep_checkpoints, self.plan.patience
        early = bool(patience) and self.progress.epochs_without_gain + kept >= patience
        return bool(kept) and (early or epoch >= len(self.course.ends) - kept)

    def _epoch_now(self, epoch: int) -> float:
        start, end = self.course.start_of(epoch), self.course.ends[epoch]
        return round(epoch + (self.progress.step - start) / max(1, end - start), 4)

    def _validate(self, epoch: int) -> dict[str, float]:
        """At the end of an epoch: the metric, the best weights, and whether to stop. Returns what was measured."""
        if not self.validation or not self.request.judged:
            return {}
        with self._averaged():
            self._fit_head_again()
            outputs, loss = self._answers(self.validation)
            score = judge(self.task, self.request.judged, outputs, self.request.schema, self.plan.metric)
            value = score.value if score.higher_is_better else -score.value
            progress = self.progress
            progress.higher_is_better = score.higher_is_better
            better = not self.best or value > progress.best_metric
            if better:
                progress.best_step, progress.best_metric, progress.best_value = progress.step, value, score.value
                progress.epochs_without_gain = 0
                self.best = {name: tensor.clone() for name, tensor in self._live().items()}
                if self.checkpoints is not None:
                    self.checkpoints.write_best(progress.step, self._slim(self.best))
            else:
                progress.epochs_without_gain += 1
        figures = {score.name: score.value} | ({"validation_loss": loss} if loss == loss else {})
        progress.epochs_curve.append({"step": progress.step, "epoch": self._epoch_now(epoch), **figures})
        higher = score.higher_is_better
        self.emit(StepFinished(step=progress.step, epoch=self._epoch_now(epoch), figures=figures, higher_is_better=higher))
        progress.stopped = bool(self.plan.patience) and progress.epochs_without_gain >= self.plan.patience
        return figures

    @contextlib.contextmanager
    def _averaged(self) -> Iterator[None]:
        """The averaged weights are in the model for the time of the block, once there are any."""
        active = self.average is not None and self.average.count > 0
        if active and self.average is not None:
            self.average.swap()
        try:
            yield
        finally:
            if active and self.average is not None:
                self.average.swap()

    def _answers(self, items: Sequence[Item]) -> tuple[Arrays, float]:
        """Outputs in the items' order, and their mean loss (not a number when the items have no targets)."""
        parts, total, rows = [], 0.0, 0
        size = max(ANSWERED_TOKENS, self.plan.batch_tokens)
        for numbers, batch, outputs in answers(self.task, self.model, items, batch_tokens=size, cut=self.cut):
            parts.append((numbers, {name: value.float().cpu().numpy() for name, value in outputs.items()}))
            if "labels" in batch:
                total += len(numbers) * float(self.task.loss(outputs, batch, self.request.schema, self.plan, None))
                rows += len(numbers)
        return carry(self.task, items, gather(parts, len(items))), total / rows if rows else float("nan")

    def _say(self, epoch: int) -> None:
        progress = self.progress
        rate = progress.tokens / max(1e-9, progress.seconds)
        figures = {"epoch": self._epoch_now(epoch), "tokens_per_s": round(rate, 1)}
        if progress.loss_count or progress.steps_curve:
            recent = progress.loss_sum / progress.loss_count if progress.loss_count else progress.steps_curve[-1]["loss"]
            figures["loss"] = round(recent, 4)
        if self.request.peak_flops:
            figures["mfu"] = round(rate * self.request.flop_per_token / self.request.peak_flops, 4)
        left = progress.seconds / max(1, progress.step) * (self.course.steps - progress.step) + self.request.seconds_ahead
        self.emit(
            StageProgressed(
                stage="train",
                phase="train",
                done=progress.step,
                total=self.course.steps,
                unit="steps",
                left_s=round(left, 1),
                figures=figures,
            )
        )

    def result(self) -> FitResult:
        """The model with its best (or last, or averaged) weights, merged, and what was learned on the way."""
        progress = self.progress
        trained = sum(p.numel() for group in self.optimizer.groups for p in group.parameters)
        trained += self.rows.weight.numel() if self.rows is not None else 0
        chosen = self.best or (self.average.mean if self.average is not None and self.average.count else {})
        for name, live in self._live().items():
            if chosen:
                live.copy_(chosen[name])
        if not self.best:
            self._fit_head_again()
        outputs = self._answers(self.validation)[0] if self.validation else {}
        word_table.take_out(self.model, self.rows)
        return FitResult(
            model=self.method.merge(self.model).eval(),
            validation_outputs=outputs,
            best_metric=progress.best_value,
            higher_is_better=progress.higher_is_better,
            best_step=progress.best_step or progress.step,
            metric=self.plan.metric or validation_metric(self.task),
            steps=progress.step,
            epochs=self._epoch_now(self.course.epoch_of(max(0, progress.step - 1))),
            seconds=progress.seconds + progress.features_s,
            features_s=progress.features_s,
            flop=progress.tokens * self.request.flop_per_token,
            tokens=progress.tokens,
            curves={"steps": progress.steps_curve, "epochs": progress.epochs_curve},
            trained_parameters=trained,
            cut=self.cut,
            stopped_early=progress.stopped,
            resumed_at=self.resumed_at,
        )
