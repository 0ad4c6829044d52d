"""Output of the frozen lower layers, computed once on the disk and used by every epoch, fold and trial.

A cache is a folder ``features-{key}``: ``values.npy`` [positions, width], ``starts.npy`` [items + 1] and ``manifest.json``. The key is
made of base weights, cut, whether int8 was asked for (else it is float32, whatever ``train.precision`` says), kind of device, threads and
token ids, so a cache never answers for other data. It has seen no label, so folds may share it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core.errors import Damaged
from luthier.core.hooks import pooled_at
from luthier.core.ports import Task
from luthier.core.types import Item
from luthier.stages.inference import HIDDEN, lengths_of, tensors
from luthier.stages.train.batches import sorted_batches
from luthier.store import files

BATCH_TOKENS = 4096
HALF_FROM_BYTES = 1 << 30
"""A cache that would be larger is kept as float16."""
NOT_QUANTIZED = (RuntimeError, NotImplementedError, AttributeError)
"""What an int8 copy raises that cannot run; ``AttributeError``: adapters look into the weights of their linear layers."""
SAMPLED_TOKENS = 512
LEAST_COSINE = 0.98
"""Between the int8 and the float32 vector of every sampled item; below, int8 is not used."""


@dataclass(frozen=True)
class FeatureCache:
    """``values`` [positions, width] (memory-mapped), ``starts`` [items + 1] int64, ``pooled``: one position an item; ``int8``: how it was
    computed."""

    values: Any
    starts: Any
    pooled: bool
    int8: bool
    built: bool

    @classmethod
    def build(
        cls,
        task: Task,
        model: Any,
        items: Sequence[Item],
        cut: int,
        folder: Path,
        *,
        base_sha256: str = "",
        int8: bool = False,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> FeatureCache:
        """Opens the cache of exactly these items below ``folder``, or computes it. ``int8`` asks for int8 where it holds (pooled vectors
        only)."""
        pooled = pooled_at(task, cut, model.depth)
        wants_int8 = int8 and pooled
        place = folder / f"features-{_key(model, items, cut, base_sha256, wants_int8)}"
        if not _whole(place):
            _remove_torn(place)
            try:
                _compute(task, model, items, cut, place, wants_int8, progress)
            except OSError:
                if not _whole(place):  # else another run, which had the same to compute, was first
                    raise
            return cls._open(place, built=True)
        progress(len(items), len(items))
        return cls._open(place, built=False)

    @classmethod
    def _open(cls, place: Path, *, built: bool) -> FeatureCache:
        about = files.read_json(place / "manifest.json")
        values = np.load(place / "values.npy", mmap_mode=None if about["pooled"] else "r")
        return cls(values, np.load(place / "starts.npy"), about["pooled"], about["int8"], built)

    def attach(self, items: Sequence[Item]) -> list[Item]:
        """The same items, in the order of ``build``, each with its part under ``hidden`` ([tokens, width], or [width] when pooled)."""
        if self.pooled:
            return [{**item, HIDDEN: self.values[number]} for number, item in enumerate(items)]
        return [{**item, HIDDEN: self.values[self.starts[n] : self.starts[n + 1]]} for n, item in enumerate(items)]


def content_key(model: Any, items: Sequence[Item]) -> str:
    """Equal for the same weights and items on the same kind of device, with as many threads."""
    return _key(model, items, 0, "", False)


def _key(model: Any, items: Sequence[Item], cut: int, base_sha256: str, int8: bool) -> str:
    import torch

    digest = hashlib.blake2b(digest_size=8)
    about = [base_sha256 or _weights_hash(model), cut, int8, _device(model).split(":")[0], torch.get_num_threads(), BATCH_TOKENS]
    digest.update(" ".join(map(str, about)).encode())
    for item in items:
        for name in sorted(item):
            if name not in ("labels", HIDDEN):
                digest.update(np.ascontiguousarray(item[name]).tobytes())
                digest.update(b"|")
    return digest.hexdigest()


def _weights_hash(model: Any) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, parameter in model.trunk.named_parameters():
        digest.update(name.encode())
        digest.update(parameter.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def _device(model: Any) -> str:
    return str(next(model.parameters()).device)


def _whole(place: Path) -> bool:
    try:
        return not files.check_manifest(place, files.read_json(place / "manifest.json")["files"])
    except (Damaged, KeyError, TypeError, AttributeError):
        return False


def _remove_torn(place: Path) -> None:
    """Asked once more whether it is whole: another run may have finished it since."""
    import shutil

    if place.exists() and not _whole(place):
        shutil.rmtree(place, ignore_errors=True)


def _compute(
    task: Task, model: Any, items: Sequence[Item], cut: int, place: Path, wants_int8: bool, progress: Callable[[int, int], None]
) -> None:
    import torch

    pooled = pooled_at(task, cut, model.depth)
    lengths = lengths_of(task, items)
    starts = np.concatenate([[0], np.cumsum(np.ones_like(lengths) if pooled else lengths)])
    width = int(model.config.hidden_size)
    kind = np.float32 if starts[-1] * width * 4 <= HALF_FROM_BYTES else np.float16
    was_training = model.training
    model.eval()
    net, int8 = int8_where_it_holds(task, model, items, cut) if wants_int8 else (model, False)
    done = 0
    try:
        with files.folder_aside(place) as aside, torch.inference_mode():
            values = np.lib.format.open_memmap(aside / "values.npy", mode="w+", dtype=kind, shape=(int(starts[-1]), width))
            for numbers in sorted_batches(lengths, BATCH_TOKENS):
                _fill(values, starts, lengths, numbers, _lower(task, net, [items[n] for n in numbers], cut), pooled)
                done += len(numbers)
                progress(done, len(items))
            values.flush()
            del values
            np.save(aside / "starts.npy", starts)
            files.write_json(aside / "manifest.json", {"files": files.manifest(aside), "pooled": pooled, "int8": int8})
    finally:
        model.train(was_training)


def _lower(task: Task, model: Any, items: Sequence[Item], cut: int) -> Any:
    """numpy [B,S,H], or [B,H] when pooled."""
    batch = tensors(task, items, device=_device(model))
    batch.pop("labels", None)
    mask = batch.pop("attention_mask", None)
    return model.lower(*batch.values(), mask, cut).float().cpu().numpy()


def _fill(values: Any, starts: Any, lengths: Any, numbers: Any, hidden: Any, pooled: bool) -> None:
    if pooled:
        values[numbers] = hidden
        return
    for row, number in enumerate(numbers):
        values[starts[number] : starts[number + 1]] = hidden[row, : lengths[number]]


def int8_where_it_holds(task: Task, model: Any, items: Sequence[Item], cut: int) -> tuple[Any, bool]:
    """The int8 trunk if its vectors point where the float32 ones do on a sample of 64 items, else the model as it is.

    The sample is answered in batches of like lengths, as the whole will be: activations are scaled over a batch.
    """
    import torch

    sample = [items[n] for n in np.linspace(0, len(items) - 1, min(64, len(items))).astype(int)]
    batches = [[sample[n] for n in numbers] for numbers in sorted_batches(lengths_of(task, sample), SAMPLED_TOKENS)]
    try:
        fast = int8_copy(model)
        with torch.inference_mode():
            exact, rough = (np.concatenate([_lower(task, net, batch, cut) for batch in batches]) for net in (model, fast))
    except NOT_QUANTIZED:
        return model, False
    cosine = (exact * rough).sum(1) / (np.linalg.norm(exact, axis=1) * np.linalg.norm(rough, axis=1) + 1e-12)
    return (fast, True) if float(cosine.min()) >= LEAST_COSINE else (model, False)


def int8_copy(model: Any) -> Any:
    """A copy whose linear layers multiply in int8 (weights per channel, activations as they come; oneDNN)."""
    import copy
    import warnings

    import torch

    torch.backends.quantized.engine = "onednn"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fast = copy.deepcopy(model).eval()
        fast.encoder = torch.ao.quantization.quantize_dynamic(
            fast.trunk, {torch.nn.Linear: torch.ao.quantization.per_channel_dynamic_qconfig}, dtype=torch.qint8
        )
    return fast
