"""What runs on this machine now, whichever of its workers holds it: jobs, and models that are exported for a deployment."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, and_, select

from luthier.app.leases import gone, host_of, owner
from luthier.store.database import alone
from luthier.store.tables import DEPLOYMENTS, TUNINGS


def lock(connection: Connection) -> None:
    """Nobody else of this machine takes anything until the transaction ends: what was free in it is still free when it is taken."""
    alone(connection, f"seats of {host_of(owner())}")


def taken(connection: Connection) -> list[dict[str, Any]]:
    """What living processes of this machine hold: its needs, ``card``, ``id``, and whether it is a ``job``."""
    found = []
    for table, state, name in ((TUNINGS, "running", TUNINGS.c.id), (DEPLOYMENTS, "creating", DEPLOYMENTS.c.name)):
        here = and_(table.c.state == state, table.c.lease_owner.startswith(f"{host_of(owner())}:", autoescape=True))
        query = select(name.label("id"), table.c.needs, table.c.card, table.c.lease_owner).where(here, table.c.lease_token != "")
        for row in connection.execute(query):
            if not gone(row.lease_owner) and (row.needs or table is TUNINGS):
                found.append(entry(row.id, row.needs, row.card, job=table is TUNINGS))
    return found


def entry(identity: str, needs: dict[str, Any], card: str, *, job: bool) -> dict[str, Any]:
    """One of them."""
    return needs | {"id": identity, "card": card, "job": job}
