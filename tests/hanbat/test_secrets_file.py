"""The secrets file: made once, readable by its owner only, complete or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hanbat.secrets_file import Secrets, SecretsInvalid, load, load_or_create


def test_it_is_made_once_and_read_after(tmp_path: Path) -> None:
    path = tmp_path / "secrets.yml"
    first, created = load_or_create(path)
    again, created_again = load_or_create(path)
    assert (created, created_again) == (True, False)
    assert first == again
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(set(first.model_dump().values())) == len(Secrets.model_fields)


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secrets.yml"
    load_or_create(path)
    path.chmod(0o644)
    with pytest.raises(SecretsInvalid, match="read by others"):
        load(path)


def test_a_file_that_lacks_a_value_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secrets.yml"
    path.touch(mode=0o600)
    path.write_text("postgres_superuser: x\n", encoding="utf-8")
    with pytest.raises(SecretsInvalid):
        load(path)


@pytest.mark.parametrize("password", ["한밭", "two words", ""])
def test_a_password_that_postgresql_would_have_to_normalize_is_refused(tmp_path: Path, password: str) -> None:
    path = tmp_path / "secrets.yml"
    made, _ = load_or_create(path)
    words = made.model_dump() | {"app_service": password}
    path.write_text(yaml.safe_dump(words, allow_unicode=True), encoding="utf-8")
    with pytest.raises(SecretsInvalid, match="app_service"):
        load(path)
