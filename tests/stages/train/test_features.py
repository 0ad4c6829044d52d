from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from luthier.stages.inference import predict
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


def test_int8_is_used_only_where_it_holds(small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from luthier.stages.train import features

    model = small.task.load(small.base, small.schema)
    exact = FeatureCache.build(small.task, model, small.validation, 3, tmp_path)
    rough = FeatureCache.build(small.task, model, small.validation, 3, tmp_path, int8=True)
    if rough.int8:
        cosine = (exact.values * rough.values).sum(1) / np.linalg.norm(exact.values, axis=1) / np.linalg.norm(rough.values, axis=1)
        assert cosine.min() > 0.97
    monkeypatch.setattr(features, "LEAST_COSINE", 1.1)
    refused = FeatureCache.build(small.task, model, small.train, 3, tmp_path, int8=True)
    assert not refused.int8
