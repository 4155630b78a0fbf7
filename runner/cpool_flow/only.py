"""`run --only STEP`: whether a step can run without the others, and what that means for them. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from cpool_flow import events, model
from cpool_flow.errors import InvalidInput, Problem, did_you_mean, listed
from cpool_flow.findings import Findings
from cpool_flow.nodes import Path
from cpool_flow.order import Order, Placed, read_order
from cpool_flow.plan import Plan
from cpool_flow.references import references_in
from cpool_flow.tasks import NOT_CHOSEN
from cpool_flow.validate import Checked


def check_only(name: str, checked: Checked) -> tuple[str, ...]:
    """The steps that are left out. Raises InvalidInput where there is no such step, or where it reads what others would have left."""
    findings = Findings(checked.document)
    order = read_order(checked.workflow, findings)
    known = [placed.name for placed in order.top.steps.values() if not placed.is_last]
    chosen = order.top.steps.get(name)
    if chosen is None or chosen.is_last:
        raise _no_step(name, chosen, order, known)
    missing = dict(_missing(chosen, order, checked.workflow, findings))
    if missing:
        raise InvalidInput(
            [
                Problem(
                    f"`--only {name}`: {what} is missing, for step `{source}` does not run",
                    checked.document.location(path),
                    help="run the whole, or say what holds without it: `| default(…)`",
                )
                for (what, source), path in missing.items()
            ]
        )
    return tuple(each for each in known if each != name)


def leave_out(plan: Plan, name: str) -> list[events.StepClosed]:
    """The facts by which all other steps are skipped. `finally` runs whatever happened."""
    return [events.StepClosed(step.name, "skipped", NOT_CHOSEN) for step in plan.phase("main") if step.name != name]


def _no_step(name: str, chosen: Placed | None, order: Order, known: list[str]) -> InvalidInput:
    if chosen is not None:
        return InvalidInput(
            f"`--only {name}`: `{name}` is in `finally`, which runs at the end of every run", help=f"a step of {listed(known)}"
        )
    inside = next((placed for placed in order.all if placed.name == name.rpartition("/")[2] and placed.around is not None), None)
    if inside is not None:
        whole = list(inside.outwards())[-1].name
        return InvalidInput(f"`--only {name}`: it is a part of step `{whole}`, which can run only as a whole", help=f"--only {whole}")
    hint = did_you_mean(name, known)
    return InvalidInput(
        Problem(f"`--only {name[:80]}`: there is no such step", hint=hint, help=None if hint else f"there are {listed(known)}")
    )


def _missing(chosen: Placed, order: Order, workflow: model.Workflow, findings: Findings) -> Iterator[tuple[tuple[str, str], Path]]:
    """What texts of the step read of others, and where: (what, whose) → its path in the file."""
    inside = [placed for placed in order.all if chosen in placed.outwards()]
    for path, reference, reader in reversed(references_in(workflow, inside, findings)):
        source = _source(reference.path, reader, order)
        if source is not None and not reference.guarded and chosen not in source.outwards():
            yield (f"`{'.'.join(reference.path)}`", source.name), path
    for placed in inside:
        session = placed.step.session
        name = (session.continue_ or session.fork) if isinstance(session, model.Session) else None
        source = order.names(placed).get(name or "")
        if source is not None and chosen not in source.outwards():
            yield ("the session", source.name), (*placed.path, "session")


def _source(path: tuple[str, ...], reader: Placed, order: Order) -> Placed | None:
    """The step that a reference is about."""
    if path[0] == "previous":
        return reader.level.steps[reader.needs[0]]
    return order.names(reader).get(path[1]) if path[0] == "steps" and len(path) > 1 else None
