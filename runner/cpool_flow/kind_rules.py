"""Which keys mean something to which kind of step: what a step does not do, it cannot be told how to do.

Asks one step at a time. What the values of keys may be is `step_rules.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cpool_flow import model
from cpool_flow.findings import Findings
from cpool_flow.nodes import Path
from cpool_flow.outputs import path_keys
from cpool_flow.slots import NO_SLOT

# Of every step, whatever it does.
ANY = frozenset({"name", "description", "needs", "join", "when", "on_failure"})
FAN_OUT = frozenset({"foreach", "matrix", "as", "filter", "limit", "max_items", "max_parallel", "fail_fast"})
ISOLATION = frozenset({"isolation", "merge", "setup"})
# Of what holds steps: how an item is merged, and mended where it cannot be.
OF_MERGE = frozenset({"verify", "recovery_prompt", "recoveries", "config", "profile"})
# What those take that execute nothing themselves, beside the key that says what they do.
TAKEN = {
    "steps": ANY | FAN_OUT | ISOLATION | {"repeat"},
    "workflow": ANY | FAN_OUT | ISOLATION | {"repeat", "with"},
    "approve": ANY | FAN_OUT | {"output", "output_schema", "output_vars"},
    "end": ANY | {"reason"},
}
_WHAT = {
    "steps": "a group: give it to the steps in it",
    "workflow": "a sub-workflow: its own file says it",
    "approve": "an approval: nothing is executed",
    "end": "the end of a run: nothing is executed",
}
_RUN = ("stdin", "shell", "ok_codes")
_FIELDS = {"as": "as_", "with": "with_"}


def check_keys(step: model.Step, path: Path, findings: Findings) -> None:
    """Note every key that means nothing to the step, and those that contradict each other."""
    for key, where in _refused(step):
        if _FIELDS.get(key, key) in step.model_fields_set:
            findings.error((*path, key), f"`{key}` means nothing to {where}", key=True)
    if step.foreach is not None and step.matrix is not None:
        findings.error((*path, "matrix"), "a step has either `foreach` or `matrix`", key=True, help="a matrix of one list is a `foreach`")
    if step.output_schema is not None and step.output == "text":
        findings.error((*path, "output"), "`output: text` contradicts `output_schema`, which reads the output as JSON")
    if step.output == "text" and any(map(_reads_json, (step.output_vars or {}).values())):
        findings.error((*path, "output"), "`output: text` contradicts `output_vars`, whose paths read the output as JSON")


def _refused(step: model.Step) -> Iterator[tuple[str, str]]:
    kind = step.kind
    if kind in TAKEN:
        all_keys = (field.alias or name for name, field in model.Step.model_fields.items())
        taken = TAKEN[kind] | (OF_MERGE if step.isolated and step.merge != "none" else frozenset())
        yield from _each((key for key in all_keys if key not in taken and key != kind), _WHAT[kind])
        if step.isolated and step.recovery_prompt is None:
            yield from _each(("recoveries", "config", "profile"), "a group without `recovery_prompt`: it has no agent")
    else:
        yield from _each(("reason",), "a step that does not end the run: it belongs to `end`")
        yield from _each(() if step.skill is not None else ("with",), "a step without `skill` or `workflow`")
        yield from _of_work(step)
    if not step.isolated:
        yield from _each(("merge", "setup"), "a step without `isolation: worktree`")
    if not step.fans_out:
        gives_up = {"fail_fast"} if step.join == "any" else set()  # the needs that it does not wait for
        yield from _each(FAN_OUT - {"foreach", "matrix"} - gives_up, "a step without `foreach` or `matrix`")
    elif step.matrix is not None:
        yield from _each(("as",), "a matrix: the combination is called `matrix`")


def _of_work(step: model.Step) -> Iterator[tuple[str, str]]:
    """What a command takes and an agent does not, and the other way round."""
    if step.is_agent:
        yield from _each(_RUN, "an agent step: it belongs to `run`")
        yield from _each(("slot",) if step.slot == NO_SLOT else (), "an agent step: `slot: none` is for a trivial `run`")
    else:
        yield from _each(("session",), "a `run` step: it holds no conversation")
    if not step.is_agent and step.recovery_prompt is None:
        yield from _each(("config", "profile", "allow_denials"), "a `run` step without `recovery_prompt`: it has no agent")
    if step.recovery_prompt is None:
        yield from _each(("recoveries",), "a step without `recovery_prompt`")
    if isinstance(step.run, tuple):
        yield from _each(("shell",), "a `run` list: it is executed without a shell")


def _each(keys: Iterable[str], where: str) -> Iterator[tuple[str, str]]:
    return ((key, where) for key in keys)


def _reads_json(variable: str | model.OutputVariable) -> bool:
    try:
        return bool(path_keys(variable if isinstance(variable, str) else variable.path))
    except ValueError:
        return False  # told where it stands
