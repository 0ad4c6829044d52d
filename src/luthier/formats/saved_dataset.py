"""A folder that ``datasets.Dataset.save_to_disk`` wrote: Arrow files with a small JSON beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from luthier.core.errors import InputError
from luthier.core.ports import BadRow, Row
from luthier.formats.parquet import NOT_UTF8, values_of


def _json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}", "save the data set again with save_to_disk") from None
    return data if isinstance(data, dict) else {}


def _class_names(folder: Path) -> dict[str, list[str]]:
    """Columns whose numbers stand for names (``ClassLabel``)."""
    info = folder / "dataset_info.json"
    features = (_json(info).get("features") or {}) if info.exists() else {}
    return {
        column: list(feature["names"])
        for column, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
    }


class SavedDataset:
    """See the module. Read with Arrow alone, so that ``datasets`` need not be loaded."""

    name = "saved-dataset"
    summary = "a folder saved by datasets.save_to_disk"
    suffixes = ()

    def sniff(self, path: Path, head: bytes) -> float:
        """Sure when the folder holds ``state.json`` or ``dataset_dict.json``."""
        return 1.0 if path.is_dir() and ((path / "state.json").exists() or (path / "dataset_dict.json").exists()) else 0.0

    def rows(self, path: Path, *, encoding: str = "", delimiter: str = "") -> Iterator[Row | BadRow]:
        """Rows by column name, class numbers replaced by their names; ``line`` is the row's number from 1."""
        import pyarrow as pa

        if (path / "dataset_dict.json").exists():
            splits = _json(path / "dataset_dict.json").get("splits", [])
            raise InputError(
                f"{path}: holds the splits {', '.join(map(repr, splits))}",
                f"name one of them: {path / str(splits[0] if splits else 'train')}",
            )
        named = [str(entry["filename"]) for entry in _json(path / "state.json").get("_data_files", [])]
        arrows = [path / Path(name).name for name in named]
        total = sum(arrow.stat().st_size for arrow in arrows if arrow.exists())
        names = _class_names(path)
        number = done = 0
        for arrow in arrows:
            try:
                with pa.OSFile(str(arrow), "rb") as source, pa.ipc.open_stream(source) as reader:
                    for batch in reader:
                        for start in range(0, batch.num_rows, 1024):
                            for values in values_of(batch.slice(start, 1024)):
                                number += 1
                                if values is None:
                                    yield BadRow(number, "", *NOT_UTF8)
                                    continue
                                for column, known in names.items():
                                    if isinstance(values.get(column), int) and 0 <= values[column] < len(known):
                                        values[column] = known[values[column]]
                                yield Row(number, values, min(total, done + source.tell()))
            except (pa.ArrowException, OSError) as error:
                if isinstance(error, InputError):
                    raise
                raise InputError(
                    f"{arrow}: truncated, damaged or missing: {str(error)[:160]}", "save the data set again with save_to_disk"
                ) from None
            done += arrow.stat().st_size
        if not number:
            raise InputError(f"{path}: the data set has no row", "give at least two rows")


plugin = SavedDataset()
