"""How the two layers of the image are filled. `lab.image` decides when, and keeps it atomic."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab import commands, recipe
from lab.cgroups import Cgroup
from lab.errors import ImageFailed, OtherPython

Progress = Callable[[str], None]
STEP_LIMIT_S = 1500.0
SITE_PACKAGES = f"opt/hanbat/lib/python{recipe.PYTHON[0]}.{recipe.PYTHON[1]}/site-packages"
SOURCES_FORMAT = "deb $(REPO_URI) $(RELEASE) $(COMPONENT)"


def debian_sources() -> str:
    """The computer's own Debian sources of the image's suite, one `deb` line each. Raises ImageFailed."""
    argv = ["apt-get", "indextargets", "--format", SOURCES_FORMAT, "Created-By: Packages", "Origin: Debian"]
    lines = sorted({line for line in commands.run(argv).stdout.splitlines() if recipe.SUITE in line})
    if not lines:
        raise ImageFailed(
            f"this computer's apt has no Debian sources for {recipe.SUITE}",
            hint="run apt-get update on Debian 12",
        )
    return "\n".join(lines) + "\n"


def step(
    title: str,
    argv: Sequence[str],
    group: Cgroup,
    progress: Progress,
    *,
    stdin: str = "",
    env: dict[str, str] | None = None,
) -> None:
    """One program of a build: in the lab's group, so that `lab down` ends it. Raises ImageFailed."""
    prefix, variables = group.launcher()
    started = time.monotonic()
    try:
        done = subprocess.run(
            [*prefix, *argv],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=STEP_LIMIT_S,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **_passed_on(), **variables, **(env or {})},
        )
    except subprocess.TimeoutExpired as error:
        group.kill()
        raise ImageFailed(f"image: {title}: no end after {STEP_LIMIT_S:g} s") from error
    except BaseException:
        group.kill()
        raise
    if done.returncode != 0:
        raise ImageFailed(f"image: {title} failed\n{commands.tail(done.stdout, 25)}")
    progress(f"image: {title}: {time.monotonic() - started:.1f} s")


def _passed_on() -> dict[str, str]:
    """What a build may know of the caller: where its home is and how it reaches registries."""
    names = re.compile(
        r"^(HOME|LANG|TMPDIR|PIP_.*|UV_.*|(https?|no|all)_proxy|SSL_CERT_.*|REQUESTS_CA_BUNDLE)$",
        re.IGNORECASE,
    )
    return {name: value for name, value in os.environ.items() if names.match(name)}


def build_base(tree: Path, pins: Path, group: Cgroup, progress: Progress) -> None:
    """Debian and the pinned Python packages. Raises ImageFailed, MissingProgram or OtherPython."""
    commands.require(["mmdebstrap", "apt-get", "unshare"])
    if sys.version_info[:2] != recipe.PYTHON:
        raise OtherPython(
            f"this is Python {sys.version.split()[0]}, the machines' is {'.'.join(map(str, recipe.PYTHON))}"
        )
    group.create()
    packages = tree.with_name("packages")
    pip = _pip("--no-deps", "--target", str(packages), "-r", str(pins))
    venv = ["chroot", str(tree), "/usr/bin/python3", "-m", "venv", "--without-pip", "/opt/hanbat"]
    progress("image: building the base layer (once; about two minutes)")
    with ThreadPoolExecutor(1) as pool:
        python = pool.submit(step, "third-party Python packages", pip, group, progress)
        step("Debian packages", _mmdebstrap(tree), group, progress, stdin=debian_sources())
        python.result()
    step("virtual environment", venv, group, progress)
    _place_packages(packages, tree)
    _write_files(tree)
    step("users", ["systemd-sysusers", f"--root={tree}"], group, progress)


def _mmdebstrap(tree: Path) -> list[str]:
    return [
        # Mounts that mmdebstrap makes vanish with it, however it ends.
        "unshare", "--mount", "--propagation", "private", "--",
        "mmdebstrap", "--mode=root", "--variant=minbase", "--quiet",
        # No cluster `main`: Patroni makes the data directory.
        '--essential-hook=mkdir -p "$1/etc/postgresql-common"; '
        'echo "create_main_cluster = false" > "$1/etc/postgresql-common/createcluster.conf"',
        *recipe.NOT_UNPACKED, f"--include={','.join(recipe.PACKAGES)}", recipe.SUITE, str(tree), "-",
    ]  # fmt: skip


def build_project(tree: Path, clone: Path, group: Cgroup, progress: Progress) -> None:
    """Our wheel alone, installed from the clone without its dependencies."""
    group.create()
    source, packages = tree.with_name("source"), tree.with_name("packages")
    # A copy, because a build writes into the tree that it builds from.
    shutil.copytree(clone, source, ignore=_only_sources, symlinks=True)
    progress("image: building the project layer")
    step(
        "our wheel",
        _pip("--no-deps", "--no-index", "--no-build-isolation", "--target", str(packages), str(source)),
        group,
        progress,
    )
    _place_packages(packages, tree)
    shutil.rmtree(source)


def _only_sources(folder: str, names: list[str]) -> set[str]:
    heavy = {
        ".git",
        ".venv",
        "__pycache__",
        ".build",
        "build",
        "dist",
        "evidence",
        "tests",
        "node_modules",
        "secrets.yml",
    }
    return {name for name in names if name in heavy or name.endswith(".egg-info") or name.startswith(".")}


def _pip(*arguments: str) -> list[str]:
    return [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input",
        "--root-user-action=ignore", *arguments,
    ]  # fmt: skip


def _place_packages(packages: Path, tree: Path) -> None:
    """Move what `pip --target` made to its place in a machine; its scripts get the machine's interpreter."""
    target = tree / SITE_PACKAGES
    target.mkdir(parents=True, exist_ok=True)
    scripts = tree / "opt/hanbat/bin"
    scripts.mkdir(parents=True, exist_ok=True)
    for script in sorted((packages / "bin").glob("*")) if (packages / "bin").exists() else []:
        text = script.read_bytes()
        if text.startswith(b"#!"):
            text = b"#!/opt/hanbat/bin/python3\n" + text.split(b"\n", 1)[1]
        (scripts / script.name).write_bytes(text)
        (scripts / script.name).chmod(0o755)
    shutil.rmtree(packages / "bin", ignore_errors=True)
    for entry in sorted(packages.iterdir()):
        shutil.move(entry, target / entry.name)
    packages.rmdir()


def _write_files(tree: Path) -> None:
    for pattern in recipe.REMOVED:
        for path in tree.glob(pattern.lstrip("/")):
            path.unlink()
    for path, text, mode in recipe.FILES:
        file = tree / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        file.chmod(mode)
    units = tree / "etc/systemd/system"
    for unit in recipe.MASKED_UNITS:
        link = units / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    (units / "default.target").unlink(missing_ok=True)
    (units / "default.target").symlink_to("/lib/systemd/system/multi-user.target")
