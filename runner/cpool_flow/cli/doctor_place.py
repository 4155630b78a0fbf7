"""What `doctor` says of git, the repository, the event of a job in GitHub Actions, and the extras of this installation."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata
from importlib.util import find_spec

from cpool_flow.cli.doctor_check import Check, check

OLDEST_GIT = (2, 31)
# Extra → (what it is for, a module that comes with it).
EXTRAS = {
    "dask": ("slots on other machines", "distributed"),
    "ui": ("the page", "starlette"),
    "otel": ("traces", "opentelemetry"),
}


def git() -> Check:
    """Whether there is a git that is new enough for worktrees."""
    from cpool_flow.errors import printable
    from cpool_flow.process import Command, ProcessNotStarted, run_to_end

    try:
        ended = run_to_end(Command(("git", "--version"), "/", dict(os.environ)), timeout_seconds=20)
    except ProcessNotStarted:
        return check("git", False, "not found", "install git; without it runs have `isolation: none`", needed=False)
    text = printable(ended.stdout.decode("utf-8", "replace").strip())
    found = re.search(r"(\d+)\.(\d+)", text)
    old = found is not None and (int(found[1]), int(found[2])) < OLDEST_GIT
    needed = ".".join(map(str, OLDEST_GIT))
    return check(
        "git", not old, text, f"install git {needed} or newer; without it runs have `isolation: none`" if old else "", needed=False
    )


def repository(project: str | None) -> Iterator[Check]:
    """Where runs would work."""
    import asyncio

    from cpool_flow.cli.project import project_directory
    from cpool_flow.errors import FlowError
    from cpool_flow.run_place import our_git
    from cpool_flow.workspace.repository import survey

    directory = project_directory(project)
    try:
        found = asyncio.run(survey(our_git(os.environ), directory))
    except FlowError as error:
        yield check("repository", False, str(error), needed=False)
        return
    if found is None:
        yield check("repository", True, f"{directory} is no git repository: runs work in place", needed=False)
        return
    notes = [
        note for note, holds in (("bare", found.bare), ("shallow clone", found.shallow), ("no commit yet", found.head is None)) if holds
    ]
    help = "a worktree or clone needs a commit and a checkout" if found.bare or found.head is None else ""
    shown = f"{found.top_level} ({', '.join(notes)})" if notes else str(found.top_level)
    yield check("repository", not help, shown, help, needed=False)
    if found.shallow:
        yield check(
            "history", False, "the clone is shallow: a `base` or `--trust` of an older commit is not there",
            "git fetch --unshallow; in GitHub Actions, `fetch-depth: 0` of actions/checkout", needed=False,
        )  # fmt: skip


def event() -> Iterator[Check]:
    """In GitHub Actions: what the job was started for, and what follows for secrets and trust."""
    from cpool_flow.errors import InvalidInput
    from cpool_flow.github_event import current_event

    try:
        found = current_event(os.environ)
    except InvalidInput as error:
        yield check("event", False, str(error), error.problems[0].help or "", needed=False)
        return
    if found is None:
        return
    if found.foreign:
        told = f"{found.name} of a fork, in a job that may have secrets: its head is not worked on"
        yield check("event", False, told, "docs/github-actions.md; `--allow-untrusted-checkout` takes the risk", needed=False)
    elif found.fork:
        told = f"{found.name} of a fork: the job has no secrets, and a token that only reads"
        yield check("event", False, told, "agents that need a key do not work here: docs/github-actions.md", needed=False)
    elif found.trust is not None:
        yield check("event", True, f"{found.name}: what runs is read from {found.trust.why}", needed=False)
    else:
        yield check("event", True, found.name, needed=False)


def extras() -> Iterator[Check]:
    """The extras that this version has."""
    try:
        offered = metadata("cpool-flow").get_all("Provides-Extra") or []
    except PackageNotFoundError:
        return
    for name, (purpose, module) in EXTRAS.items():
        if name in offered:
            there = find_spec(module) is not None
            yield check(
                f"extra {name}", there, purpose if there else f"not installed: {purpose}", f"pip install 'cpool-flow[{name}]'", needed=False
            )
