"""One renderer: the complete file tree of one machine, from `sites.yml` and the secrets.

Contributors (`CONTRIBUTORS`) are modules of the packages above, loaded by name when a tree is
rendered; each offers `render(topology, host, secrets) -> Iterable[File]`. The lab lays the tree
into a machine before it boots, Ansible lays the same tree onto a real one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import jinja2

from hanbat.errors import HanbatError
from hanbat.secrets_file import Secrets
from hanbat.topology import Host, Topology

CONTRIBUTORS = ("replication.render", "backup_site.render", "primary.render", "failover.render")
MANIFEST = "hanbat-manifest.json"


class RenderConflict(HanbatError):
    """Two contributors render one path."""

    code = 50
    hint = "one of the two modules must give the file up"


class OutNotEmpty(HanbatError):
    """The folder to render into holds something that the renderer did not write."""

    code = 51
    hint = "name an empty folder, or one that an earlier render filled"


@dataclass(frozen=True, slots=True)
class File:
    """One file of a machine: absolute path, text, mode, and its owner and group by name."""

    path: str
    text: str
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"


class Contributor(Protocol):
    def __call__(self, topology: Topology, host: Host, secrets: Secrets) -> Iterable[File]: ...


def header(template: str, comment: str = "#") -> str:
    """First line of a rendered file: where it came from, and that editing it is in vain."""
    return f"{comment} Rendered by hanbat from sites.yml and {template}: change those, not this file."


@cache
def _environment(package: str) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader(package, "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # configuration files, not HTML
    )


def template(package: str, name: str, comment: str = "#", **values: Any) -> str:
    """Text of `<package>/templates/<name>`, its origin in the first line (or after a `#!`)."""
    text = _environment(package).get_template(name).render(**values)
    origin = header(f"{package}/templates/{name}", comment) + "\n"
    if text.startswith("#!"):
        first, rest = text.split("\n", 1)
        return f"{first}\n{origin}{rest}"
    return origin + text


def tree(topology: Topology, host: Host, secrets: Secrets) -> tuple[File, ...]:
    """Every file of one machine, sorted by path. Raises RenderConflict."""
    files: dict[str, File] = {}
    for name in CONTRIBUTORS:
        contributor: Contributor = import_module(name).render
        for file in contributor(topology, host, secrets):
            if file.path in files:
                raise RenderConflict(f"{name} renders {file.path} for {host.name} once more")
            files[file.path] = file
    return tuple(files[path] for path in sorted(files))


def write(files: Iterable[File], out: Path) -> None:
    """Write a tree below `out`, with a manifest of modes and owners. Twice gives the same bytes.

    Owners are names of the target machine, so they stand in the manifest only. Raises OutNotEmpty.
    """
    files = tuple(files)
    if out.exists() and any(out.iterdir()):
        _clear_earlier(out)
    for file in files:
        target = out / file.path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, file.mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(file.text)
        target.chmod(file.mode)
    rows = [{"path": f.path, "mode": f"{f.mode:04o}", "owner": f.owner, "group": f.group} for f in files]
    (out / MANIFEST).write_text(json.dumps({"files": rows}, indent=1) + "\n", encoding="utf-8")


def _clear_earlier(out: Path) -> None:
    manifest = out / MANIFEST
    if not manifest.exists():
        raise OutNotEmpty(f"{out} holds files that no render wrote")
    for row in json.loads(manifest.read_text(encoding="utf-8"))["files"]:
        (out / row["path"].lstrip("/")).unlink(missing_ok=True)
    manifest.unlink()
