"""The WSGI entry point: ``gunicorn app.wsgi:application``. Importing it never connects."""

from __future__ import annotations

from app.factory import create_app
from app.settings import Settings

application = create_app(Settings.from_environment())
