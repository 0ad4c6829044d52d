"""Azure's addresses of the same calls, with the deployment in the path: what ``AzureOpenAI`` makes of ``model``.

Clients write a "/" in a name as it is (1.x, 2.x) or as ``%2F`` (3.x): both are taken. The ``model`` of the body is not read.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from luthier.api.access import MayInfer
from luthier.api.chat.bodies import DeployedChatRequest, DeployedCompletionRequest
from luthier.api.chat.objects import ChatCompletion, TextCompletion, Vectors, answered
from luthier.api.routes import chat, completions, embeddings

PREFIXES = ("/openai",)
routes = APIRouter(prefix="/deployments/{deployment:path}", tags=["inference"])

Deployment = Annotated[str, Path(max_length=300)]


@routes.post("/chat/completions", responses=answered(ChatCompletion))
async def deployed_chat(deployment: Deployment, body: DeployedChatRequest, caller: MayInfer) -> Response:
    """Answers a chat."""
    return await chat.reply(caller, deployment, body)


@routes.post("/completions", responses=answered(TextCompletion))
async def deployed_completions(deployment: Deployment, body: DeployedCompletionRequest, caller: MayInfer) -> Response:
    """Answers a prompt, or each of several."""
    return await completions.reply(caller, deployment, body)


@routes.post("/embeddings", responses={200: {"model": Vectors}})
async def deployed_embeddings(deployment: Deployment, body: embeddings.DeployedEmbeddingRequest, caller: MayInfer) -> Response:
    """Vectors of length 1."""
    return await embeddings.reply(caller, deployment, body)
