"""The text of a `cpool.yaml` → what it says, or all that is wrong with it, sorted by place.

Reads no disk. Nothing in the file is a template: what looks like one is refused, so that nobody takes it for one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from cpool_flow import model
from cpool_flow.dataclass import dataclass
from cpool_flow.document import load
from cpool_flow.errors import InvalidInput, Problem
from cpool_flow.findings import MOST, Enough, Findings
from cpool_flow.nodes import Document, Path
from cpool_flow.own_agent_rules import check_agent_name, check_agent_names, check_own_agent
from cpool_flow.pool_file import NO_FILE, PoolFile
from cpool_flow.shape import read_whole
from cpool_flow.slots import slot_problems
from cpool_flow.step_rules import check_config, check_path
from cpool_flow.template import is_template

_NOTHING = re.compile(r"\ufeff?(?:[ \t]*(?:#[^\n]*)?\r?(?:\n|$))*")


@dataclass(frozen=True)
class CheckedPool:
    """A valid pool file. `document` is None where there is none, or where it says nothing."""

    pool: PoolFile = NO_FILE
    document: Document | None = None
    warnings: tuple[Problem, ...] = ()


def check_pool(source: bytes, file: str, read: Callable[[str], bytes] | None = None) -> CheckedPool:
    """What the pool file says. Raises InvalidInput with every problem. `read` gives the files that it names, relative to itself; without
    it they are taken as good. A file without anything in it only marks the project."""
    if _NOTHING.fullmatch(source.decode("utf-8", "replace")):
        return CheckedPool()
    findings = Findings(load(source, file), PoolFile)
    pool = None
    try:
        pool = read_whole(findings, PoolFile)
        _refuse_templates(findings)
        if pool is not None:
            _check(pool, findings, read)
    except Enough:
        raise InvalidInput([Problem(f"more than {MOST} problems; these are some of them"), *findings.errors]) from None
    if pool is None or findings.errors:
        raise InvalidInput(findings.errors)
    return CheckedPool(pool, findings.document, findings.warnings)


def configs(pool: PoolFile) -> Iterator[tuple[Path, model.AgentConfig]]:
    """All agent settings in the file, each with its place."""
    yield ("config",), pool.config
    yield from ((("profiles", name), config) for name, config in pool.profiles.items())
    for index, slot in enumerate(pool.slots if isinstance(pool.slots, tuple) else ()):
        if slot.config is not None:
            yield ("slots", index, "config"), slot.config


def _check(pool: PoolFile, findings: Findings, read: Callable[[str], bytes] | None) -> None:
    for name, agent in pool.agents.items():
        check_own_agent(name, agent, findings)
    for name in pool.prices:
        check_agent_name(("prices", name), name, pool, findings, key=True)
    for path, config in configs(pool):
        check_config(path, config, findings)
        check_agent_names(path, config, pool, findings)
        place = (*path, "script")
        if config.script is not None and read is not None and check_path(place, config.script, findings):
            _check_file(place, config.script, read, findings)
    for path, message in slot_problems(pool.slots):
        findings.error(("slots", *path), message)
    if pool.worktrees is not None and not pool.worktrees.isprintable():
        findings.error(("worktrees",), "`worktrees` holds a character that is not printable")
    for index, notification in enumerate(pool.notify):
        if not notification.command[0].strip():
            findings.error(("notify", index, "command", 0), "the program has no name")


def _check_file(path: Path, name: str, read: Callable[[str], bytes], findings: Findings) -> None:
    try:
        read(name)
    except InvalidInput as error:
        for problem in error.problems:
            findings.add(problem if problem.location else replace(problem, location=findings.document.location(path)))


def _refuse_templates(findings: Findings) -> None:
    for path, text in findings.document.texts(()):
        if is_template(text):
            message = f"`{findings.document.file}` takes no template: its texts are taken as they are"
            findings.error(path, message, help="write what needs a value in the workflow file")
