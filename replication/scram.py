"""The SCRAM-SHA-256 verifier of a random password, with few iterations (RFC 5802, RFC 7677).

Iterations make each guess of a password dear. Ours are 256 random bits (`hanbat.secrets_file`), which nobody
guesses at any price; but every login pays as well: 11 ms in PgBouncer 1.18 with the usual 4096, for each
client that waits while a new primary comes and for each connection to it, when everybody waits for just that.
With this verifier in its file as well, PgBouncer computes none at all.

PostgreSQL 16 has the setting `scram_iterations` for this; 15 takes a verifier that was made elsewhere. The
library `scramp` makes them too, but none below 4096.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

ITERATIONS = 32
SALT_BYTES = 16


def verifier(role: str, password: str) -> str:
    """What PostgreSQL stores instead of the password: `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`.

    The salt follows from role and password, so that rendering twice gives the same bytes. The password must
    be ASCII, as `hanbat.secrets_file` sees to (nothing is normalized here): raises UnicodeEncodeError.
    """
    secret = password.encode("ascii")
    salt = hmac.digest(secret, b"salt of " + role.encode(), "sha256")[:SALT_BYTES]
    return verifier_with(secret, salt, ITERATIONS)


def verifier_with(secret: bytes, salt: bytes, iterations: int) -> str:
    salted = hashlib.pbkdf2_hmac("sha256", secret, salt, iterations)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    return f"SCRAM-SHA-256${iterations}:{_text(salt)}${_text(stored_key)}:{_text(server_key)}"


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
