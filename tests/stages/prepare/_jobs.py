"""Makes prepare jobs for the tests."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from luthier.core.events import Event
from luthier.core.job import Job
from luthier.core.plan import DataPlan, Plan, PreparePlan
from luthier.stages import prepare

WORDS = [
    "where",
    "is",
    "my",
    "order",
    "card",
    "refund",
    "account",
    "password",
    "delivery",
    "late",
    "broken",
    "cancel",
    "invoice",
    "change",
    "address",
    "money",
    "transfer",
    "blocked",
    "phone",
    "please",
    "help",
    "today",
    "again",
    "never",
    "arrived",
    "charged",
    "twice",
    "wrong",
    "colour",
    "size",
    "shop",
    "store",
    "receipt",
    "bank",
    "fee",
    "limit",
    "travel",
    "currency",
]


def texts(count: int, seed: int = 0) -> list[str]:
    """Different made sentences; no two are near-duplicates."""
    import random

    chance = random.Random(seed)
    return [
        " ".join(chance.choices(WORDS, k=12)) + f" {word}"
        for word in (f"{chance.getrandbits(40):x}".translate(str.maketrans("0123456789", "ghijklmnop")) for _ in range(count))
    ]


def write(path: Path, rows: Sequence[Sequence[str]], header: Sequence[str] = ("text", "label")) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def job(work: Path, data: dict[str, Any], **settings: Any) -> Job:
    plan = Plan(name="t", task="text-classification", model="none", data=DataPlan(**data), prepare=PreparePlan(**settings))
    return Job(id="j", run="r", stage="prepare", plan=plan, work=str(work))


def run(work: Path, data: dict[str, Any], **settings: Any) -> tuple[dict[str, Any], list[Event]]:
    events: list[Event] = []
    return prepare.run(job(work, data, **settings), events.append), events
