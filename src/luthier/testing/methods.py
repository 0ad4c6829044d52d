"""What every training method promises: settings that a plan takes, a cost that can be compared, and a model that is whole at the end."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from luthier.core import registry
from luthier.core.errors import NotPossible
from luthier.core.plan import Effort, TrainPlan
from luthier.core.ports import Footprint, Method
from luthier.core.search import read_axis
from luthier.testing import made
from luthier.testing.claim import checks, ensure
from luthier.testing.shape import check_shape

DEPTHS = (1, 2, 3, 6, 12)


@checks
def check_method(plugin: Any, base: Path = Path()) -> None:
    """``base``: the folder of a model for text classification; by default a small one is made."""
    check_shape(plugin, Method)
    for effort in get_args(Effort):
        _check_plan(plugin, _plan(plugin, effort))
    for field, said in getattr(plugin, "search", {}).items():
        _check_axis(plugin, field, said)
    _check_model(plugin, base if base != Path() else made.base(3), _plan(plugin, "standard"))


def _check_axis(plugin: Any, field: str, said: str) -> None:
    """What ``luthier tune`` tries when nobody names anything must be possible, and hold what the method decides itself."""
    axis, name = read_axis(f"{field}={said}"), field.removeprefix("train.")
    ensure(field.startswith("train.") and name in TrainPlan.model_fields, f"{plugin.name}: searches {field!r}, which is no field of train")
    for value in axis.edges():
        try:
            TrainPlan(**{name: value})
        except ValidationError as error:
            raise AssertionError(f"{plugin.name}: searches {field}={value!r}, which cannot be: {error}") from error
    own = getattr(_plan(plugin, "standard"), name)
    ensure(axis.holds(own), f"{plugin.name}: its own {field} {own!r} is not among what it searches ({said})")


def _plan(plugin: Any, effort: Effort) -> TrainPlan:
    defaults = plugin.defaults(effort)
    unknown = sorted(set(defaults) - set(TrainPlan.model_fields) | {"method", "effort"} & set(defaults))
    ensure(not unknown, f"{plugin.name}: defaults({effort!r}) decides {unknown}, which is no field of train that a method may decide")
    own = plugin.defaults(effort) is defaults
    ensure(not own, f"{plugin.name}: defaults({effort!r}) hands out its own dict: whoever changes it changes it for all")
    try:
        return TrainPlan(method=plugin.name, effort=effort, **defaults)
    except ValidationError as error:
        raise AssertionError(f"{plugin.name}: defaults({effort!r}) is not valid: {error}") from error


def _check_plan(plugin: Any, plan: TrainPlan) -> None:
    for depth in DEPTHS:
        try:
            cut = plugin.cut(plan, depth)
        except NotPossible:
            continue
        ensure(isinstance(cut, int) and 0 <= cut <= depth, f"{plugin.name}: cut is {cut!r} for a model of {depth} layers")
    costs = [plugin.footprint(made.card(layers), plan, 640) for layers in (3, 6, 12)]
    for cost in costs:
        ensure(isinstance(cost, Footprint), f"{plugin.name}: footprint gave a {type(cost).__name__}, not a Footprint")
        wrong = {name: value for name, value in cost._asdict().items() if not (math.isfinite(value) and value >= 0)}
        ensure(not wrong, f"{plugin.name}: footprint holds {wrong}: each figure is finite and 0 or more")
        ensure(cost.memory_bytes > 0, f"{plugin.name}: footprint says that no memory is needed")
    for small, large in pairwise(costs):
        flop = (small.flop_per_token + small.cached_flop_per_token, large.flop_per_token + large.cached_flop_per_token)
        ensure(0 < flop[0] < flop[1], f"{plugin.name}: twice the layers take {flop[1]:g} FLOP a token instead of {flop[0]:g}")
        ensure(small.memory_bytes < large.memory_bytes, f"{plugin.name}: twice the layers need no more memory")
    more = plugin.footprint(made.card(3), plan, 6400)
    ensure(more.memory_bytes >= costs[0].memory_bytes, f"{plugin.name}: a larger batch needs less memory")


def _check_model(plugin: Any, base: Path, plan: TrainPlan) -> None:
    """A model made ready, moved by one step and merged answers as before the merge, and holds the weights that it held."""
    import torch

    task, schema = registry.get("tasks", "text-classification"), made.schema()
    model = task.load(base, schema, seed=1)
    names, cut = set(model.state_dict()), plugin.cut(plan, model.depth)
    items = task.encode(made.examples(9), task.processor(base, schema), schema)
    batch = {name: torch.as_tensor(value) for name, value in task.collate(items).items()}
    asked = {name: value for name, value in batch.items() if name != "labels"}
    ready = plugin.apply(model, plan).train()
    learning = [one for one in ready.parameters() if one.requires_grad]
    ensure(bool(learning), f"{plugin.name}: apply leaves nothing that could learn")
    if cut:
        below = [model.trunk.get_submodule("embeddings"), *model.layers[:cut]]
        learns = any(one.requires_grad for module in below for one in module.parameters())
        ensure(not learns, f"{plugin.name}: cut says {cut} layers are frozen, but apply lets them learn")
    task.loss(ready(**asked), batch, schema, plan, None).backward()
    with torch.no_grad():
        for one in learning:
            one -= 0.01 * one.grad if one.grad is not None else 0.0
        before = ready.eval()(**asked)["logits"]
        merged = plugin.merge(ready).eval()
        after = merged(**asked)["logits"]
    odd = sorted(set(merged.state_dict()) ^ names)
    ensure(not odd, f"{plugin.name}: merge must leave the weights that the model had; {odd[:3]} differ")
    ensure(bool(torch.allclose(before, after, atol=1e-4)), f"{plugin.name}: merge changes the answers")
