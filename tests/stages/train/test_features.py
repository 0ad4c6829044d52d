from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from luthier.stages.inference import HIDDEN, predict, tensors
from luthier.stages.train import features
from luthier.stages.train.features import FeatureCache


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_cached_and_direct_answers_agree(small: Any, tmp_path: Path, cut: int) -> None:
    model = small.task.load(small.base, small.schema)
    cache = FeatureCache.build(small.task, model, small.validation, cut, tmp_path)
    direct = predict(small.task, model, small.validation)
    cached = predict(small.task, model, cache.attach(small.validation), cut=cut)
    assert np.allclose(direct["logits"], cached["logits"], atol=1e-5)
    assert cache.built
    assert not FeatureCache.build(small.task, model, small.validation, cut, tmp_path).built


def test_a_torn_cache_is_made_again_and_other_items_get_their_own(small: Any, tmp_path: Path) -> None:
    model = small.task.load(small.base, small.schema)
    first = FeatureCache.build(small.task, model, small.validation, 3, tmp_path)
    (place,) = tmp_path.glob("features-*")
    (place / "values.npy").write_bytes((place / "values.npy").read_bytes()[:-8])
    again = FeatureCache.build(small.task, model, small.validation, 3, tmp_path)
    assert again.built
    assert np.array_equal(first.values, again.values)
    assert FeatureCache.build(small.task, model, small.validation[1:], 3, tmp_path).built


def test_another_run_that_was_first_is_no_error(small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs that share the cache folder compute the same at the same time; the second cannot rename onto the first's folder."""
    model, compute = small.task.load(small.base, small.schema), features._compute

    def after_another(*about: Any) -> None:
        compute(*about)
        compute(*about)

    monkeypatch.setattr(features, "_compute", after_another)
    cache = FeatureCache.build(small.task, model, small.validation, 3, tmp_path)
    assert len(cache.starts) == len(small.validation) + 1
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert model.training

    def fails(*about: Any) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(features, "_compute", fails)
    assert not FeatureCache.build(small.task, model, small.validation, 3, tmp_path).built
    with pytest.raises(OSError, match="the disk is gone"):
        FeatureCache.build(small.task, model, small.train, 3, tmp_path)


def test_a_manifest_without_files_is_a_torn_cache(small: Any, tmp_path: Path) -> None:
    model = small.task.load(small.base, small.schema)
    FeatureCache.build(small.task, model, small.validation, 3, tmp_path)
    (place,) = tmp_path.glob("features-*")
    (place / "manifest.json").write_text("{}")
    assert FeatureCache.build(small.task, model, small.validation, 3, tmp_path).built


def test_each_kind_of_device_has_its_own_cache() -> None:
    import torch

    here, there = (features._key(torch.nn.Linear(1, 1, device=device), [], 3, "weights", False) for device in ("cpu", "meta"))
    assert here != there


def test_half_precision_vectors_are_computed_with_in_full(small: Any) -> None:
    item = {HIDDEN: np.ones(16, dtype=np.float16), "labels": np.array(1)}
    assert tensors(small.task, [item, item], cut=3, pooled=True)[HIDDEN].dtype.is_floating_point
    assert tensors(small.task, [item, item], cut=3, pooled=True)[HIDDEN].element_size() == 4


def test_int8_is_used_only_where_it_holds(small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small.task.load(small.base, small.schema)
    exact = FeatureCache.build(small.task, model, small.validation, 3, tmp_path)
    rough = FeatureCache.build(small.task, model, small.validation, 3, tmp_path, int8=True)
    if rough.int8:
        cosine = (exact.values * rough.values).sum(1) / np.linalg.norm(exact.values, axis=1) / np.linalg.norm(rough.values, axis=1)
        assert cosine.min() > 0.97
    monkeypatch.setattr(features, "LEAST_COSINE", 1.1)
    refused = FeatureCache.build(small.task, model, small.train, 3, tmp_path, int8=True)
    assert not refused.int8
