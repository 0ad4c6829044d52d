"""What OpenAI's client has no word for: the deliveries of a webhook, to look at and to repeat."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel
from sqlalchemy import Row

from luthier.api.access import MayAdmin
from luthier.api.routes import OWN
from luthier.api.routes.webhook_endpoints import WebhookEndpoint

PREFIXES = OWN
routes = APIRouter(prefix="/webhooks", tags=["webhooks"])

Limit = Annotated[int, Query(ge=1, le=100)]
After = Annotated[str, Query(max_length=100, description="the last id of the page before")]


class Delivery(BaseModel):
    """One event on its way to one webhook: ``next_at`` is when it is tried next, ``finished_at`` when it was taken or given up."""

    id: str
    object: Literal["webhook.delivery"] = "webhook.delivery"
    webhook_endpoint_id: str
    event: dict[str, Any]
    state: Literal["pending", "delivered", "failed"]
    attempts: int
    last_error: str
    created_at: int
    next_at: int | None
    finished_at: int | None

    @classmethod
    def of(cls, row: Row[Any]) -> Delivery:
        """The object of a row."""
        at, waits = int(row.next_at), row.state == "pending"
        return cls(
            id=row.id,
            webhook_endpoint_id=row.webhook,
            event=row.event,
            state=row.state,
            attempts=row.attempts,
            last_error=row.last_error,
            created_at=int(row.created_at),
            next_at=at if waits else None,
            finished_at=None if waits else at,
        )


class Deliveries(BaseModel):
    """Deliveries, newest first."""

    object: Literal["list"] = "list"
    data: list[Delivery]
    has_more: bool
    first_id: str | None
    last_id: str | None


@routes.get("/{webhook}/deliveries")
def deliveries(webhook: str, caller: MayAdmin, limit: Limit = 20, after: After = "") -> Deliveries:
    """What was and is to be delivered to a webhook, newest first."""
    rows, more = caller.service.webhooks.deliveries(webhook, limit=limit, after=after)
    ids = [row.id for row in rows]
    data = [Delivery.of(row) for row in rows]
    return Deliveries(data=data, has_more=more, first_id=ids[0] if ids else None, last_id=ids[-1] if ids else None)


@routes.post("/{webhook}/deliveries/{delivery}/replay")
def replay(webhook: str, delivery: str, caller: MayAdmin) -> Delivery:
    """Delivers an ended one again, with the same event id."""
    return Delivery.of(caller.service.webhooks.replay(webhook, delivery))


@routes.post("/{webhook}/enable")
def enable(webhook: str, caller: MayAdmin) -> WebhookEndpoint:
    """Delivers again to a webhook that was disabled because its receiver had answered 410."""
    return WebhookEndpoint.of(caller.service.webhooks.enable(webhook))
