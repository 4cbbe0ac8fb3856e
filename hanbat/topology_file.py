"""Read `sites.yml`: a valid topology, or every problem with its line, key, value and remedy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from hanbat.errors import Exit, HanbatError
from hanbat.topology import Topology
from hanbat.topology_rules import Location, Problem, broken

REMEDIES = {
    "extra_forbidden": "remove the key, or correct its spelling",
    "missing": "add the key",
    "enum": "write one of the values named",
    "string_pattern_mismatch": "use small letters, digits and hyphens, a letter first",
    "greater_than_equal": "stay within the range",
    "less_than_equal": "stay within the range",
    "ip_v4_address": "write an IPv4 address, such as 10.71.1.11",
    "ip_v4_network": "write a subnet with its length, such as 10.71.1.0/24",
    "value_error": "correct the value",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem, placed in the file. `line` counts from 1."""

    line: int
    key: str
    value: str
    rule: str
    fact: str
    remedy: str

    def text(self, path: Path) -> str:
        return f"{path}:{self.line}: {self.key} = {self.value}: {self.fact}; {self.remedy}"


class TopologyUnreadable(HanbatError):
    """`sites.yml` is missing, cannot be read, or is no YAML."""

    code = 20
    hint = "name the file with --sites FILE; docs/settings.md describes it"
    exit_status = Exit.USAGE


class TopologyInvalid(HanbatError):
    """`sites.yml` is YAML, but breaks its shape or its rules."""

    code = 21
    hint = "correct the lines above; docs/settings.md lists every key"
    exit_status = Exit.USAGE

    def __init__(self, path: Path, findings: tuple[Finding, ...]) -> None:
        lines = "\n".join("  " + finding.text(path) for finding in findings)
        super().__init__(f"{path} has {len(findings)} problem(s)\n{lines}")
        self.findings = findings

    def as_dict(self) -> dict[str, object]:
        rows = [
            {
                "line": f.line,
                "key": f.key,
                "value": f.value,
                "rule": f.rule,
                "fact": f.fact,
                "remedy": f.remedy,
            }
            for f in self.findings
        ]
        return {**super().as_dict(), "findings": rows}


def load(path: Path) -> Topology:
    """The topology of a file.

    Raises TopologyUnreadable or TopologyInvalid; the latter names every problem at once.
    """
    try:
        source = path.read_text(encoding="utf-8")
        root = yaml.compose(source, Loader=yaml.SafeLoader)
        data: Any = yaml.safe_load(source)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TopologyUnreadable(f"cannot read {path}: {error}") from error
    if root is None or not isinstance(data, dict):
        raise TopologyUnreadable(f"{path} holds no mapping of settings")
    problems = tuple(_duplicate_keys(root, ()))
    if not problems:
        try:
            topology = Topology.model_validate(data)
        except ValidationError as error:
            problems = tuple(_shape(error))
        else:
            problems = broken(topology)
            if not problems:
                return topology
    findings = (_place(root, problem) for problem in problems)
    raise TopologyInvalid(path, tuple(sorted(findings, key=lambda finding: finding.line)))


def _shape(error: ValidationError) -> Iterator[Problem]:
    for item in error.errors(include_url=False):
        kind = item["type"]
        fact = item["msg"].removeprefix("Value error, ")
        if kind == "extra_forbidden":
            fact = "unknown key"
        elif kind == "missing":
            fact = "a key is missing"
        value: object = "(absent)" if kind == "missing" else item["input"]
        remedy = REMEDIES.get(kind, "correct the value")
        if kind == "enum":
            remedy = f"write {item.get('ctx', {}).get('expected', 'one of the values named')}"
        yield Problem(kind, item["loc"], value, fact, remedy)


def _duplicate_keys(node: yaml.Node, path: Location) -> Iterator[Problem]:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, child in node.value:
            if key.value in seen:
                yield Problem(
                    "duplicate_key",
                    (*path, key.value),
                    key.value,
                    "the key stands twice in one mapping",
                    "keep one",
                )
            seen.add(key.value)
            yield from _duplicate_keys(child, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for position, child in enumerate(node.value):
            yield from _duplicate_keys(child, (*path, position))


def _place(root: yaml.Node, problem: Problem) -> Finding:
    return Finding(
        line=_line(root, problem.location),
        key=".".join(str(step) for step in problem.location) or "(file)",
        value=_short(problem.value),
        rule=problem.rule,
        fact=problem.fact,
        remedy=problem.remedy,
    )


def _line(root: yaml.Node, location: Location) -> int:
    """The line of the deepest node on the way that the file really has."""
    node, line = root, root.start_mark.line
    for step in location:
        if isinstance(node, yaml.MappingNode):
            # The last of equal keys: it is the one that came too much.
            pairs = [(key, child) for key, child in node.value if key.value == step]
            if not pairs:
                break
            key, node = pairs[-1]
            line = key.start_mark.line
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line
        else:
            break
    return line + 1


def _short(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
