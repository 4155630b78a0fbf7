"""The cases beside a workflow, `review.test.yaml`: arguments, answers of its steps and of people, and what must come of it.

    cases:
      - name: findings are fixed
        args: {pr: 42}
        env: {GITHUB_TOKEN: x}                # secrets and variables of this case
        files: {src/a.py: "x = 1\\n"}          # files of the place that it runs in
        answers:                              # of agent steps, in the form of the scripted agent; of commands: what they print
          review: {answer: {findings: [a]}}
          diff: {stdout: "+ x", exit_code: 0}
        approvals: {release: 1.4, deploy: false}
        expect: {status: success, steps: {fix: skipped}, outputs: {report: done}}

Shape only: how a case is run is `trial.py`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from cpool_flow import document
from cpool_flow.errors import InvalidInput, Problem, did_you_mean
from cpool_flow.model import FilledListOf, Model, NonEmpty, Text

STEP_STATUSES = Literal["success", "failed", "skipped", "cancelled", "waiting"]


class Printed(Model):
    """What a command prints and ends with, in place of running it. The attempt number N gets the N-th of several."""

    item: Any = None
    round: Annotated[int, Field(ge=1)] | None = None
    stdout: str = ""
    stderr: str = ""
    exit_code: Annotated[int, Field(ge=0, le=255)] = 0


class Approval(Model):
    answer: str = ""
    reject: bool = False
    reason: str = ""


def _as_approval(value: object) -> object:
    if isinstance(value, bool):
        return {"reject": not value}
    return {"answer": str(value)} if isinstance(value, (str, int, float)) else value


class Expected(Model):
    """What must come of a run; what is not named may be anything."""

    status: Literal["success", "failed", "waiting", "cancelled"] = "success"
    steps: dict[NonEmpty, STEP_STATUSES] = Field({})
    outputs: dict[NonEmpty, Any] = Field({})
    error: NonEmpty | None = None


class Case(Model):
    name: NonEmpty
    args: dict[NonEmpty, Any] = Field({})
    env: dict[NonEmpty, Text] = Field({})
    files: dict[NonEmpty, str] = Field({})
    answers: dict[NonEmpty, Any] = Field({})
    approvals: dict[NonEmpty, Annotated[Approval, BeforeValidator(_as_approval)]] = Field({})
    expect: Expected = Expected()

    def printed(self, step: str, written: list[Any]) -> tuple[Printed, ...]:
        """The answers of a command. Raises InvalidInput where they are none."""
        try:
            return tuple(Printed.model_validate({"stdout": each} if isinstance(each, str) else each) for each in written)
        except ValidationError:
            raise InvalidInput(
                f"case `{self.name}`: the answer of command `{step}` is text, or `stdout`, `stderr`, `exit_code`, `item`, `round`"
            ) from None


class Cases(Model):
    cases: FilledListOf[Case]


def read_cases(source: bytes, file: str) -> tuple[Case, ...]:
    """The cases of a file. Raises InvalidInput with every problem and its place."""
    loaded = document.load(source, file)
    try:
        cases = Cases.model_validate(loaded.data).cases
    except ValidationError as error:
        raise InvalidInput(_problem(loaded, each) for each in error.errors(include_url=False)) from None
    names = [case.name for case in cases]
    twice = next((index for index, name in enumerate(names) if name in names[:index]), None)
    if twice is not None:
        raise InvalidInput(Problem(f"two cases are called `{names[twice]}`", loaded.location(("cases", twice, "name"))))
    return cases


def _problem(loaded: document.Document, found: Any) -> Problem:
    path = tuple(part for part in found["loc"] if part != "function-before")
    if found["type"] == "extra_forbidden":
        known = [*Case.model_fields, *Expected.model_fields, *Approval.model_fields]
        return Problem(f"unknown key `{path[-1]}`", loaded.location(path, key=True), did_you_mean(str(path[-1]), known))
    if found["type"] == "missing":
        return Problem(f"`{path[-1]}` is missing", loaded.location(path[:-1]))
    message = found["msg"][:1].lower() + found["msg"][1:]
    return Problem(f"`{path[-1]}`: {message}" if path else f"a file of cases is a mapping with `cases`: {message}", loaded.location(path))
