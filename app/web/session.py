"""The session of a page: a signed cookie, so it holds at every host and site with no state at the server.

It carries the party's id (never its key), a random session id made anew at each login, a CSRF token and
the time of the last request; half an hour of idleness ends it.
"""

from __future__ import annotations

import hmac
import secrets
import time

from flask import current_app, g, request, session

from app.errors import Refusal
from app.parties import Party

LANGUAGES = ("ko", "en")


class LoginNeeded(Exception):
    """There is no session, or it has ended."""


def begin(party: Party) -> None:
    """Start a session for a party; whatever the old one held is dropped, except the language."""
    language = session.get("lang")
    session.clear()
    session.update(
        sid=secrets.token_urlsafe(24),
        csrf=secrets.token_urlsafe(24),
        party=[party.id, party.kind, party.name],
        seen=int(time.time()),
    )
    if language:
        session["lang"] = language


def end() -> None:
    session.clear()


def current() -> Party | None:
    """The party of the session; None when there is none or it was idle too long."""
    if "party" not in session:
        return None
    idle_s = time.time() - session.get("seen", 0)
    if idle_s > current_app.extensions["settings"].session_idle_s:
        end()
        return None
    session["seen"] = int(time.time())
    party_id, kind, name = session["party"]
    return Party(party_id, kind, name)


def needed() -> Party:
    party = current()
    if party is None:
        raise LoginNeeded
    return party


def csrf_token() -> str:
    """The token that every form carries; made on first use, also before login."""
    if "csrf" not in session:
        session["csrf"] = secrets.token_urlsafe(24)
    return session["csrf"]


def check_csrf() -> None:
    """Refusal 403 when a form did not come from a page of this session."""
    sent = request.form.get("csrf", "")
    if not sent or not hmac.compare_digest(sent.encode(), session.get("csrf", "").encode()):
        raise Refusal(403, "form_expired", "this form is not of the present session", "load the page again")


def language() -> str:
    """ko, unless ?lang=en was asked for; the choice is remembered in the session."""
    if "language" not in g:
        asked = request.args.get("lang")
        if asked in LANGUAGES:
            session["lang"] = asked
        g.language = session.get("lang", LANGUAGES[0])
    return g.language
