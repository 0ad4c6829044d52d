"""Webhooks, as OpenAI's client asks for them (``client.webhooks``), and as Azure's does (below ``/openai/v1/dashboard``)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, StrictBool
from sqlalchemy import Row

from luthier.api.access import MayAdmin
from luthier.api.requests import Body
from luthier.api.routes import OPENAI
from luthier.app.webhooks import KNOWN, SENT

PREFIXES = (*OPENAI, "/openai/v1/dashboard")
routes = APIRouter(tags=["webhooks"])

EventType = Annotated[str, Field(json_schema_extra={"enum": list(KNOWN)})]
EventTypes = Annotated[list[EventType], Field(min_length=1, max_length=2 * len(KNOWN), description="what the webhook is told")]
Name = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00]*$")]
Url = Annotated[
    str, Field(min_length=1, max_length=2048, pattern="^https?://", description="reached from the internet, see docs/webhooks.md")
]
Limit = Annotated[int, Query(ge=1, le=100)]
After = Annotated[str, Query(max_length=100, description="the last id of the page before")]


class NewWebhook(Body):
    """Who is to be told, and of what."""

    name: Name
    url: Url
    event_types: EventTypes


class Change(Body):
    """What is to be another; what is left out stays. A new ``url`` enables a disabled webhook again."""

    name: Name | None = None
    url: Url | None = None
    event_types: EventTypes | None = None


class Rotation(Body):
    """How the secret is changed."""

    keep_old_secret_active_for_24_hours: StrictBool | None = None


class Trial(Body):
    """What a trial sends."""

    event_type: EventType


class WebhookEndpoint(BaseModel):
    """A webhook. ``status`` is ours: a receiver that answers 410 is told no more."""

    id: str
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    created_at: int
    updated_at: int
    name: str
    url: str
    event_types: list[str]
    signing_secret_hint: str
    status: Literal["enabled", "disabled"]

    @classmethod
    def of(cls, row: Row[Any], **more: Any) -> Self:
        """The object of a row."""
        return cls(
            id=row.id,
            created_at=int(row.created_at),
            updated_at=int(row.updated_at),
            name=row.name,
            url=row.url,
            event_types=row.events,
            signing_secret_hint=f"whsec_...{row.secret[-5:]}",
            status=row.state,
            **more,
        )


class WebhookEndpointWithSecret(WebhookEndpoint):
    """A webhook with its secret, which is shown when it is made and never again."""

    signing_secret: str


class WebhookEndpointList(BaseModel):
    """Webhooks, newest first."""

    object: Literal["list"] = "list"
    data: list[WebhookEndpoint]
    has_more: bool
    first_id: str | None
    last_id: str | None


class WebhookEventTypeList(BaseModel):
    """The types of events that this server sends."""

    object: Literal["list"] = "list"
    data: list[str]


class DeletedWebhookEndpoint(BaseModel):
    """It is gone."""

    id: str
    object: Literal["webhook_endpoint.deleted"] = "webhook_endpoint.deleted"
    deleted: Literal[True] = True


class WebhookEndpointTestResult(BaseModel):
    """What the receiver answered."""

    object: Literal["webhook_endpoint.test"] = "webhook_endpoint.test"
    webhook_endpoint_id: str
    event_type: str
    status_code: int
    success: Literal[True] = True


@routes.get("/webhook_event_types")
def event_types(caller: MayAdmin) -> WebhookEventTypeList:
    """What can be told."""
    return WebhookEventTypeList(data=list(SENT))


@routes.get("/webhook_endpoints")
def webhooks(caller: MayAdmin, limit: Limit = 20, after: After = "") -> WebhookEndpointList:
    """The webhooks of the workspace, newest first."""
    rows, more = caller.service.webhooks.list(limit=limit, after=after)
    ids = [row.id for row in rows]
    data = [WebhookEndpoint.of(row) for row in rows]
    return WebhookEndpointList(data=data, has_more=more, first_id=ids[0] if ids else None, last_id=ids[-1] if ids else None)


@routes.post("/webhook_endpoints")
def create(body: NewWebhook, caller: MayAdmin) -> WebhookEndpointWithSecret:
    """A new webhook, with the secret that its deliveries are signed with."""
    return _with_secret(caller.service.webhooks.create(body.name, body.url, body.event_types))


@routes.get("/webhook_endpoints/{webhook}")
def webhook(webhook: str, caller: MayAdmin) -> WebhookEndpoint:
    """One webhook."""
    return WebhookEndpoint.of(caller.service.webhooks.get(webhook))


@routes.post("/webhook_endpoints/{webhook}")
def update(webhook: str, body: Change, caller: MayAdmin) -> WebhookEndpoint:
    """Changes a webhook."""
    types = body.event_types or ()
    return WebhookEndpoint.of(caller.service.webhooks.update(webhook, name=body.name or "", url=body.url or "", event_types=types))


@routes.delete("/webhook_endpoints/{webhook}")
def delete(webhook: str, caller: MayAdmin) -> DeletedWebhookEndpoint:
    """Removes a webhook and what was still to be delivered to it."""
    caller.service.webhooks.delete(webhook)
    return DeletedWebhookEndpoint(id=webhook)


@routes.post("/webhook_endpoints/{webhook}/rotate_secret")
def rotate_secret(webhook: str, caller: MayAdmin, body: Rotation | None = None) -> WebhookEndpointWithSecret:
    """A new secret. The one before it ends now, or in 24 hours."""
    keep = bool(body and body.keep_old_secret_active_for_24_hours)
    return _with_secret(caller.service.webhooks.rotate_secret(webhook, keep_old=keep))


@routes.post("/webhook_endpoints/{webhook}/test")
def test(webhook: str, body: Trial, caller: MayAdmin) -> WebhookEndpointTestResult:
    """Sends an invented event now, once, and says what the receiver answered."""
    status = caller.service.webhooks.test(webhook, body.event_type)
    return WebhookEndpointTestResult(webhook_endpoint_id=webhook, event_type=body.event_type, status_code=status)


def _with_secret(row: Row[Any]) -> WebhookEndpointWithSecret:
    return WebhookEndpointWithSecret.of(row, signing_secret=row.secret)
