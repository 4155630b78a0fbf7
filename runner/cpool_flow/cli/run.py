"""`run` and `resume`: both are a coordinator that works on a run, in front or detached."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from math import inf
from typing import Any

import click

from cpool_flow.cli.decisions import chosen_decisions
from cpool_flow.cli.detached import start_detached_run
from cpool_flow.cli.json_output import print_json
from cpool_flow.cli.outcome import exit_code
from cpool_flow.cli.project import find_run, places, project_directory, project_of_runs
from cpool_flow.errors import InvalidInput, OperationFailed, Problem, did_you_mean, printable
from cpool_flow.journal import Recorded
from cpool_flow.model import AGENTS, LATER_AGENTS, parse_positive_duration
from cpool_flow.run_folder import RunFolder
from cpool_flow.spending import dollars
from cpool_flow.state import State

LATER_OPTIONS = ("pool", "record", "trust", "allow-untrusted-checkout")


class Duration(click.ParamType[float]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            seconds = parse_positive_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return seconds


class Dollars(click.ParamType[float]):
    name = "US dollars"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            usd = float(str(value).strip().removeprefix("$"))
        except ValueError:
            self.fail(f"`{printable(str(value))[:40]}` is no amount of US dollars, such as 2.50", param, ctx)
        if not 0 < usd < inf:
            self.fail("a budget is more than zero US dollars", param, ctx)
        return usd


class Agent(click.ParamType[str]):
    name = "agent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value in LATER_AGENTS:
            self.fail(f"agent `{value}` is not supported by this version", param, ctx)
        if value not in AGENTS:
            self.fail(
                f"no agent `{value}`{f', {near}' if (near := did_you_mean(value, AGENTS)) else ''}; known are {', '.join(AGENTS)}",
                param,
                ctx,
            )
        return value


@dataclass(frozen=True)
class Manner:
    """How a run is followed: what is printed, whether it is left alone, how long it stays when only a person, or the end of a usage
    limit, can go on (seconds)."""

    quiet: bool
    as_events: bool
    as_json: bool
    detach: bool
    wait_max: float | None
    auto_approve: bool
    stay: bool

    @property
    def has_person(self) -> bool:
        """Whether somebody sits at a terminal, and can be asked."""
        return sys.stdin.isatty() and sys.stderr.isatty() and not (self.as_json or self.as_events or self.quiet or os.environ.get("CI"))

    @property
    def patience_seconds(self) -> float:
        return self.wait_max if self.wait_max is not None else inf if self.stay or self.has_person else 0.0

    @property
    def limit_patience_seconds(self) -> float:
        return inf if self.wait_max is None else self.wait_max


def manner_of(options: dict[str, Any]) -> Manner:
    """Takes its options out of those of a command. Raises InvalidInput."""
    manner = Manner(**{field.name: options.pop(field.name) for field in fields(Manner)})
    if manner.as_json and manner.as_events:
        raise InvalidInput("`--json` and `--events` both want stdout", help="choose one")
    if manner.detach and manner.as_events:
        raise InvalidInput("`--detach` leaves before there are events", help="follow them with `cpool-flow events RUN -f`")
    return manner


def _refuse_later(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    if value not in (None, False):
        raise click.BadParameter("is not supported by this version", ctx, param)


def _later(command: Any) -> Any:
    """Options of later versions are refused by name, never unknown."""
    for name in LATER_OPTIONS:
        flag = name == "allow-untrusted-checkout"
        command = click.option(f"--{name}", hidden=True, is_flag=flag, callback=_refuse_later, expose_value=False, default=None)(command)
    return command


def output_options(command: Any) -> Any:
    """The options of a command that follows a run."""
    for option in (
        click.option("--quiet", "-q", is_flag=True, help="Errors and outputs only."),
        click.option("--events", "as_events", is_flag=True, help="Events as JSON lines on stdout."),
        click.option("--json", "as_json", is_flag=True, help="The result as one JSON document on stdout."),
        click.option("--detach", is_flag=True, help="Start, print the run's id, and leave it running."),
        click.option(
            "--wait-max", type=Duration(), metavar="T", help="How long to stay when only a person, or the end of a usage limit, can go on."
        ),
        click.option("--auto-approve", is_flag=True, help="Say yes to every step that asks for approval."),
        click.option("--stay", is_flag=True, hidden=True),
    ):
        command = option(command)
    return command


@click.command("run", short_help="Start a run and follow it to its end.")
@click.argument("workflow", metavar="FILE|NAME")
@click.option("-a", "--arg", "arguments", multiple=True, metavar="K=V", help="An argument: K=TEXT, K=@FILE, K:=JSON.")
@click.option("--args-file", metavar="FILE", help="Arguments from a YAML or JSON file; `-` is stdin.")
@click.option("--slots", type=click.IntRange(1, 1000), help="How much runs at once.")
@click.option("--budget", type=Dollars(), metavar="USD", help="Most US dollars that the run may spend.")
@click.option("--allow-unpriced", is_flag=True, help="With a budget: also agents whose cost nobody knows.")
@click.option("--timeout", type=Duration(), metavar="T", help="Time of the whole run, such as 30m.")
@click.option("--agent", type=Agent(), metavar="NAME", help="This agent in place of every other.")
@click.option("--isolation", type=click.Choice(["none", "worktree"]), help="Where steps work.")
@click.option("--only", metavar="STEP", help="Only this step, and `finally`.")
@click.option("--run-id", metavar="ID", help="An id of your own.")
@click.option("--tag", "tags", multiple=True, metavar="T", help="Kept with the run; may be given again.")
@output_options
@_later
@click.pass_obj
def run_command(project: str | None, /, workflow: str, **options: Any) -> int:
    """Start a run of a workflow and follow it to its end.

    \b
    cpool-flow run hello
    cpool-flow run review.yaml --arg pr=42 --arg depth=deep
    """
    from cpool_flow import start

    manner = manner_of(options)
    directory = project_directory(project)
    settings = start.Options(
        arguments=options["arguments"],
        args_file=options["args_file"],
        slots=options["slots"],
        timeout_seconds=options["timeout"],
        budget_usd=options["budget"],
        allow_unpriced=options["allow_unpriced"],
        agent=options["agent"],
        isolation=options["isolation"],
        run_id=options["run_id"],
        tags=options["tags"],
        only=options["only"],
        home=project_of_runs(project),
    )
    prepared = start.prepare(workflow, directory, places(directory), settings, os.environ)
    folder = start.create(prepared, settings.home or directory)
    return work_on(folder, manner, starting=True, warn=partial(_warn, prepared.warnings, manner.quiet))


@click.command("resume", short_help="Go on with a run after a crash, a cancel or a failure.")
@click.argument("run", default="last")
@click.option("--decide", "decisions", multiple=True, metavar="STEP=rerun|skip|fail", help="What to do with a step that may have happened.")
@click.option("--budget", type=Dollars(), metavar="USD", help="Another budget of the run; what it has spent counts.")
@click.option("--starting", is_flag=True, hidden=True)
@output_options
@click.pass_obj
def resume_command(
    project: str | None, /, run: str, decisions: tuple[str, ...], budget: float | None, starting: bool, **options: Any
) -> int:
    """Go on with a run: finished steps are not run again, failed ones are.

    A run that succeeded is left as it is. The arguments stay those that it was started with.
    """
    manner = manner_of(options)
    return work_on(find_run(project, run), manner, starting=starting, decisions=decisions, budget_usd=budget)


def _warn(warnings: Sequence[Problem], quiet: bool) -> None:
    if warnings and not quiet:
        from cpool_flow.cli.complain import sources
        from cpool_flow.errors import render_problems

        print(render_problems(warnings, sources(tuple(warnings))), file=sys.stderr)


def work_on(
    folder: RunFolder,
    manner: Manner,
    *,
    starting: bool,
    decisions: tuple[str, ...] = (),
    budget_usd: float | None = None,
    warn: Callable[[], None] = lambda: None,
) -> int:
    """Work on a run, or leave it to a coordinator of its own; the exit code. `warn` says what there is to say before the first step."""
    from cpool_flow import coordinator, history
    from cpool_flow.cli.person import Person, nobody
    from cpool_flow.cli.progress import PlainProgress

    run = history.read(folder)
    if run.state.status == "success":
        # Where nothing is left to do, nothing is needed for it: no secret, no lock.
        if not manner.quiet:
            print(f"nothing to do: run {folder.run_id} has succeeded", file=sys.stderr)
        _print_result(folder, run, manner)
        return 0
    chosen = chosen_decisions(decisions, run.state)
    _check_budget(budget_usd, run.state)
    if manner.detach:
        warn()
        return start_detached_run(folder, starting, _handed_on(manner, decisions, budget_usd), manner.as_json)
    progress = PlainProgress(quiet=manner.quiet)
    person = Person(folder, run.inputs) if manner.has_person else None

    def began(state: State) -> None:
        progress.head(state, resumed=not starting)
        warn()
        if manner.as_events and starting:
            _print_events(history.recorded(folder))

    def follow(recorded: Sequence[Recorded], state: State) -> None:
        if manner.as_events:
            _print_events(recorded)
        progress.follow(recorded, state)
        if person is not None:
            person.follow(state)

    wishes = coordinator.Wishes(
        starting=starting,
        decisions=chosen,
        began=began,
        heartbeat=progress.heartbeat,
        patience_seconds=manner.patience_seconds,
        limit_patience_seconds=manner.limit_patience_seconds,
        budget_usd=budget_usd,
        auto_approve=manner.auto_approve,
        listen=person.listen if person is not None else nobody,
    )
    try:
        state = coordinator.coordinate(folder, run.inputs, os.environ, follow, wishes)
    except OperationFailed as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        print(
            f"help: once that is mended, go on with `cpool-flow resume {folder.run_id}`; nothing that has finished is lost", file=sys.stderr
        )
        return error.exit_code
    progress.summary(state)
    _print_result(folder, history.Run(folder, run.inputs, state), manner)
    return exit_code(state)


def _check_budget(budget_usd: float | None, state: State) -> None:
    """Raises InvalidInput where a new budget of a run is spent already."""
    spent = state.spending.spent_usd
    if budget_usd is not None and budget_usd <= spent:
        raise InvalidInput(
            f"`--budget {budget_usd:g}` is the budget of the whole run, which has spent {dollars(spent)} already", help="give it more"
        )


def _print_events(recorded: Iterable[Recorded]) -> None:
    """Who reads them may go: the run goes on without."""
    from cpool_flow.cli.history import event_document

    try:
        for entry in recorded:
            print_json(event_document(entry.seq, entry.at, entry.event), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_result(folder: RunFolder, run: Any, manner: Manner) -> None:
    if manner.as_json:
        print_json(run.document())
    elif not manner.as_events and run.state.outputs:
        from cpool_flow.cli.output_text import print_output

        for name, value in json.loads(folder.load(run.state.outputs)).items():
            print_output(name, value)


def _handed_on(manner: Manner, decisions: tuple[str, ...], budget_usd: float | None) -> list[str]:
    """The options of the coordinator that is left behind. Nobody sees its exit code, so it stays for a person however long, unless
    told otherwise."""
    waits = [] if manner.wait_max is None else ["--wait-max", f"{manner.wait_max:.3f}s"]
    approves = ["--auto-approve"] if manner.auto_approve else []
    budget = [] if budget_usd is None else ["--budget", repr(budget_usd)]
    return [*(waits or ["--stay"]), *approves, *budget, *(word for decision in decisions for word in ("--decide", decision))]
