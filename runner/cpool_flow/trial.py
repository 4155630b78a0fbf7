"""Runs a case of a workflow in a scratch folder, with a scripted agent, stand-ins for commands, and answers of people.

No model, no key. The scratch folder holds what git knows of the project (its files as they are now), under git, and goes at the end.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from cpool_flow import coordinator, history, mixed_answers, start
from cpool_flow.cases import Case
from cpool_flow.dataclass import dataclass
from cpool_flow.errors import InvalidInput, OperationFailed, Problem, did_you_mean
from cpool_flow.inputs import WorkflowCopy
from cpool_flow.journal import Recorded
from cpool_flow.lookup import Searched
from cpool_flow.plan import Plan, PlannedStep
from cpool_flow.process import Command, run_to_end
from cpool_flow.state import State
from cpool_flow.tasks import task_names

_STAND_IN = (sys.executable, "-I", "-S", str(Path(__file__).with_name("stand_in.py")))
# An error shows the head of a command: how much of this one is seen depends on where Python and we are installed.
_STAND_IN_SHOWN = re.compile(rf"`{re.escape(' '.join(_STAND_IN)[:60])}[^`]*`")
_SCRIPT = "answers.yaml"


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of a case. `differences` is empty where it came out as expected."""

    case: Case
    status: str
    differences: tuple[str, ...]


def try_case(case: Case, workflow: Path, project: Path, places: Searched, environment: Mapping[str, str]) -> Trial:
    """Run one case of the workflow file. Raises InvalidInput where the workflow or the case cannot be run at all."""
    with tempfile.TemporaryDirectory(prefix="cpool-flow-test-") as folder, _inside(Path(folder) / "project"):
        scratch = Path.cwd()
        inside = _copy_project(project, workflow, scratch, environment)
        _write_files(case.files, scratch)
        _commit(scratch, environment)
        own = {**environment, **case.env, "XDG_STATE_HOME": str(Path(folder) / "state")}
        options = start.Options(
            arguments=tuple(f"{name}:={json.dumps(value)}" for name, value in case.args.items()),
            agent="scripted",
            worktrees=str(Path(folder) / "worktrees"),
        )
        home = scratch if inside is not None else project
        prepared = start.prepare(str(inside or workflow.resolve()), home, places, options, own, starting=False)
        prepared = _with_answers(prepared, case, Path(folder) / "printed.json")
        run_folder = start.create(prepared, scratch, {})
        person = _Person(case)
        state = coordinator.coordinate(
            run_folder, prepared.inputs, own, person.follow, coordinator.Wishes(starting=True, listen=person.listen, notify=False)
        )
        document = history.Run(run_folder, prepared.inputs, state).document()
        return Trial(case, state.status, tuple(_differences(case, state, document)))


# ---- the scratch folder -------------------------------------------------------------------------------------


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    folder.mkdir()
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _git(directory: Path, environment: Mapping[str, str], *arguments: str) -> bytes:
    identity = (
        "-c",
        "user.name=cpool-flow",
        "-c",
        "user.email=cpool-flow@localhost",
        "-c",
        "commit.gpgSign=false",
        "-c",
        "core.hooksPath=",
    )
    ended = run_to_end(Command(("git", *identity, *arguments), str(directory), environment), timeout_seconds=120)
    if ended.code != 0:
        raise OperationFailed(f"git {arguments[0]}: {ended.stderr.decode('utf-8', 'replace').strip()[-500:]}")
    return ended.stdout


def _copy_project(project: Path, workflow: Path, scratch: Path, environment: Mapping[str, str]) -> Path | None:
    """The files that git knows or would take, as they are now. Where the workflow stands in the copy; None where it is not in it."""
    try:
        listed = _git(project, environment, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    except OperationFailed:
        return None
    for name in filter(None, listed.decode("utf-8", "surrogateescape").split("\0")):
        source, target = project / name, scratch / name
        if source.is_symlink() or source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    try:
        inside = scratch / workflow.resolve().relative_to(project.resolve())
    except ValueError:
        return None
    return inside if inside.is_file() else None


def _write_files(files: Mapping[str, str], scratch: Path) -> None:
    for name, text in files.items():
        target = (scratch / name).resolve()
        if not target.is_relative_to(scratch.resolve()):
            raise InvalidInput(f"`files`: `{name}` is outside of the project")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", newline="")


def _commit(scratch: Path, environment: Mapping[str, str]) -> None:
    _git(scratch, environment, "init", "-q")
    _git(scratch, environment, "add", "-A")
    _git(scratch, environment, "commit", "-q", "--allow-empty", "-m", "the project as it is tried")


# ---- answers ------------------------------------------------------------------------------------------------


def _with_answers(prepared: start.Prepared, case: Case, answers: Path) -> start.Prepared:
    """The run with the answers of the case in place of agents and of the commands that it names. `answers`: a file for the latter.
    Raises InvalidInput."""
    known = dict(_executing(prepared.inputs.plan))
    meant = {name: known.get(task_names(name, name)[1]) for name in case.answers}
    unknown = [name for name, step in meant.items() if step is None]
    if unknown:
        near = did_you_mean(unknown[0], known)
        raise InvalidInput(
            Problem(f"case `{case.name}` answers for step `{unknown[0]}`, which executes nothing or does not exist", hint=near)
        )
    run_steps = {name for name, step in meant.items() if step is not None and step.step.run is not None}
    agents = {name: mixed_answers.of_agent(answer) if name in run_steps else answer for name, answer in case.answers.items()}
    script = json.dumps({"steps": {name: answer for name, answer in agents.items() if answer != []}}).encode()
    answered = {name: mixed_answers.of_command(case.answers[name]) for name in run_steps}
    printed = {name: [each.model_dump() for each in case.printed(name, answer)] for name, answer in answered.items() if answer}
    answers.write_text(json.dumps(printed), encoding="utf-8")
    stand_ins = {step.name for name, step in meant.items() if step is not None and name in printed}
    copies = {key: _answered(copy, stand_ins, answers) for key, copy in prepared.inputs.copies.items()}
    pool = replace(prepared.inputs.pool, data=_without_agents(prepared.inputs.pool.data))
    return replace(prepared, inputs=replace(prepared.inputs, copies=copies, pool=pool), copies={**prepared.copies, _SCRIPT: script})


def _executing(plan: Plan, path: str = "") -> Iterator[tuple[str, PlannedStep]]:
    """The steps that execute something, by what a case may call them: name, and path where they are inside of others."""
    for step in plan:
        own = f"{path}{step.name}"
        if step.executes:
            yield from ((name, step) for name in dict.fromkeys((step.name, own)))
        if step.inner is not None:
            yield from _executing(step.inner, f"{own}/")


def _answered(copy: WorkflowCopy, commands: set[str], answers: Path) -> WorkflowCopy:
    data = _without_agents(copy.data)
    data["config"] = {**data.get("config", {}), "agent": "scripted", "script": _SCRIPT}
    for key in ("steps", "finally"):
        if key in data:
            data[key] = [_answered_step(step, commands, answers, number) for number, step in enumerate(data[key], 1)]
    return replace(copy, data=data, files={**copy.files, _SCRIPT: _SCRIPT})


def _answered_step(step: dict[str, Any], commands: set[str], answers: Path, number: int) -> dict[str, Any]:
    changed = _without_agent(step)
    if "steps" in step:
        changed["steps"] = [_answered_step(inside, commands, answers, each) for each, inside in enumerate(step["steps"], 1)]
    name = step.get("name", f"step_{number}")
    if "run" in step and name in commands:
        item = step.get("as", "item") if "foreach" in step else "matrix" if "matrix" in step else None
        shown = f"{{{{ {item} | tojson }}}}" if item else "null"
        changed["run"] = [*_STAND_IN, str(answers), name, "{{ attempt }}", shown, "{{ iteration | default(1) }}"]
        changed.pop("shell", None)
    return changed


def _without_agents(data: Mapping[str, Any]) -> dict[str, Any]:
    """A workflow or a pool file whose profiles and slots name no agent: the scripted one stands in for all."""
    changed = dict(data)
    if "profiles" in data:
        changed["profiles"] = {name: _without_agent({"config": profile})["config"] for name, profile in data["profiles"].items()}
    if isinstance(data.get("slots"), list):
        changed["slots"] = [_without_agent(slot) for slot in data["slots"]]
    return changed


def _without_agent(holder: Mapping[str, Any]) -> dict[str, Any]:
    """A step or a slot, without what its settings say of the agent."""
    config = {key: value for key, value in holder.get("config", {}).items() if key not in ("agent", "script", "command", "recording")}
    return {**holder, "config": config} if "config" in holder else dict(holder)


class _Person:
    """Gives the approvals of a case as soon as they are asked for."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._say: coordinator.Say | None = None
        self._answered: set[str] = set()

    @contextmanager
    def listen(self, say: coordinator.Say) -> Iterator[None]:
        self._say = say
        yield

    def follow(self, recorded: Sequence[Recorded], state: State) -> None:
        for task in state.approvals:
            approvals = self._case.approvals
            names = task_names(task, state.steps[state.tasks[task].step].plan.name)
            approval = next((approvals[name] for name in names if name in approvals), None)
            if approval is not None and self._say is not None and task not in self._answered:
                self._answered.add(task)
                words = {"answer": approval.answer, "reason": approval.reason, "by": "the case"}
                self._say(task, words | ({"reject": "yes"} if approval.reject else {}))


# ---- what came of it ----------------------------------------------------------------------------------------


def _differences(case: Case, state: State, document: Mapping[str, Any]) -> list[str]:
    """What is not as expected, then what has failed: mostly that is why."""
    found = list(_unexpected(case, state, document))
    return [*found, *_failures(state)] if found else []


def _unexpected(case: Case, state: State, document: Mapping[str, Any]) -> Iterator[str]:
    expect = case.expect
    if state.status != expect.status:
        yield f"status: expected {expect.status}, got {state.status}{f' ({state.reason})' if state.reason else ''}"
    for name, status in expect.steps.items():
        found = state.tasks.get(name) or state.steps.get(name)
        if found is None:
            yield f"step `{name}`: expected {status}, but the run has no such step"
        elif found.status != status:
            yield f"step `{name}`: expected {status}, got {found.status}{f' ({found.reason})' if found.reason else ''}"
    for name, value in expect.outputs.items():
        if name not in document["outputs"]:
            yield f"output `{name}`: expected {_shown(value)}, but there is none"
        elif document["outputs"][name] != value:
            yield f"output `{name}`: expected {_shown(value)}, got {_shown(document['outputs'][name])}"
    if expect.error is not None and expect.error not in (document["error"] or ""):
        yield f"error: expected one that holds {_shown(expect.error)}, got {_shown(document['error'])}"


def _failures(state: State) -> Iterator[str]:
    for step in state.failed_steps():
        told = step.error or next((task.error for task in step.tasks if task.status == "failed"), "")
        told = _STAND_IN_SHOWN.sub("its answer", told)  # the command is one that nobody has written
        yield f"step `{step.id}` failed: {told.strip().splitlines()[0] if told.strip() else step.reason}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 300 else f"{text[:300]}…"
