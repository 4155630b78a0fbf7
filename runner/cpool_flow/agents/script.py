"""The file of answers of the scripted agent: its shape, and which answer a call gets. `docs/scripted-agent.md` is its manual.

    steps:
      plan: The plan is short.                   # text: the answer of every call
      review:
        - {item: style, answer: {findings: []}}  # for this item of a fan-out; data is answered as JSON text
        - {when: security, error: overloaded}    # for prompts that hold this text: first call
        - {when: security, answer: All is well.} # second call, and every later one
      fix:
        - {edits: {src/a.py: "x = 1\\n"}, commit: Fix a, answer: Done}
    default: {echo: true}                        # for steps that are not named

A step inside of others may be named by its path (`part/line`), one item or round of it by its id (`part[0]/line`).
Answers are data: nothing in this file is a template.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from cpool_flow import document
from cpool_flow.dataclass import dataclass
from cpool_flow.errors import InvalidInput, Problem, did_you_mean
from cpool_flow.library import shown_path
from cpool_flow.model import NOT_BLANK, ListOf, Model, NonEmpty, Text

ScriptedError = Literal[
    "failed", "overloaded", "rate_limited", "auth", "max_turns", "budget", "bad_output", "permission_denied", "invalid", "lost"
]


class Call(Model):
    """What the agent does when it is called: waits, changes files, then answers, fails or hangs."""

    item: Any = None
    round: Annotated[int, Field(ge=1)] | None = None
    when: NonEmpty | None = None
    seconds: Annotated[float, Field(ge=0, le=86_400)] | None = None
    edits: dict[NonEmpty, str] | None = None
    delete: ListOf[NonEmpty] | None = None
    patch: NonEmpty | None = None
    run: Annotated[ListOf[Text], Field(min_length=1)] | None = None
    commit: NonEmpty | None = None
    answer: Any = None
    echo: bool | None = None
    error: ScriptedError | None = None
    message: str | None = None
    resets_in_seconds: Annotated[float, Field(ge=0)] | None = None
    denials: ListOf[NonEmpty] | None = None
    hang: bool | None = None
    cost_usd: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    turns: Annotated[int, Field(ge=1)] | None = None
    exit_code: Annotated[int, Field(ge=0, le=255)] | None = None

    def fits(self, item: object, round_number: int, prompt: str) -> bool:
        if "item" in self.model_fields_set and self.item != item:
            return False
        return self.round in (None, round_number) and (self.when is None or self.when in prompt)


def _as_calls(value: object) -> object:
    calls = value if isinstance(value, list) else [value]
    return tuple({"answer": call} if isinstance(call, str) else call for call in calls)


Calls = Annotated[tuple[Call, ...], BeforeValidator(_as_calls), Field(min_length=1)]


class Script(Model):
    steps: dict[NonEmpty, Calls] = Field({})
    default: Calls = Field(())


@dataclass(frozen=True)
class Found:
    """The answer of a call. `place`: where it stands in the file, `3:7`; empty in a file of one line, which programs write."""

    call: Call
    place: str


@dataclass(frozen=True)
class Answers:
    """A file of answers that was read."""

    script: Script
    source: document.Document

    def find(self, names: Sequence[str], attempt: int, item: object, prompt: str, round_number: int = 1) -> Found | None:
        """The answer of this attempt (counted from 1): of those that fit, the one with its number, later the last one. `names`: what the
        step may be called here, the most exact first."""
        for path, calls in self._calls(names):
            fitting = [number for number, call in enumerate(calls) if call.fits(item, round_number, prompt)]
            if fitting:
                number = fitting[min(attempt, len(fitting)) - 1]
                return Found(calls[number], self._place((*path, number)))
        return None

    def place_of_step(self, names: Sequence[str]) -> str:
        """Where the calls of a step stand; empty where it has none."""
        return next((self._place(path, key=True) for path, calls in self._calls(names) if calls and path != ("default",)), "")

    def _calls(self, names: Sequence[str]) -> Iterator[tuple[tuple[str, ...], tuple[Call, ...]]]:
        yield from ((("steps", name), self.script.steps.get(name, ())) for name in names)
        yield ("default",), self.script.default

    def _place(self, path: tuple[str | int, ...], *, key: bool = False) -> str:
        if "\n" not in self.source.text.strip():
            return ""
        location = self.source.location(_as_written(self.source.data, path), key=key)
        return f"{location.line}:{location.column}"


def load_script(path: str) -> Answers:
    """Read a file of answers. Raises InvalidInput with every problem and its place."""
    try:
        state = Path(path).stat()
        return _load(path, state.st_mtime_ns, state.st_size)
    except OSError as error:
        raise InvalidInput(f"the script `{shown_path(Path(path))}` cannot be read: {error.strerror}") from None


@lru_cache(maxsize=64)
def _load(path: str, changed: int, size: int) -> Answers:
    source = document.load(Path(path).read_bytes(), shown_path(Path(path)))
    try:
        return Answers(Script.model_validate(source.data), source)
    except ValidationError as error:
        raise InvalidInput(_problem(source, found) for found in error.errors(include_url=False)) from None


def _problem(source: document.Document, found: Any) -> Problem:
    path = _as_written(source.data, found["loc"])
    if found["type"] == "extra_forbidden":
        known = Script.model_fields if len(path) == 1 else Call.model_fields
        return Problem(f"unknown key `{path[-1]}`", source.location(path, key=True), did_you_mean(str(path[-1]), known))
    blank = found["type"] == "string_pattern_mismatch" and found["ctx"]["pattern"] == NOT_BLANK
    message = "this text is empty" if blank else found["msg"][:1].lower() + found["msg"][1:]
    return Problem(f"`{path[-1]}`: {message}" if path else message, source.location(path))


def _as_written(data: Any, location: tuple[Any, ...]) -> tuple[str | int, ...]:
    """The path in the file: a step with one call may leave out the list."""
    path: list[str | int] = []
    for key in location:
        if isinstance(key, int) and not isinstance(data, list):
            continue
        path.append(key)
        try:
            data = data[key]
        except (LookupError, TypeError):
            data = None
    return tuple(path)
