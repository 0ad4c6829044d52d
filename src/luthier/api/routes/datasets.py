"""The routes of datasets: what is in them, and which files they came from."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from luthier.api.access import MayRead
from luthier.api.pages import After, Artifact, Limit, Named, Page
from luthier.api.routes import OWN
from luthier.app.records import Records

PREFIXES = OWN
routes = APIRouter(prefix="/datasets", tags=["datasets"])


class Dataset(Artifact):
    """A dataset. ``report``: rows, refused rows, splits, labels, personal data that was masked, duplicates, leakage, findings."""

    report: dict[str, Any]


@routes.get("", response_model=Page[Artifact])
def datasets(caller: MayRead, limit: Limit = 20, after: After = "") -> dict[str, Any]:
    """A page of the datasets, newest first."""
    return Records(caller.service).artifacts("dataset", limit, after)


@routes.get("/{dataset}", response_model=Dataset)
def dataset(dataset: Named, caller: MayRead) -> dict[str, Any]:
    """A dataset by id or name, with the figures of its report."""
    return Records(caller.service).dataset(dataset)


@routes.get("/{dataset}/lineage", response_model=Page[Artifact])
def lineage(dataset: Named, caller: MayRead) -> dict[str, Any]:
    """The dataset and what it was made of."""
    return Records(caller.service).lineage(dataset, "dataset")
