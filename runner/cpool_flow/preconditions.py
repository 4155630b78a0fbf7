"""What a run needs of this machine, and what of it is missing: agents, secrets, git. Asked before anything of the run exists."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from itertools import product
from pathlib import Path

from cpool_flow.errors import InvalidInput, Problem
from cpool_flow.inputs import Inputs, WorkflowCopy
from cpool_flow.run_place import Isolation
from cpool_flow.secrets import check_secrets
from cpool_flow.validate import Checked


def check_expect(checked: Checked, taken: Inputs, isolation: Isolation) -> None:
    """What only git can tell must not be expected outside of it. Raises InvalidInput."""
    if isolation.repository is not None and not isolation.repository.bare:
        return
    problems = []
    for step in taken.plan:
        for key in ("changes", "commit"):
            if step.step.expect and getattr(step.step.expect, key) is not None:
                place = ("steps", step.position, "expect", key)
                if step.phase == "finally":
                    place = ("finally", step.position - len(taken.workflow.steps), "expect", key)
                message = f"`expect: {key}` of step `{step.name}` needs a git repository, and {taken.directory} is in none"
                problems.append(Problem(message, checked.document.location(place), help="run `git init`, or leave it out"))
    if problems:
        raise InvalidInput(problems)


def missing_secrets(declared: Iterable[str], environment: Mapping[str, str]) -> Iterable[Problem]:
    """What is wrong with the secrets that the files declare."""
    try:
        check_secrets(declared, environment)
    except InvalidInput as error:
        return error.problems
    return ()


def open_tokens(taken: Inputs, environment: Mapping[str, str]) -> list[Problem]:
    """In GitHub Actions, tokens that commands see which no step has named, where an agent may have written what they run."""
    if environment.get("GITHUB_ACTIONS") != "true" or not any(step.may_write for step in taken.plan.everything()):
        return []
    from cpool_flow.trust import is_write_token  # few runs get here

    found = [name for name in environment if is_write_token(name) and not name.startswith("ACTIONS_") and name not in taken.secrets]
    help = "declare it, `secrets: [{0}]`, and name it in the steps that need it"
    return [
        Problem(f"every command of the run sees `{name}`, also code that an agent has written", help=help.format(name), warning=True)
        for name in sorted(found)
    ]


def missing_agents(
    taken: Inputs,
    find_file: Callable[[WorkflowCopy, str, bool], Path],
    environment: Mapping[str, str],
    *,
    recording: str | None = None,
    done: Container[str] = (),
) -> Iterable[Problem]:
    """What stands in the way of the agents that steps ask for, but for those steps that are `done`. `find_file`: the file that a
    workflow, or `cpool.yaml` (true), names; `recording`: the one that stands in for every agent."""
    problems: list[Problem] = []
    seen = set()
    for step in (each for root in taken.plan if root.name not in done for each in root.everything()):
        if step.agent is None:
            continue
        copy = taken.copies[step.source]
        for agent, found in product((step.agent, *step.fallback), taken.possible_settings(step)):
            config = found.config.model_copy(update={"agent": agent})
            pooled = found.pooled & {"script", "recording"}
            key = (step.source, agent, config.script, config.recording, config.command, pooled)
            if key in seen:
                continue
            seen.add(key)
            for name in ("script", "recording"):
                named = getattr(config, name)
                if named is not None:
                    config = config.model_copy(update={name: str(find_file(copy, named, name in pooled))})
            if recording:
                config = config.model_copy(update={"recording": recording})
            try:
                taken.adapter(agent).check(config, environment)
            except InvalidInput as error:
                problems += error.problems
    return dict.fromkeys(problems)
