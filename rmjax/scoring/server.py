"""The web application: routes of all protocols, health, metrics and errors, documented by OpenAPI under ``/docs``."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Literal

from fastapi import APIRouter, FastAPI, Request, Response, Security
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel

from rmjax.scoring import serving_protocols as protocols
from rmjax.scoring import serving_rewards as own
from rmjax.scoring.queueing import StoppedError
from rmjax.scoring.scorer import RewardScorer
from rmjax.scoring.serving import ServerSettings, Serving
from rmjax.scoring.serving_body import JsonRoute
from rmjax.scoring.serving_errors import answer_errors, declared
from rmjax.scoring.serving_gate import Gate
from rmjax.scoring.serving_metrics import CONTENT_TYPE


class Health(BaseModel):
    """That the process answers."""

    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    """That requests are taken, and by which model."""

    status: Literal["ready"] = "ready"
    model: str


class ServedModel(BaseModel):
    """The model, its reward heads, and how many spreads of its ensemble's members each reward is less than their mean:
    0 where rewards are the mean, or there is no ensemble."""

    id: str
    object: Literal["model"] = "model"
    owned_by: Literal["rmjax"] = "rmjax"
    heads: tuple[str, ...]
    pessimism: float


class ServedModels(BaseModel):
    """All models there are: one."""

    object: Literal["list"] = "list"
    data: list[ServedModel]


_REFUSALS = declared(400, 401, 413, 415, 422, 429, 503)


def make_app(
    scorer: RewardScorer, settings: ServerSettings, normalization: Mapping[str, own.Normalization] | None = None
) -> FastAPI:
    """The application that serves a scorer; it warms up when it starts, and answers what it has taken when it stops.

    Args:
      scorer: the model.
      settings: how it is served.
      normalization: of the heads' rewards, by their names (``""`` for the head of a model with one that has none).

    Raises:
      ConfigError: for a head that the model hasn't.
    """
    serving = Serving(scorer, settings, normalization or {})

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(serving.start)
        yield
        await asyncio.to_thread(serving.batcher.stop, finish=False)

    app = FastAPI(
        title="rmjax", summary="Rewards of responses to prompts.", description=_DESCRIPTION, lifespan=lifespan,
        redirect_slashes=False,
    )  # fmt: skip
    app.state.serving = serving
    key = [] if settings.api_key is None else [Security(HTTPBearer(auto_error=False))]
    for router in (_reward_routes(serving), _query_routes(serving), _listed_routes(serving)):
        app.include_router(router, dependencies=key, responses=_REFUSALS)
    app.include_router(_state_routes(serving))
    app.include_router(_about_routes(serving), dependencies=key, responses=declared(401))
    app.add_middleware(Gate, metrics=serving.metrics, most_bytes=settings.max_request_bytes, api_key=settings.api_key)
    answer_errors(app)
    return app


_DESCRIPTION = (
    "A reward belongs to a prompt and a response alone, whatever it is computed beside. `/v1/rewards` is the protocol "
    "of rmjax; the others are those of OpenRLHF, align-anything, vLLM, SGLang (as verl uses them) and LLaMA-Factory."
)


def _reward_routes(serving: Serving) -> APIRouter:
    router, heads, model = APIRouter(tags=["rmjax"], route_class=JsonRoute), serving.heads, serving.settings.model

    @router.post("/v1/rewards")
    async def rewards(body: own.RewardsRequest, http: Request) -> own.RewardsAnswer:
        """The rewards of a prompt's responses, or of a conversation's last message."""
        head = heads.checked(body.head)
        groups = await serving.score(http, body.requests())
        (found,) = (heads.describe(group, head) for group in groups)
        return own.RewardsAnswer(model=model, rewards=found, usage=serving.usage(groups))

    @router.post("/v1/rewards/batch")
    async def batch(body: own.BatchRequest, http: Request) -> own.BatchAnswer:
        """The same for several rows."""
        head = heads.checked(body.head)
        groups = await serving.score(http, body.rows())
        found = [heads.describe(group, head) for group in groups]
        return own.BatchAnswer(model=model, results=found, usage=serving.usage(groups))

    return router


def _query_routes(serving: Serving) -> APIRouter:
    router = APIRouter(tags=["OpenRLHF, align-anything"], route_class=JsonRoute)

    @router.post("/")
    async def queries(body: protocols.QueryRequest, http: Request) -> protocols.QueryAnswer:
        """OpenRLHF's remote reward model."""
        return protocols.QueryAnswer.of(await serving.answer(http, body.asked()))

    @router.post("/get_reward")
    async def get_reward(
        body: protocols.QueryRequest | protocols.PairsRequest, http: Request
    ) -> protocols.QueryAnswer | protocols.PairsAnswer:
        """The same, and align-anything's of prompts and responses."""
        answered = await serving.answer(http, body.asked())
        if isinstance(body, protocols.PairsRequest):
            return protocols.PairsAnswer.of(answered)
        return protocols.QueryAnswer.of(answered)

    return router


def _listed_routes(serving: Serving) -> APIRouter:
    router = APIRouter(tags=["vLLM, SGLang, LLaMA-Factory"], route_class=JsonRoute)

    @router.post("/classify")
    async def classify(body: protocols.ClassifyRequest, http: Request) -> protocols.ClassifyAnswer:
        """vLLM's classification: the last of ``probs`` is the reward."""
        answered, label = await serving.answer(http, body.asked()), serving.settings.head or "reward"
        return protocols.ClassifyAnswer.of(answered, label=label, activated=body.activated)

    @router.post("/v1/embeddings")
    async def embeddings(body: protocols.InputRequest, http: Request) -> protocols.EmbeddingAnswer:
        """SGLang's embeddings: the last number of ``embedding`` is the reward."""
        return protocols.EmbeddingAnswer.of(await serving.answer(http, body.asked()))

    @router.post("/score")
    @router.post("/v1/score")
    async def score(body: protocols.ScoreRequest, http: Request) -> protocols.ScoreAnswer:
        """vLLM's scores of pairs of texts: here a prompt and a response."""
        return protocols.ScoreAnswer.of(await serving.answer(http, body.asked()))

    @router.post("/v1/score/evaluation")
    async def evaluation(body: protocols.EvaluationRequest, http: Request) -> protocols.EvaluationAnswer:
        """LLaMA-Factory's scores of conversations."""
        return protocols.EvaluationAnswer.of(await serving.answer(http, body.asked()))

    return router


def _state_routes(serving: Serving) -> APIRouter:
    router = APIRouter(tags=["state"])

    @router.get("/health")
    async def health() -> Health:
        """Answers as long as the process lives."""
        return Health()

    @router.get("/ready", responses=declared(503))
    async def ready() -> Ready:
        """Whether requests are taken: the model is loaded and compiled, and the server isn't stopping."""
        if not serving.batcher.taking:
            raise StoppedError
        return Ready(model=serving.settings.model)

    return router


def _about_routes(serving: Serving) -> APIRouter:
    router = APIRouter(tags=["state"])

    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """For Prometheus."""
        return Response(serving.metrics.text(), media_type=CONTENT_TYPE)

    @router.get("/v1/models")
    async def models() -> ServedModels:
        """The id of the model, its heads and how pessimistic its rewards are."""
        served = ServedModel(id=serving.settings.model, heads=serving.heads.names, pessimism=serving.pessimism)
        return ServedModels(data=[served])

    return router
