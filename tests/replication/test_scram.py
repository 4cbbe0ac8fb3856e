"""The verifier is that of the standard; that PostgreSQL takes it is seen by every drill."""

from __future__ import annotations

import base64

import pytest

from replication.scram import ITERATIONS, verifier, verifier_with


def test_it_is_that_of_the_standard() -> None:
    """Password and salt of the example in RFC 7677; the keys follow from them by RFC 5802."""
    made = verifier_with(b"pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
    assert made == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ=="
        "$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )


def test_the_same_secrets_give_the_same_bytes_and_others_do_not() -> None:
    first = verifier("hanbat_observer", "f" * 64)
    assert first == verifier("hanbat_observer", "f" * 64)
    assert first.startswith(f"SCRAM-SHA-256${ITERATIONS}:")
    assert "f" * 64 not in first
    assert len({first, verifier("procurement_app", "f" * 64), verifier("hanbat_observer", "e" * 64)}) == 3


def test_what_would_have_to_be_normalized_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        verifier("hanbat_observer", "한밭")
