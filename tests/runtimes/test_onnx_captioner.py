"""How the next token of a caption is drawn, and what a captioner refuses; that it writes as torch does, the plugin checks show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from luthier.core import registry
from luthier.core.errors import InputError
from luthier.core.writing import Sampling
from luthier.runtimes.onnx_captioner import choose
from luthier.stages.export.writing import write_all
from luthier.testing import made

RUNTIME = registry.get("runtimes", "onnx-captioner")
LOGITS = np.log(np.array([0.1, 0.2, 0.4, 0.3], dtype=np.float32))


def test_the_likeliest_or_a_draw_from_what_is_allowed() -> None:
    chance = np.random.default_rng(0)
    token, likely = choose(LOGITS, Sampling(), chance)
    assert (token, likely) == (2, pytest.approx(np.log(0.4)))
    assert {choose(LOGITS, Sampling(temperature=1.0, top_k=2), chance)[0] for _ in range(60)} == {2, 3}
    assert {choose(LOGITS, Sampling(temperature=1.0, top_p=0.65), chance)[0] for _ in range(60)} == {2, 3}
    assert {choose(LOGITS, Sampling(temperature=1.0, top_p=0.1), chance)[0] for _ in range(20)} == {2}
    drawn = [choose(LOGITS, Sampling(temperature=1.0), chance)[0] for _ in range(4000)]
    assert np.bincount(drawn) / 4000 == pytest.approx([0.1, 0.2, 0.4, 0.3], abs=0.03)


@pytest.fixture(scope="module")
def folder() -> Path:
    place = made.folder() / "exported"
    place.mkdir()
    RUNTIME.convert_model(made.base(architecture="vision"), place, 8)
    return place


def test_texts_of_different_lengths_and_seeds_go_their_own_ways(folder: Path) -> None:
    writer = RUNTIME.open_writer(folder)
    pixels = np.random.default_rng(1).integers(0, 256, (3, 32, 32), dtype=np.uint8)
    prompt, drawn = [0] * 4, Sampling(max_tokens=9, temperature=1.5, seed=1)
    try:
        one, other = (write_all(writer, [prompt], replace(drawn, seed=seed), [{"pixels": pixels}])[0][0] for seed in (1, 2))
        assert one != other
        assert write_all(writer, [prompt] * 3, drawn, [{"pixels": pixels}] * 3)[0] == [one] * 3
        cut, _ = write_all(writer, [prompt], replace(drawn, stop_ids=(one[4],)), [{"pixels": pixels}])
        assert cut[0] == one[: one.index(one[4])]
        for asked, beside in ((Sampling(), None), (Sampling(frequency_penalty=1.0), pixels), (Sampling(json_schema="{}"), pixels)):
            with pytest.raises(InputError):
                writer.write(prompt, asked, lambda said: True, None if beside is None else {"pixels": beside})
    finally:
        writer.close()
