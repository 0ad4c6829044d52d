"""Embeddings: texts to vectors, by any encoder of the catalog or by a tuned model."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from luthier.api.access import Caller, MayInfer
from luthier.api.chat import wire
from luthier.api.chat.bodies import Known, Name, Word
from luthier.api.chat.objects import Vectors
from luthier.api.opening import Opened, opened
from luthier.api.routes import OPENAI
from luthier.core.errors import SpecError
from luthier.core.types import Example
from luthier.stages.serve import encoder
from luthier.stages.serve.engine import Answered

PREFIXES = OPENAI
routes = APIRouter(tags=["inference"])

MOST = 2048
"""Inputs in one call (OpenAI's limit)."""

AT_ONCE = 256
"""Inputs that are queued together, so that one large call leaves room for others."""

Ids = Annotated[list[Annotated[int, Field(ge=0, le=2**31 - 1)]], Field(min_length=1, max_length=100_000)]


class EmbeddingRequest(Known):
    """The body of an embeddings call."""

    model: Name
    input: (
        str | Annotated[list[str], Field(min_length=1, max_length=MOST)] | Ids | Annotated[list[Ids], Field(min_length=1, max_length=MOST)]
    )
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    user: Word | None = None


class DeployedEmbeddingRequest(EmbeddingRequest):
    """The same where the address names the deployment: ``model`` is not read. Azure's documents know ``input_type`` too."""

    model: Word | None = None  # type: ignore[assignment]
    input_type: Word | None = None


@routes.post("/embeddings", responses={200: {"model": Vectors}})
async def embeddings(body: EmbeddingRequest, caller: MayInfer) -> Response:
    """Vectors of length 1, in the order of the inputs. What is longer than the model reads is cut."""
    return await reply(caller, body.model, body)


async def reply(caller: Caller, name: str, body: EmbeddingRequest) -> Response:
    """The vectors by the model with this name."""
    examples = _examples(body.input)
    model = await opened(caller, name, body.user, for_embeddings=True)
    answers = [one for start in range(0, len(examples), AT_ONCE) for one in await model.embed(examples[start : start + AT_ONCE])]
    vectors = _cut(np.stack([one.prediction.output for one in answers]), body.dimensions)
    written = [base64.b64encode(row.tobytes()).decode() if body.encoding_format == "base64" else row.tolist() for row in vectors]
    return wire.as_json(_listed(written, name, model, answers))


def _listed(vectors: list[Any], name: str, model: Opened, answers: list[Answered]) -> dict[str, Any]:
    tokens = sum(one.tokens for one in answers)
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    counts = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": name, "usage": counts, "luthier": {"model": model.hosted.info.model_id}}


def _examples(given: Any) -> list[Example]:
    if isinstance(given, str):
        return [encoder.text_example(given)]
    if isinstance(given[0], int):
        return [encoder.token_example(given)]
    return [encoder.text_example(one) if isinstance(one, str) else encoder.token_example(one) for one in given]


def _cut(vectors: Any, dimensions: int | None) -> Any:
    """The first ``dimensions`` numbers of each vector, with length 1 again; [rows, dimensions] little-endian float32."""
    if dimensions is not None and dimensions > vectors.shape[1]:
        raise SpecError("dimensions", f"is {dimensions}; this model's vectors have {vectors.shape[1]}", "ask for fewer, or leave it out")
    if dimensions is not None:
        vectors = encoder.normalised(vectors[:, :dimensions])
    return vectors.astype("<f4")
