"""Azure's resource manager: deployments as its documents' ``curl`` and its libraries ask for them.

Subscription, resource group and account may be any words: the key decides the workspace.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from luthier.api.access import MayDeploy, MayRead
from luthier.api.pages import Named
from luthier.api.requests import Body
from luthier.core.errors import SpecError

PREFIXES = ("",)
ACCOUNT = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.CognitiveServices/accounts/{account}"
routes = APIRouter(prefix=ACCOUNT + "/deployments", tags=["resource-manager"])

TYPE = "Microsoft.CognitiveServices/accounts/deployments"
STATES = {"accepted": "Accepted", "creating": "Creating", "succeeded": "Succeeded", "failed": "Failed"}

Version = Annotated[str, Query(alias="api-version", pattern=r"^\d{4}-\d{2}-\d{2}(-preview)?$", description="2024-10-01, 2024-10-21 ...")]
Word = Annotated[str, StringConstraints(max_length=300)]


class Sku(Body):
    """Azure's tier; kept and told, without effect here."""

    name: Word = "standard"
    capacity: int | None = Field(default=None, ge=0, le=10**9)
    family: Word | None = None
    size: Word | None = None
    tier: Word | None = None


class ModelSaid(Body):
    """Which model is to answer: ``name``. The other fields are kept and told."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=300)]
    format: Word = "OpenAI"
    version: Word = "1"
    publisher: Word | None = None
    source: Word | None = None
    sourceAccount: Word | None = None  # noqa: N815 - Azure's name


class Properties(Body):
    """What is deployed. Beside ``model`` everything is kept, without effect here."""

    model: ModelSaid
    raiPolicyName: Word | None = None  # noqa: N815
    versionUpgradeOption: Word | None = None  # noqa: N815
    parentDeploymentName: Word | None = None  # noqa: N815
    deploymentState: Word | None = None  # noqa: N815
    currentCapacity: int | None = Field(default=None, ge=0, le=10**9)  # noqa: N815
    dynamicThrottlingEnabled: bool | None = None  # noqa: N815
    scaleSettings: dict[Word, Word | int | None] | None = None  # noqa: N815
    capacitySettings: dict[Word, Word | int | None] | None = None  # noqa: N815


class Wanted(Body):
    """The body of a deployment's PUT."""

    properties: Properties
    sku: Sku = Sku()
    tags: dict[Word, Word] | None = None


class Deployed(BaseModel):
    """A deployment in Azure's words; ``properties.provisioningState`` says how far it is."""

    model_config = ConfigDict(extra="allow")

    id: str
    name: str
    type: Literal["Microsoft.CognitiveServices/accounts/deployments"]
    sku: dict[str, Any]
    properties: dict[str, Any]


class DeployedList(BaseModel):
    """Every deployment."""

    value: list[Deployed]


@routes.get("", response_model=DeployedList)
def account_deployments(subscription: Named, group: Named, account: Named, version: Version, caller: MayRead) -> dict[str, Any]:
    """Every deployment."""
    return {"value": [_shown(subscription, group, account, one) for one in caller.service.deployments.list()]}


@routes.put("/{deployment}", response_model=Deployed, responses={201: {"model": Deployed}})
@routes.post("/{deployment}", response_model=Deployed, responses={201: {"model": Deployed}})
def put_deployment(
    subscription: Named,
    group: Named,
    account: Named,
    deployment: Named,
    version: Version,
    body: Wanted,
    caller: MayDeploy,
    response: Response,
) -> dict[str, Any]:
    """Deploys a model: 200 when it answers already, 201 while that is being made. Azure's documents show POST too."""
    if body.properties.model.format != "OpenAI":
        raise SpecError("properties.model.format", f"is {body.properties.model.format!r}", 'send "OpenAI"')
    kept = body.properties.model_dump(exclude_none=True)
    made = caller.service.deployments.put(deployment, body.properties.model.name, body.sku.model_dump(exclude_none=True), kept)
    response.status_code = 201 if made["state"] in ("accepted", "creating") else 200
    return _shown(subscription, group, account, made)


@routes.get("/{deployment}", response_model=Deployed)
def account_deployment(
    subscription: Named, group: Named, account: Named, deployment: Named, version: Version, caller: MayRead
) -> dict[str, Any]:
    """One deployment."""
    return _shown(subscription, group, account, caller.service.deployments.get(deployment))


@routes.delete("/{deployment}", status_code=200, response_class=Response)
def delete_deployment(
    subscription: Named, group: Named, account: Named, deployment: Named, version: Version, caller: MayDeploy
) -> Response:
    """Takes a deployment away."""
    caller.service.deployments.delete(deployment)
    return Response(status_code=200)


def _shown(subscription: str, group: str, account: str, made: dict[str, Any]) -> dict[str, Any]:
    said = {"model": {"format": "OpenAI", "name": made["model"], "version": "1"}} | made["properties"]
    said.pop("force", None)
    said["provisioningState"] = STATES[made["state"]]
    said["capabilities"] = {"chatCompletion": "true", "completion": "true", "embeddings": "true"}
    if made["error"]:
        said["error"] = {name: str(made["error"].get(name, "")) for name in ("code", "message", "hint")}
    where = ACCOUNT.format(subscription=subscription, group=group, account=account)
    sku = made["sku"] or {"name": "standard"}
    return {"id": f"{where}/deployments/{made['name']}", "name": made["name"], "type": TYPE, "sku": sku, "properties": said}
