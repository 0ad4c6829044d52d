"""AdamW with clipping inside the update, word vectors updated only where a batch touched them, and an average of the last weights.

AdamW: Loshchilov & Hutter 2019 (arXiv 1711.05101). For word vectors it is lazy, as TensorFlow's LazyAdam: a row that the batch does not
use keeps
its weights and moments as they are; dense AdamW would decay them each step. The bias correction counts all steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from luthier.core.plan import TrainPlan

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
AVERAGE_EVERY = 4
"""Steps between two samples of the weights for their average."""


@dataclass
class Group:
    """Parameters that share a learning rate and a decay; ``names`` as in ``model.named_parameters()``."""

    names: list[str]
    parameters: list[Any]
    learning_rate: float
    decay: float
    first: list[Any]
    second: list[Any]
    steps: list[Any]


class AdamW:
    """One optimizer over all that learns. ``rows``: the ``TouchedRows`` stand-in for the word vectors, or ``None``."""

    def __init__(self, model: Any, rows: Any, plan: TrainPlan) -> None:
        import torch

        self.rows = rows
        self.max_norm = plan.max_grad_norm
        self.rate = plan.learning_rate
        self.decay = plan.weight_decay
        trunk = {id(parameter) for parameter in model.trunk.parameters()}
        sorted_out: dict[tuple[float, float], list[tuple[str, Any]]] = {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                rate = plan.learning_rate if id(parameter) in trunk else plan.head_learning_rate
                decay = plan.weight_decay if parameter.ndim > 1 else 0.0
                sorted_out.setdefault((rate, decay), []).append((name, parameter))
        self.groups = [
            Group(
                [n for n, _ in found],
                [p for _, p in found],
                rate,
                decay,
                [torch.zeros_like(p) for _, p in found],
                [torch.zeros_like(p) for _, p in found],
                [torch.zeros((), dtype=torch.float32, device=p.device) for _, p in found],
            )
            for (rate, decay), found in sorted_out.items()
        ]
        self.count = 0
        if rows is not None:
            self.row_first = torch.zeros_like(rows.weight)
            self.row_second = torch.zeros_like(rows.weight)
            self.row_used = torch.zeros(len(rows.weight), dtype=torch.bool, device=rows.weight.device)

    def step(self, scale: float) -> float:
        """One update with learning rates times ``scale``; gradients are dropped afterwards. Returns the gradients' norm before clipping."""
        import torch

        touched = self.rows.touched if self.rows is not None else None
        grads = [p.grad for group in self.groups for p in group.parameters if p.grad is not None]
        if touched is not None:
            grads.append(touched[1].grad)
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
        clip = (norm / self.max_norm).clamp(min=1.0) if self.max_norm else None
        self.count += 1
        for group in self.groups:
            self._update_group(group, scale, clip)
        if touched is not None:
            self._update_rows(touched[0], touched[1], scale, clip)
            self.rows.forget()
        return float(norm)

    def _update_group(self, group: Group, scale: float, clip: Any) -> None:
        live = [i for i, parameter in enumerate(group.parameters) if parameter.grad is not None]
        for i in live:
            group.steps[i].fill_(self.count)
        _fused(
            [group.parameters[i].detach() for i in live],
            [group.parameters[i].grad for i in live],
            [group.first[i] for i in live],
            [group.second[i] for i in live],
            [group.steps[i] for i in live],
            group.learning_rate * scale,
            group.decay,
            clip,
        )
        for parameter in group.parameters:
            parameter.grad = None

    def _update_rows(self, used: Any, rows: Any, scale: float, clip: Any) -> None:
        import torch

        values, first, second = rows.detach(), self.row_first.index_select(0, used), self.row_second.index_select(0, used)
        count = torch.full((), float(self.count), device=values.device)
        _fused([values], [rows.grad], [first], [second], [count], self.rate * scale, self.decay, clip)
        self.rows.weight.detach().index_copy_(0, used, values)
        self.row_first.index_copy_(0, used, first)
        self.row_second.index_copy_(0, used, second)
        self.row_used[used] = True

    def state(self) -> dict[str, Any]:
        """Everything needed to go on, by name: weights and moments; of the word vectors only the rows that were touched."""
        found: dict[str, Any] = {}
        for group in self.groups:
            for name, parameter, first, second in zip(group.names, group.parameters, group.first, group.second, strict=True):
                found |= {f"weight/{name}": parameter.detach(), f"first/{name}": first, f"second/{name}": second}
        if self.rows is not None:
            used = self.row_used.nonzero().squeeze(1)
            found["rows/used"] = used
            found["rows/weight"] = self.rows.weight.detach().index_select(0, used)
            found["rows/first"] = self.row_first.index_select(0, used)
            found["rows/second"] = self.row_second.index_select(0, used)
        return found

    def restore(self, state: dict[str, Any], count: int) -> None:
        """Takes over what ``state`` gave after ``count`` steps; the model must be freshly loaded."""
        self.count = count
        for group in self.groups:
            for name, parameter, first, second in zip(group.names, group.parameters, group.first, group.second, strict=True):
                parameter.detach().copy_(state[f"weight/{name}"])
                first.copy_(state[f"first/{name}"])
                second.copy_(state[f"second/{name}"])
        if self.rows is not None:
            used = state["rows/used"].to(self.row_first.device)
            self.row_used[used] = True
            self.rows.weight.detach().index_copy_(0, used, state["rows/weight"].to(self.row_first.device))
            self.row_first.index_copy_(0, used, state["rows/first"].to(self.row_first.device))
            self.row_second.index_copy_(0, used, state["rows/second"].to(self.row_first.device))


def _fused(weights: Any, grads: Any, first: Any, second: Any, steps: Any, rate: float, decay: float, clip: Any) -> None:
    """torch's fused AdamW kernel: one pass over memory; gradients are divided by ``clip`` on the way."""
    import torch

    if weights:
        torch._fused_adamw_(
            weights,
            grads,
            first,
            second,
            [],
            steps,
            lr=rate,
            beta1=BETA1,
            beta2=BETA2,
            weight_decay=decay,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
            grad_scale=clip,
            found_inf=None,
        )


def schedule(step: int, total: int, warmup_share: float) -> float:
    """Learning-rate factor of a step (from 0): up in a straight line, then down to 0 in a straight line."""
    warm = max(1, round(total * warmup_share))
    if step < warm:
        return (step + 1) / (warm + 1)
    return max(0.0, (total - step) / max(1, total - warm))


class Average:
    """The mean of the weights at every fourth of the last steps (Izmailov et al. 2018, arXiv 1803.05407); of all that learns."""

    def __init__(self, tensors: dict[str, Any]) -> None:
        import torch

        self.live = tensors
        self.mean = {name: torch.zeros_like(value) for name, value in tensors.items()}
        self.count = 0

    def take(self) -> None:
        """One more sample."""
        import torch

        self.count += 1
        torch._foreach_lerp_(list(self.mean.values()), list(self.live.values()), 1.0 / self.count)

    def swap(self) -> None:
        """Exchanges the weights and their mean; a second call exchanges them back."""
        for name, live in self.live.items():
            kept = live.clone()
            live.copy_(self.mean[name])
            self.mean[name].copy_(kept)
