"""A run as the runner of GitHub Actions is told of it, from the first line to the files that later steps read.

Joins the run's journal to `actions.py`; decides what is worth an annotation, and what the outputs of the job's step are.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from cpool_flow import events
from cpool_flow.cli.actions import GRACE_SECONDS, RunnerLog, annotate, append, fitting, room_for_summary
from cpool_flow.cli.summary import approve_command, failure_lines
from cpool_flow.errors import OperationFailed, Problem
from cpool_flow.history import Run
from cpool_flow.inputs import Inputs, hidden_values
from cpool_flow.journal import Recorded
from cpool_flow.plan_document import plan_document
from cpool_flow.run_folder import RunFolder
from cpool_flow.secrets import present_secrets
from cpool_flow.setup import log_name
from cpool_flow.state import State
from cpool_flow.step_summary import report
from cpool_flow.tasks import Attempt, StepState, Task

REPORT = "report.md"
# Of one value in the output `outputs`; the whole of a longer one is in a file.
MOST_VALUE_CHARACTERS = 100_000


class ActionsRun:
    """Follows one run. `stream` is the one to which all goes."""

    grace_seconds = GRACE_SECONDS

    def __init__(self, folder: RunFolder, inputs: Inputs, stream: TextIO, environment: Mapping[str, str], *, quiet: bool) -> None:
        self._folder = folder
        self._inputs = inputs
        self._stream = stream
        self._environment = environment
        self._log = RunnerLog(stream, quiet=quiet)

    def mask(self) -> None:
        """Cover the secrets, before anything of the run is printed."""
        declared = present_secrets(self._inputs.secrets, self._environment)
        self._log.mask(hidden_values(self._inputs, declared, self._environment).values())

    def follow(self, recorded: Sequence[Recorded], state: State) -> None:
        """The log of what has ended."""
        for entry in recorded:
            match entry.event:
                case events.AttemptFinished() as finished:
                    task = state.tasks[finished.task]
                    attempt = task.attempts[finished.number - 1]
                    self._log.show(_title(task, attempt), self._logs(state.steps[task.step], attempt))
                case events.SetupFinished():
                    self._log.show("setup", self._setup_logs())

    def hand_on(self, run: Run) -> list[Problem]:
        """Write outputs and summary. What could not be written; a warning where nobody depends on it."""
        document = run.document()
        plan = plan_document(self._inputs, "")
        told = [(self._hand_on(document), False), (self._keep_report(document, plan), True), (self._summarize(document, plan), True)]
        return [Problem(complaint, warning=warning) for complaint, warning in told if complaint]

    def annotate(self, run: Run) -> None:
        """Show what failed beside the lines of its file."""
        annotate(list(problems(run.state, self._inputs)), self._stream)

    # ---- logs -----------------------------------------------------------------------------------------------

    def _logs(self, step: StepState, attempt: Attempt) -> Iterator[Path]:
        log = self._folder.logs / attempt.started.log
        yield log
        verify = step.plan.step.verify or ()
        for number in range(1, 1 + (1 if isinstance(verify, str) else len(verify))):
            yield log.with_suffix(f".verify{'' if number == 1 else f'-{number}'}.log")

    def _setup_logs(self) -> Iterator[Path]:
        setup = self._inputs.workflow.setup or ()
        for number in range(1, 1 + (1 if isinstance(setup, str) else len(setup))):
            yield self._folder.logs / log_name(number)

    # ---- files ----------------------------------------------------------------------------------------------

    def _keep_report(self, document: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
        try:
            (self._folder.path / REPORT).write_text(report(document, plan), encoding="utf-8", errors="replace")
        except OSError as error:
            return f"the report cannot be kept: {error.strerror}"
        return ""

    def _summarize(self, document: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
        file = self._environment.get("GITHUB_STEP_SUMMARY")
        return append(file, report(document, plan, room_for_summary(file)), "GITHUB_STEP_SUMMARY") if file else ""

    def _hand_on(self, document: Mapping[str, Any]) -> str:
        """The outputs of the job's step: of the workflow, and those about the run."""
        file = self._environment.get("GITHUB_OUTPUT")
        if not file:
            return ""
        try:
            text = fitting(self._outputs(document), self._kept, f"cpool_{secrets.token_hex(16)}")
        except OperationFailed as error:
            return str(error)
        return append(file, text, "GITHUB_OUTPUT")

    def _outputs(self, document: Mapping[str, Any]) -> dict[str, str]:
        """A workflow's own name wins, but in `action.yml`, which hands on only what is said of the run."""
        own = own_outputs(document, str(self._folder.path / REPORT))
        given = {name: _text(value) for name, value in document["outputs"].items()}
        all_of_them = {
            "outputs": json.dumps({name: self._cut(name, value) for name, value in document["outputs"].items()}, ensure_ascii=False)
        }
        if self._environment.get("CPOOL_ACTION") == "true":
            return {**own, **all_of_them}
        return {**own, **given, **(all_of_them if "outputs" not in given else {})}

    def _cut(self, name: str, value: Any) -> Any:
        """A value as the output `outputs` holds it."""
        text = _text(value)
        if len(text) <= MOST_VALUE_CHARACTERS:
            return value
        path = self._kept(name, text)
        return f"{text[:MOST_VALUE_CHARACTERS]}… (the whole is in {path})" if isinstance(value, str) else path

    def _kept(self, name: str, value: str) -> str:
        """The absolute path of a file of the run that holds a value."""
        path = self._folder.outputs / f"github.{name}.txt"
        try:
            self._folder.outputs.mkdir(exist_ok=True)
            path.write_text(value, encoding="utf-8", errors="replace", newline="")
        except OSError as error:
            raise OperationFailed(f"cannot write `{path}`: {error.strerror}") from error
        return str(path)


def own_outputs(document: Mapping[str, Any], report_path: str) -> dict[str, str]:
    """What is said of the run itself."""
    cost = document["cost_usd"]
    return {
        "run-id": document["run_id"],
        "status": document["status"],
        "branch": document["branch"] or "",
        "cost-usd": "" if cost is None else f"{cost:.6f}".rstrip("0").rstrip("."),
        "report": report_path,
    }


def problems(state: State, inputs: Inputs) -> Iterator[Problem]:
    """What is annotated at the end: each failed step at its place in the file, else why the run did not succeed."""
    failed = state.failed_steps()
    for step in failed:
        location = inputs.copies[step.plan.source].location(step.plan.path)
        passed = state.status == "success" or step.ended_well
        yield Problem("\n".join(failure_lines(step)), location, warning=passed)
    if state.status == "waiting" or (state.status == "failed" and all(step.ended_well for step in failed)):
        reason = state.reason or state.status
        yield Problem(reason if reason.startswith((state.status, "waits")) else f"{state.status}: {reason}", help=_what_to_do(state))


def _what_to_do(state: State) -> str:
    answers = [approve_command(state, task) for task in state.approvals]
    return " · then: ".join([*answers, f"cpool-flow resume {state.created.run_id if state.created else ''}"])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _title(task: Task, attempt: Attempt) -> str:
    number = attempt.started.number
    how = " (recovery)" if attempt.started.kind != "normal" else ""
    kind = attempt.finished.error_kind if attempt.finished else None
    return f"{task.id}{f' attempt {number}' if number > 1 else ''}{how} · {kind or 'success'}"
