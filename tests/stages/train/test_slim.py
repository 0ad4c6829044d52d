"""Of the word vectors only the touched rows are saved, and they find their place again, on whatever device it is."""

from __future__ import annotations

import torch

from luthier.stages.train.slim import lay, slim


def test_there_and_back() -> None:
    used = torch.tensor([False, True, False, True])
    full = {"rows": torch.arange(8.0).view(4, 2), "head": torch.ones(3)}
    saved = slim(full, used)
    assert saved["rows/used"].tolist() == [1, 3]
    assert saved["rows/values"].tolist() == [[2.0, 3.0], [6.0, 7.0]]
    target = {"rows": torch.zeros(4, 2), "head": torch.zeros(3)}
    lay(target, saved)
    assert target["rows"].tolist() == [[0.0, 0.0], [2.0, 3.0], [0.0, 0.0], [6.0, 7.0]]
    assert target["head"].tolist() == [1.0, 1.0, 1.0]
    assert slim({"head": full["head"]}, None).keys() == {"head"}


def test_saved_rows_are_moved_to_the_device_of_the_table() -> None:
    """A checkpoint is read onto the processor; the model may be on a GPU, for which another device stands here."""
    seen = []

    class Table(torch.Tensor):
        device = torch.device("meta")  # type: ignore[assignment]

        def index_copy_(self, dim: int, index: torch.Tensor, source: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            seen.extend([index.device.type, source.device.type])
            return self

    lay({"rows": torch.zeros(4, 2).as_subclass(Table)}, {"rows/used": torch.tensor([1]), "rows/values": torch.ones(1, 2)})
    assert seen == ["meta", "meta"]
