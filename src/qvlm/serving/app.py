"""The HTTP side of a server: routes, in the words of OpenAI's API."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from qvlm.serving.gate import Gate
from qvlm.serving.inbox import Inbox
from qvlm.serving.limits import Limits
from qvlm.serving.metrics import Metrics
from qvlm.serving.problems import Problem
from qvlm.serving.protocol import ChatRequest, Reply
from qvlm.serving.question import Answer
from qvlm.serving.worker import Job, Piece, QueueFullError, Worker

log = logging.getLogger(__name__)


def build_app(
    worker: Worker,
    name: str,
    limits: Limits,
    api_key: str | None = None,
    ready: Callable[[], None] = lambda: None,
) -> FastAPI:
    """Returns the server's application; it stops the worker when it shuts down.

    Args:
        worker: answers the questions.
        name: that clients call the model by.
        limits: what requests may ask for.
        api_key: that clients have to show; None lets everybody in.
        ready: called when requests are taken.
    """
    metrics = Metrics(worker)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        ready()
        yield
        await asyncio.to_thread(worker.stop)

    app = FastAPI(lifespan=lifespan, openapi_url=None)
    app.add_middleware(Gate, body_bytes=limits.body_bytes, key=api_key, refused=metrics.failed)
    _answer_problems(app, metrics)
    started = int(time.time())
    card = {"id": name, "object": "model", "created": started, "owned_by": "qvlm"}

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics")
    async def show_metrics() -> Response:
        return PlainTextResponse(metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [card]}

    @app.get("/v1/models/{model:path}")
    async def model(model: str) -> dict[str, Any]:
        _check_name(model, name)
        return card

    @app.post("/v1/chat/completions", response_model=None)
    async def complete(body: ChatRequest, request: Request) -> Response:
        _check_name(body.model, name)
        question = await asyncio.to_thread(body.question, limits)
        inbox = Inbox()
        try:
            job = worker.submit(question, inbox.tell)
        except QueueFullError as error:
            message = f"{limits.max_waiting} questions are waiting already: try again later"
            raise Problem(429, message, code="queue_full") from error
        reply = Reply(name)
        if body.stream:
            counts = body.stream_options is not None and body.stream_options.include_usage
            return await _streamed(request, job, inbox, reply, counts, metrics)
        return await _whole(request, job, inbox, reply, metrics)

    return app


async def _whole(
    request: Request, job: Job, inbox: Inbox, reply: Reply, metrics: Metrics
) -> Response:
    async with _wanted(job, metrics), aclosing(inbox.rest(request.is_disconnected)) as events:
        async for event in events:
            if isinstance(event, Answer):
                metrics.answered(event)
                return JSONResponse(reply.whole(event))
        raise ClientDisconnect


async def _streamed(
    request: Request, job: Job, inbox: Inbox, reply: Reply, counts: bool, metrics: Metrics
) -> Response:
    # A question at fault gets its status; only then does the stream begin.
    async with _wanted(job, metrics):
        if await inbox.next(request.is_disconnected) is None:
            raise ClientDisconnect

    async def lines() -> AsyncIterator[str]:
        async with _wanted(job, metrics):
            yield _line(reply.chunk({"role": "assistant", "content": ""}))
            try:
                async with aclosing(inbox.rest(request.is_disconnected)) as events:
                    async for event in events:
                        if isinstance(event, Piece):
                            yield _line(reply.chunk({"content": event.text}))
                        elif isinstance(event, Answer):
                            metrics.answered(event)
                            yield _line(reply.chunk({}, event.finish))
                            if counts:
                                yield _line(reply.counts(event))
                            yield "data: [DONE]\n\n"
                            return
            except Problem as problem:
                metrics.failed(problem.status)
                yield _line(problem.body)
                return
        # Nobody is left to raise anything to.
        _take_back(job, metrics)

    return StreamingResponse(lines(), media_type="text/event-stream")


@asynccontextmanager
async def _wanted(job: Job, metrics: Metrics) -> AsyncIterator[None]:
    """Takes the question back when its client goes away."""
    try:
        yield
    except (ClientDisconnect, asyncio.CancelledError, GeneratorExit):
        _take_back(job, metrics)
        raise


def _take_back(job: Job, metrics: Metrics) -> None:
    job.cancel()
    metrics.left()


def _line(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value)}\n\n"


def _check_name(asked: str, name: str) -> None:
    if asked != name:
        raise Problem(
            404, f"there is no model '{asked}' here, only '{name}'", "model", "model_not_found"
        )


def _answer_problems(app: FastAPI, metrics: Metrics) -> None:
    """Every error leaves in OpenAI's shape and is counted."""

    def answer(problem: Problem) -> Response:
        metrics.failed(problem.status)
        headers = {"Retry-After": "1"} if problem.status == 429 else None
        return JSONResponse(problem.body, problem.status, headers=headers)

    @app.exception_handler(Problem)
    async def known(_request: Request, problem: Problem) -> Response:
        return answer(problem)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        field = ".".join(str(step) for step in first["loc"][1:])
        known_field = first["type"] != "extra_forbidden"
        message = f"{field}: {first['msg']}" if known_field else f"'{field}' is not supported here"
        return answer(Problem(400, message, field or None))

    @app.exception_handler(HTTPException)
    async def plain(_request: Request, error: HTTPException) -> Response:
        return answer(Problem(error.status_code, str(error.detail)))

    @app.exception_handler(ClientDisconnect)
    async def gone(_request: Request, _error: ClientDisconnect) -> Response:
        return Response(status_code=499)  # nobody reads it

    @app.exception_handler(Exception)
    async def unforeseen(_request: Request, error: Exception) -> Response:
        return answer(Problem(500, f"the server failed ({type(error).__name__}): see its log"))
