"""The addresses of the review server, each a thin layer over `ReviewSession`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ..core.exceptions import InputError, UnreadableImageError
from .live import LiveReview
from .query import parse_query
from .thumbnails import SIZES, media_type

ASSETS = Path(__file__).parent / "assets"
TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
MAX_BODY = 1 << 20
FRESH = {"cache-control": "no-store"}
KEPT = {"cache-control": "private, max-age=3600"}


def build_app(review: LiveReview) -> Starlette:
    """The application, without its guard.

    Parameters
    ----------
    review : LiveReview
        What is reviewed.
    """
    pages = _Pages(review)

    def rows(request: Request) -> Any:
        return review.session.rows(parse_query(request.query_params))

    def row(request: Request) -> Any:
        return review.session.row(request.path_params["row"])

    questions: dict[str, Callable[[Request], Any]] = {
        "/api/about": lambda request: review.fresh().about(),
        "/api/pairs": lambda request: review.session.pairs(),
        "/api/progress": lambda request: review.progress(),
        "/api/rows": rows,
        "/api/rows/{row:int}": row,
        "/api/changes": lambda request: review.changes(_since(request)),
        "/api/refit": lambda request: review.refit.status(),
    }
    return Starlette(
        routes=[
            Route("/", pages.asset),
            Route("/assets/{name}", pages.asset),
            Route("/image/{row:int}/{size}", pages.image),
            Route("/api/decisions", pages.decide, methods=["POST"]),
            Route("/api/refit", _answer(lambda request: review.start_refit()), methods=["POST"]),
            *(Route(path, _answer(question)) for path, question in questions.items()),
        ],
        exception_handlers={InputError: _bad_input, sqlite3.Error: _not_saved},
    )


def _since(request: Request) -> int:
    text = request.query_params.get("since", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise InputError(f"since={text[:40]!r} must be a whole number")
    return int(text)


def _answer(question: Callable[[Request], Any]) -> Callable[[Request], Response]:
    """A question to the session as an address that answers in JSON (in a worker thread)."""

    def address(request: Request) -> Response:
        return JSONResponse(question(request), headers=FRESH)

    return address


class _Pages:
    """The addresses that answer with more than a question to the session."""

    def __init__(self, review: LiveReview):
        self.review = review
        # read once and by name: nothing else of the disk can be asked for
        self.assets = {path.name: path.read_bytes() for path in ASSETS.iterdir() if path.is_file()}

    def asset(self, request: Request) -> Response:
        """The page, or one of the files that came with the package."""
        name = request.path_params.get("name", "index.html")
        if name not in self.assets:
            return PlainTextResponse("no such file\n", 404)
        kind = TYPES[Path(name).suffix]
        return Response(self.assets[name], media_type=kind, headers={"cache-control": "no-cache"})

    def image(self, request: Request) -> Response:
        """A copy of an image, by row number."""
        row, size = request.path_params["row"], request.path_params["size"]
        session = self.review.session
        thumbnails = session.thumbnails
        if thumbnails is None or size not in SIZES or not 0 <= row < len(session.table):
            return PlainTextResponse("no such image\n", 404)
        try:
            copy = thumbnails.get(row, size)
        except (UnreadableImageError, OSError):
            return PlainTextResponse("the image cannot be read\n", 404)
        return Response(copy, media_type=media_type(copy), headers=KEPT)

    async def decide(self, request: Request) -> Response:
        """Save decisions; 409 when one of them was based on an old version."""
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MAX_BODY:
                return PlainTextResponse(f"at most {MAX_BODY} bytes are taken\n", 413)
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise InputError("the body must be a JSON object with reviewer and decisions")
        result = await run_in_threadpool(
            self.review.session.decide,
            value.get("decisions"),
            value.get("reviewer"),
            value.get("rows_key"),
        )
        return JSONResponse(result, 409 if result["conflicts"] else 200, headers=FRESH)


def _bad_input(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400, headers=FRESH)


def _not_saved(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": f"decisions cannot be kept: {error}"}, 503, headers=FRESH)
