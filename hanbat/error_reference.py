"""The reference of all errors, collected from the packages themselves."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module

from hanbat.errors import HanbatError

PACKAGES = ("hanbat", "replication", "backup_site", "primary", "failover", "runbooks", "monitoring", "lab")


class DuplicateCode(HanbatError):
    """Two errors carry one code."""

    code = 5
    hint = "give the newer one the next free number of its range"


def all_errors() -> tuple[type[HanbatError], ...]:
    """Every error class of the platform, by code. Raises DuplicateCode."""
    for package in PACKAGES:
        _import_all(package)
    by_code: dict[int, type[HanbatError]] = {}
    for kind in _below(HanbatError):
        if "code" not in vars(kind):
            continue  # a refinement that shares its parent's code
        if kind.code in by_code:
            raise DuplicateCode(f"{kind.__name__} and {by_code[kind.code].__name__} both carry {kind.code}")
        by_code[kind.code] = kind
    return tuple(by_code[code] for code in sorted(by_code))


def markdown() -> str:
    """The text of `docs/errors.md`."""
    lines = [
        "# Errors",
        "",
        "Made by `hanbat errors --markdown`; a test fails when it is stale.",
        "A code never changes its meaning.",
        "",
        "| code | name | meaning | hint | exit status |",
        "|---|---|---|---|---|",
    ]
    for kind in all_errors():
        meaning = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
        lines.append(
            f"| {kind.code:03d} | {kind.__name__} | {meaning} | {kind.hint} | {int(kind.exit_status)} |"
        )
    return "\n".join(lines) + "\n"


def _import_all(package: str) -> None:
    module = import_module(package)
    for found in pkgutil.walk_packages(module.__path__, prefix=f"{package}."):
        if not found.name.endswith("__main__"):
            import_module(found.name)


def _below(kind: type[HanbatError]) -> Iterator[type[HanbatError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _below(child)
