"""Collects what is wrong with a document, each thing at its place, and stops when there is more than anybody reads.

Knows places and counts, not rules.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel

from cpool_flow import model
from cpool_flow.errors import Problem, did_you_mean
from cpool_flow.nodes import Document, Path

MOST = 100


class Enough(Exception):
    """So much is wrong that looking further helps nobody."""


class Findings:
    """Problems and warnings of one document. A problem found twice at one place (by an alias) is one. Raises Enough.

    `root`: the class of what the document is to hold."""

    def __init__(self, document: Document, root: type[BaseModel] = model.Workflow) -> None:
        self.document = document
        self.root = root
        self._found: dict[Problem, None] = {}
        self._warned: dict[Problem, None] = {}

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(sorted(self._found, key=lambda problem: problem.sort_key))

    @property
    def warnings(self) -> tuple[Problem, ...]:
        found = sorted(self._warned, key=lambda problem: problem.sort_key)
        if len(found) <= MOST:
            return tuple(found)
        return (Problem(f"{len(found):,} warnings; these are the first {MOST}", warning=True), *found[:MOST])

    def error(
        self, path: Path, message: str, *, key: bool = False, hint: str | None = None, help: str | None = None, warning: bool = False
    ) -> None:
        """Something about the value at `path`, or about its key."""
        self.add(Problem(message, self.document.location(path, key=key), hint, help, warning))

    def error_in(
        self, path: Path, offset: int, length: int, message: str, *, hint: str | None = None, help: str | None = None, warning: bool = False
    ) -> None:
        """Something about some characters of the text at `path`."""
        self.add(Problem(message, self.document.location_in(path, offset, length), hint, help, warning))

    def unknown(self, path: Path, what: str, name: str, choices: Iterable[str], *, help: str | None = None) -> None:
        """A name in the file that nothing has."""
        self.error(path, f"unknown {what}", hint=did_you_mean(name, choices), help=help)

    def add(self, problem: Problem) -> None:
        """Keep it. More errors than anybody reads are enough; warnings, however many, are no reason to refuse a file."""
        if problem.warning:
            self._warned[problem] = None
            return
        self._found[problem] = None
        if len(self._found) > MOST:
            raise Enough
