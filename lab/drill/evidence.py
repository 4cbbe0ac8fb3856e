"""The evidence folder of one run. It exists, and says *inconclusive*, from the first moment on."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.drill.errors import NoEvidence

LOG_LIMIT_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Evidence:
    """Paths in the folder of one run."""

    folder: Path

    @classmethod
    def create(cls, root: Path, run_id: str, first: dict[str, Any]) -> Evidence:
        """Makes the folder with a first result.json. Raises FileExistsError for a run that has one."""
        folder = root / run_id
        folder.mkdir(parents=True)
        (folder / "logs").mkdir()
        evidence = cls(folder)
        evidence.write_json("result.json", first)
        return evidence

    @property
    def operations(self) -> Path:
        return self.folder / "operations.jsonl"

    @property
    def inside(self) -> Path:
        """The journal of clients that stand inside a site; absent when the scenario has none."""
        return self.folder / "inside.jsonl"

    def unprotected(self, host: str) -> Path:
        """A database host's record of unprotected intervals; absent when it was not read."""
        return self.folder / "logs" / f"{host}.unprotected.jsonl"

    @property
    def probes(self) -> Path:
        return self.folder / "probes.jsonl"

    @property
    def plan(self) -> Path:
        """The load's plan: it holds a key, and is removed when the load has ended."""
        return self.folder / ".load-plan.json"

    def write_text(self, name: str, text: str) -> None:
        """Replaces a file at once: a reader sees the old or the new one, never half."""
        path = self.folder / name
        draft = path.with_name(f".{path.name}.draft")
        with draft.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)

    def write_json(self, name: str, value: Any) -> None:
        self.write_text(name, json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")

    def write_log(self, name: str, text: str) -> None:
        """A log, its newest part if it is too long."""
        data = text.encode()
        if len(data) > LOG_LIMIT_BYTES:
            data = b"(older lines left out)\n" + data[-LOG_LIMIT_BYTES:]
        (self.folder / "logs" / name).write_bytes(data)

    def read_json(self, name: str) -> Any:
        """Raises NoEvidence when it is not there."""
        try:
            return json.loads((self.folder / name).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise NoEvidence(f"{self.folder} has no {name}") from error


def find(root: Path, run: str | None) -> Evidence:
    """The evidence of a run by its id, or of the newest run. Raises NoEvidence."""
    if run is not None:
        folder = root / run
        if not (folder / "result.json").exists():
            raise NoEvidence(f"there is no run {run} in {root}")
        return Evidence(folder)
    runs = [path.parent for path in root.glob("*/result.json")]
    if not runs:
        raise NoEvidence(f"there is no run in {root}")
    return Evidence(max(runs, key=lambda folder: (folder / "result.json").stat().st_mtime))
