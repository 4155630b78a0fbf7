"""What is allowed and is rarely meant: warnings, for `validate` and the start of a run.

Asked only of workflows in which nothing is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cpool_flow import model, template
from cpool_flow.arguments import misspelt_keyword
from cpool_flow.findings import Findings
from cpool_flow.json_value import shown
from cpool_flow.nodes import Path
from cpool_flow.order import Order, Placed, is_race
from cpool_flow.permissions import may_write, only_edits
from cpool_flow.plan import join_of
from cpool_flow.references import references_in
from cpool_flow.slots import SlotPool

Skills = Mapping[str, model.AgentConfig]


def warn(
    workflow: model.Workflow, order: Order, used_arguments: frozenset[str], skills: Skills, findings: Findings, pool: SlotPool
) -> None:
    """Note the warnings of a valid workflow. `skills`: the settings of the skills that it uses, `pool`: those of the project."""
    for name, declaration in workflow.args.items():
        if name not in used_arguments:
            findings.error(("args", name), f"argument `{name}` is not used", key=True, warning=True)
        for keyword in declaration:
            if meant := misspelt_keyword(keyword):
                hint = f"did you mean `{meant}`?"
                findings.error(("args", name, keyword), f"`{keyword}` means nothing to JSON Schema", key=True, hint=hint, warning=True)
    writers = [placed for placed in order.all if may_write(placed.step, workflow, skills.get(placed.step.skill or ""), pool=pool)]
    writing = set(writers)
    if workflow.isolation == "none" and writers:
        message = f"step `{writers[0].name}` may change files, and `isolation: none` lets it work in your checkout"
        findings.error(("isolation",), message, help="`isolation: worktree` gives the run a place and a branch of its own", warning=True)
    _warn_of_numbers([("env",), ("config", "env"), ("config", "command")], findings)
    for placed in order.all:
        _warn_of_step(placed, findings)
        _warn_of_end(placed, findings)
        _warn_of_numbers([(*placed.path, *keys) for keys in (("env",), ("run",), ("config", "env"), ("config", "command"))], findings)
        if placed not in writing and (placed.step.is_agent or placed.step.recovery_prompt is not None):
            _warn_of_reader(placed, findings)
    if any(map(is_race, order.all)):
        for placed in order.all:
            _warn_of_race(placed, workflow, order, findings)
    for placed in writers:
        _warn_of_foreign_text(placed, order, findings)
        _warn_of_tokens(placed, order, findings)


def _warn_of_step(placed: Placed, findings: Findings) -> None:
    step = placed.step
    if step.when is False or (isinstance(step.when, str) and step.when.strip("{} ").lower() == "false"):
        findings.error((*placed.path, "when"), f"step `{placed.name}` never runs", warning=True)
    elif isinstance(step.when, str) and not template.parse_expression(step.when).references:
        message = f"the condition of step `{placed.name}` is the same in every run: no value stands in it"
        findings.error((*placed.path, "when"), message, warning=True)
    if step.foreach == ():
        findings.error((*placed.path, "foreach"), f"step `{placed.name}` never runs: the list is empty", warning=True)
    retries = step.retries if step.retries is not None else model.DEFAULT_AGENT_RETRIES if step.is_agent else 0
    if step.retry is not None and not retries:
        message = f"`retry` does nothing: step `{placed.name}` has no retries"
        findings.error((*placed.path, "retry"), message, key=True, help="say how many: `retries: 2`", warning=True)


def _warn_of_end(placed: Placed, findings: Findings) -> None:
    """A step that needs an `end` that always comes: by then the run has ended, or has failed before."""
    if placed.is_last:
        return  # nothing cuts `finally` short
    ends = [need for need in placed.needs if _always_ends(placed.level.steps[need].step)]
    join = join_of(placed.step, "main")
    if (join == "success" and ends) or (join == "any" and ends and len(ends) == len(placed.needs)):
        message = f"step `{placed.name}` never runs: the run ends with step `{ends[0]}`"
        findings.error(placed.path, message, help=f"give `{ends[0]}` a `when`", warning=True)


def _always_ends(step: model.Step) -> bool:
    return step.end is not None and step.when is None and not step.fans_out


def _warn_of_race(placed: Placed, workflow: model.Workflow, order: Order, findings: Findings) -> None:
    """Values of a step that may run on when this one begins, read as if it had ended: without `default`, or asking for its status."""
    found = references_in(workflow, [placed], findings)
    asked = {reference.path[1] for _, reference, _ in found if reference.path[0] == "steps" and reference.path[2:3] == ("status",)}
    names = order.names(placed)
    for path, reference, _ in found:
        if reference.path[0] != "steps" or reference.guarded or reference.path[1] in asked:
            continue
        source = names.get(reference.path[1])
        if source is None or source.shares_loop(placed) or not order.may_still_run(source, placed):
            continue
        message = f"step `{source.name}` may still run when step `{placed.name}` begins, and has no values then"
        help = f"`join: any` waits for one need only: write `default(…)`, or ask for the status of `{source.name}`"
        findings.error_in(path, reference.offset, reference.length, message, help=help, warning=True)


def _warn_of_numbers(places: Iterable[Path], findings: Findings) -> None:
    """Numbers where text is meant, if they are read otherwise than they are written: `3.10` is 3.1."""
    for place in places:
        values = _at(findings.document.data, place)
        for key, value in values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ():
            path: Path = (*place, key)
            if isinstance(value, (bool, int, float)) and (read := shown(value)) != (written := findings.document.source(path)):
                message = f"`{written}` is read as {read}"
                findings.error(path, message, help=f'quote it to keep it as it is: "{written}"', warning=True)


def _at(data: Any, path: Path) -> Any:
    for part in path:
        if not isinstance(data, (dict, list)):
            return None
        data = data.get(part) if isinstance(data, dict) else data[int(part)]
    return data


def _warn_of_reader(placed: Placed, findings: Findings) -> None:
    """A step whose agent may only read, and of which something is asked that takes more."""
    name = placed.name
    for path, message in _asked_of_reader(placed.step, f"step `{name}`"):
        help = "allow it to change files, as `config: {permission_mode: acceptEdits}`"
        findings.error((*placed.path, *path), message, help=help, warning=True)


def _asked_of_reader(step: model.Step, name: str) -> Iterator[tuple[Path, str]]:
    if not step.is_agent:
        yield ("recovery_prompt",), f"the recovery of {name} can mend nothing: its agent may not change files"
        return
    for key in ("changes", "commit"):
        if step.expect is not None and getattr(step.expect, key):
            yield ("expect", key), f"{name} cannot do what it is expected to: its agent may not change files"
    if step.verify is not None:
        yield ("verify",), f"`verify` of {name} can only find what was there before: its agent may not change files"
    for index, tool in enumerate((step.config and step.config.allowed_tools) or ()):
        if only_edits(tool):
            yield ("config", "allowed_tools", index), f"`{tool}` is allowed to {name} in vain: its mode, or what is disallowed, refuses it"


def _warn_of_foreign_text(placed: Placed, order: Order, findings: Findings) -> None:
    """Text from outside that reaches an agent which may write without being fenced."""
    from cpool_flow.foreign_text import agent_texts, is_foreign

    for path, text in agent_texts(placed):
        for reference in template.parse(text).references:
            if not reference.fenced and is_foreign(reference, placed, order):
                message = "text from outside reaches an agent that may change files"
                help = "fence it as data: `{{ … | untrusted }}`"
                findings.error_in(path, reference.offset, reference.length, message, help=help, warning=True)


def _warn_of_tokens(placed: Placed, order: Order, findings: Findings) -> None:
    """A token that may write, in the hands of an agent that may act and reads what strangers have written."""
    from cpool_flow.foreign_text import reads_foreign_text
    from cpool_flow.trust import is_write_token

    named = [(number, name) for number, name in enumerate(placed.step.secrets or ()) if is_write_token(name)]
    if named and reads_foreign_text(placed, order):
        for number, name in named:
            message = f"step `{placed.name}` hands `{name}` to an agent that may change files and reads text from outside"
            help = "let a `run` step of its own do what needs the token, with what the agent has answered"
            findings.error((*placed.path, "secrets", number), message, help=help, warning=True)
