"""Puts the application together. Nothing here connects: the database may be away at start."""

from __future__ import annotations

import logging

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from app import gone, health, metrics
from app.api import views as api
from app.database import Database
from app.errors import AppError, Refusal
from app.operations import PREFIX
from app.parties import Parties
from app.settings import Settings
from app.web import views as web

MACHINE_PATHS = (f"{PREFIX}/", "/healthz/", "/metrics", "/static/")
log = logging.getLogger("procurement")


def create_app(settings: Settings) -> Flask:
    """The WSGI application for these settings."""
    app = Flask("app", template_folder="web/templates", static_folder="web/static")
    app.config.update(
        SECRET_KEY=settings.secret_key,
        MAX_CONTENT_LENGTH=api.MOST_BYTES,
        SESSION_COOKIE_NAME="procurement",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.cookie_secure,
    )
    database = Database(settings)
    app.extensions["settings"] = settings
    app.extensions["database"] = database
    app.extensions["parties"] = Parties(database)
    app.extensions["readiness"] = health.Readiness(settings)
    app.extensions["commits"] = health.Commits(settings)
    for blueprint in (api.blueprint, health.blueprint, metrics.blueprint, web.blueprint):
        app.register_blueprint(blueprint)
    metrics.install(app)
    gone.install(app)
    app.register_error_handler(AppError, on_app_error)
    app.register_error_handler(HTTPException, on_http_error)
    app.register_error_handler(Exception, on_bug)
    return app


def on_app_error(error: AppError) -> Response:
    """A known error, with its code."""
    if error.detail:
        log.warning("%s %s: %s: %s", request.method, request.path, error, error.detail)
    metrics.REFUSALS.labels(error.code).inc()
    if not request.path.startswith(MACHINE_PATHS):
        return web.on_error(error)
    response = api.reply(error.body(), error.status)
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(error.retry_after_s)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def on_http_error(error: HTTPException) -> Response:
    """What Flask itself refuses (404, 405, 413), in the same form."""
    code = (error.name or "error").lower().replace(" ", "_")
    return on_app_error(Refusal(error.code or 500, code, error.description or code))


def on_bug(error: Exception) -> Response:
    """A bug: it is logged with its traceback, and answered without details."""
    log.error("%s %s failed", request.method, request.path, exc_info=error)
    return on_app_error(AppError("an error of the server; it is logged"))
