"""The tables of endpoints' versions and of rollouts."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, String, Table

from luthier.store.columns import METADATA, count, data, lease, moment, several, some_rows, words

VERSIONS = Table(
    "endpoint_versions",
    METADATA,
    Column("workspace", String, primary_key=True, default="default"),
    Column("endpoint", String, primary_key=True),
    Column("number", Integer, primary_key=True),
    *several("task", "export", "evaluation", "model", "state"),
    Column("traffic", Integer, nullable=False, default=0),
    Column("mirror", Integer, nullable=False, default=0),
    Column("replaces", Integer, nullable=False, default=0),
    moment("created_at"),
)
"""Every export that an endpoint answered with. ``state``: open or retired; ``traffic``, ``mirror``: percents; ``replaces``: the number of
the version that it took all traffic from (0: none)."""

ROLLOUTS = Table(
    "rollouts",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    words("id", None, unique=True),
    *several("workspace", "endpoint"),
    Column("candidate", Integer, nullable=False, default=0),
    Column("against", Integer, nullable=False, default=0),
    words("state", None),
    data("plan"),
    Column("step", Integer, nullable=False, default=0),
    moment("step_at"),
    Column("looks", Integer, nullable=False, default=0),
    count("next_look"),
    data("decision"),
    moment("created_at"),
    moment("finished_at"),
    *lease(),
    Index("rollouts_by_endpoint", "workspace", "endpoint", "seq"),
    Index("rollouts_running", "workspace", "endpoint", unique=True, **some_rows("state = 'running'")),
    sqlite_autoincrement=True,
)
"""Canaries: one running at most for an endpoint. ``step`` counts the shares of its plan from 0; ``decision`` is the last look's."""
