"""`run` and `resume`: both are a coordinator that works on a run, in front or detached."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

import click

from cpool_flow.cli import completing
from cpool_flow.cli.json_output import print_json
from cpool_flow.cli.project import find_run, open_project, places, project_directory
from cpool_flow.cli.runner_stream import is_read_by_the_runner
from cpool_flow.dataclass import dataclass
from cpool_flow.errors import InvalidInput, OperationFailed, Problem, printable, render_problem

if TYPE_CHECKING:
    from cpool_flow.cli.actions_run import ActionsRun
    from cpool_flow.cli.follower import ProgressKind
    from cpool_flow.history import Run
    from cpool_flow.inputs import Inputs
    from cpool_flow.journal import Recorded
    from cpool_flow.run_folder import RunFolder
    from cpool_flow.state import State

LATER_OPTIONS = ("pool",)


class Duration(click.ParamType[float]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from cpool_flow.model import parse_positive_duration

        try:
            seconds = parse_positive_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return seconds


class Wait(Duration):
    """How long to wait: as long as that, or not at all."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from cpool_flow.model import parse_duration

        try:
            return 0.0 if value == "0" else parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


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


@dataclass(frozen=True)
class Manner:
    """How a run is followed: what is printed, whether it is left alone, how long it stays when only a person, or the end of a usage
    limit, can go on (seconds)."""

    progress: ProgressKind
    as_events: bool
    as_json: bool
    detach: bool
    wait_max: float | None
    auto_approve: bool
    stay: bool
    left_alone: bool

    @property
    def quiet(self) -> bool:
        """Whether nothing is printed for people but errors and outputs."""
        return self.progress in ("quiet", "json")

    @property
    def has_person(self) -> bool:
        """Whether somebody sits at a terminal, and can be asked."""
        return sys.stdin.isatty() and sys.stderr.isatty() and not (self.as_json or self.as_events or self.quiet or os.environ.get("CI"))

    @property
    def has_document(self) -> bool:
        """Whether stdout is for a program."""
        return self.as_json or self.as_events or self.detach

    @property
    def in_actions(self) -> bool:
        """Whether the runner of GitHub Actions reads what we print."""
        return is_read_by_the_runner() and not self.left_alone

    @property
    def patience_seconds(self) -> float:
        return self.wait_max if self.wait_max is not None else inf if self.stay or self.has_person else 0.0

    @property
    def limit_patience_seconds(self) -> float:
        return inf if self.wait_max is None else self.wait_max


def manner_of(options: dict[str, Any]) -> Manner:
    """Takes its options out of those of a command. Raises InvalidInput."""
    if options.pop("quiet"):
        if options["progress"] not in ("auto", "quiet"):
            raise InvalidInput(f"`--quiet` and `--progress {options['progress']}` say different things", help="choose one")
        options["progress"] = "quiet"
    manner = Manner(**{field.name: options.pop(field.name) for field in fields(Manner)})
    if manner.as_json and manner.as_events:
        raise InvalidInput("`--json` and `--events` both want stdout", help="choose one")
    if manner.detach and manner.as_events:
        raise InvalidInput("`--detach` leaves before there are events", help="follow them with `cpool-flow events RUN -f`")
    return manner


def _refuse_later(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    if value not in (None, False):
        raise click.BadParameter("it is not supported by this version", ctx, param)


def _later(command: Any) -> Any:
    """Options of later versions are refused by name, never unknown."""
    for name in LATER_OPTIONS:
        command = click.option(f"--{name}", hidden=True, callback=_refuse_later, expose_value=False, default=None)(command)
    return command


def output_options(command: Any) -> Any:
    """The options of a command that follows a run."""
    for option in (
        click.option("--quiet", "-q", is_flag=True, help="Errors and outputs only: --progress quiet."),
        click.option(
            "--progress",
            type=click.Choice(["auto", "plain", "json", "quiet"]),
            default="auto",
            show_default=True,
            help="On stderr: a live view at a terminal, else lines; lines; events as JSON lines; errors only.",
        ),
        click.option("--events", "as_events", is_flag=True, help="Events as JSON lines on stdout."),
        click.option("--json", "as_json", is_flag=True, help="The result as one JSON document on stdout."),
        click.option("--detach", is_flag=True, help="Start, print the run's id, and leave it running."),
        click.option(
            "--wait-max",
            type=Wait(),
            metavar="T",
            help="How long to stay when only a person, or the end of a usage limit, can go on; 0 for not at all.",
        ),
        click.option("--auto-approve", is_flag=True, help="Say yes to every step that asks for approval."),
        click.option("--stay", is_flag=True, hidden=True),
        click.option("--left-alone", is_flag=True, hidden=True),
    ):
        command = option(command)
    return command


argument_option = click.option(
    "-a",
    "--arg",
    "arguments",
    multiple=True,
    metavar="K=V",
    shell_complete=completing.arguments,
    help="An argument: K=TEXT, K=@FILE, K:=JSON.",
)


@click.command("run", short_help="Start a run and follow it to its end.")
@click.argument("workflow", metavar="FILE|NAME", shell_complete=completing.workflows)
@argument_option
@click.option("--args-file", metavar="FILE", shell_complete=completing.files, help="Arguments from a YAML or JSON file; `-` is stdin.")
@click.option("--slots", type=click.IntRange(1, 1000), help="How much runs at once.")
@click.option("--budget", type=Dollars(), metavar="USD", help="Most US dollars that the run may spend.")
@click.option("--allow-unpriced", is_flag=True, help="With a budget: also agents whose cost nobody knows.")
@click.option("--timeout", type=Duration(), metavar="T", help="Time of the whole run, such as 30m.")
@click.option("--agent", metavar="NAME", shell_complete=completing.agents, help="This agent in place of every other.")
@click.option("--isolation", type=click.Choice(["none", "worktree"]), help="Where steps work.")
@click.option("--only", metavar="STEP", shell_complete=completing.steps_of_workflow, help="Only this step, and `finally`.")
@click.option(
    "--record",
    metavar="DIR",
    shell_complete=completing.folders,
    help="Keep what agents and commands say and do, in a folder of the run's own there.",
)
@click.option(
    "--recording", metavar="DIR", shell_complete=completing.folders, help="Run with the agent `replay`, which answers from this recording."
)
@click.option("--run-id", metavar="ID", help="An id of your own.")
@click.option("--tag", "tags", multiple=True, metavar="T", help="Kept with the run; may be given again.")
@click.option("--trust", metavar="REF", help="Read what runs, and what agents are told, from this branch, tag or commit.")
@click.option("--allow-untrusted-checkout", is_flag=True, help="Work on the head of a fork although the job has secrets.")
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
    from cpool_flow.github_event import current_event

    manner = manner_of(options)
    meet_the_runner(manner)
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
        record=options["record"],
        recording=options["recording"],
        project_named=project is not None,
        places_of=places,
        trust=options["trust"],
        allow_untrusted_checkout=options["allow_untrusted_checkout"],
        event=current_event(os.environ),
        only=options["only"],
        home=open_project(project),
    )
    prepared = start.prepare(workflow, directory, places(directory), settings, os.environ)
    folder = start.create(prepared, settings.home or directory, os.environ)
    return work_on(folder, manner, starting=True, warn=partial(show_warnings, prepared.warnings, manner.quiet, prepared.sources))


@click.command("resume", short_help="Go on with a run after a crash, a cancel or a failure.")
@click.argument("run", default="last", shell_complete=completing.runs)
@click.option(
    "--decide",
    "decisions",
    multiple=True,
    metavar="STEP=rerun|skip|fail",
    shell_complete=completing.decisions,
    help="What to do with a step that may have happened.",
)
@click.option("--budget", type=Dollars(), metavar="USD", help="Another budget of the run; what it has spent counts.")
@click.option("--starting", is_flag=True, hidden=True)
@output_options
@click.pass_obj
def resume_command(
    project: str | None, /, run: str, decisions: tuple[str, ...], budget: float | None, starting: bool, **options: Any
) -> int:
    """Go on with a run: finished steps are not run again, failed ones are.

    A run that succeeded is left as it is. The arguments stay those that it was started with.

    \b
    cpool-flow resume last
    cpool-flow resume last --budget 20
    """
    manner = manner_of(options)
    meet_the_runner(manner)
    folder = find_run(project, run)
    if not starting:
        check_taken_up(folder)
    return work_on(folder, manner, starting=starting, decisions=decisions, budget_usd=budget)


def check_taken_up(folder: RunFolder) -> None:
    """Raises InvalidInput in GitHub Actions for a run that a pull request may have brought along."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        from cpool_flow.github_event import current_event
        from cpool_flow.trusted_start import check_resumed

        check_resumed(folder, current_event(os.environ), os.environ)


def meet_the_runner(manner: Manner) -> None:
    """In GitHub Actions all goes to one stream, but what a program reads. Raises InvalidInput where outputs could not be handed on."""
    if manner.in_actions:
        from cpool_flow.cli import actions

        if not manner.has_document:
            actions.one_stream()
        if not manner.detach:
            actions.check_files(os.environ)


def show_warnings(warnings: Sequence[Problem], quiet: bool, texts: Mapping[str, str] | None = None) -> None:
    if warnings and not quiet:
        from cpool_flow.cli.complain import tell

        tell(warnings, texts)


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
    from cpool_flow.cli.decisions import check_decisions, chosen_decisions
    from cpool_flow.cli.detached import start_detached_run
    from cpool_flow.cli.follower import follower
    from cpool_flow.cli.person import Person, nobody
    from cpool_flow.journal import is_alive

    run = history.read(folder)
    check_decisions(decisions, run.state)
    if run.state.status == "success":
        # Where nothing is left to do, nothing is needed for it: no secret, no lock.
        _tell_late(folder, run)
        if not manner.quiet:
            print(f"nothing to do: run {folder.run_id} has succeeded", file=sys.stderr)
        return _finish(folder, run, manner, _told_to_the_runner(folder, run.inputs, manner))
    if run.inputs.needs_program and not is_alive(folder.path):
        raise InvalidInput(
            f"the agent of the pool `{folder.run_id}` was a function of a Python program",
            help=f'go on with it there: `Pool(agent=…, store=…, resume="{folder.run_id}")`',
        )
    chosen = chosen_decisions(decisions, run.state)
    _check_budget(budget_usd, run.state)
    if manner.detach:
        warn()
        return start_detached_run(folder, starting, _handed_on(manner, decisions, budget_usd), manner.as_json)
    told = _told_to_the_runner(folder, run.inputs, manner)
    shares_terminal = manner.as_events and sys.stdout.isatty()
    progress = follower(folder, manner.progress, asks=manner.has_person, shares_terminal=shares_terminal)
    person = Person(folder, run.inputs, progress) if manner.has_person else None

    def began(state: State) -> None:
        progress.head(state, resumed=not starting)
        warn()
        if manner.as_events and starting:
            _print_events(history.recorded(folder))

    def follow(recorded: Sequence[Recorded], state: State) -> None:
        if manner.as_events:
            _print_events(recorded)
        progress.follow(recorded, state)
        if told is not None:
            told.follow(recorded, state)
        if person is not None:
            person.follow(state)

    wishes = coordinator.Wishes(
        starting=starting,
        decisions=chosen,
        began=began,
        heartbeat=progress.heartbeat,
        heartbeat_seconds=progress.heartbeat_seconds,
        patience_seconds=manner.patience_seconds,
        limit_patience_seconds=manner.limit_patience_seconds,
        budget_usd=budget_usd,
        auto_approve=manner.auto_approve,
        listen=person.listen if person is not None else nobody,
    )
    if told is not None:
        wishes = replace(wishes, grace_seconds=told.grace_seconds)
    try:
        state = coordinator.coordinate(folder, run.inputs, os.environ, follow, wishes)
        progress.summary(state)
    except OperationFailed as error:
        progress.close()
        help = f"once that is mended, go on with `cpool-flow resume {folder.run_id}`; nothing that has finished is lost"
        _complain([Problem(str(error), help=help)])
        return error.exit_code
    finally:
        progress.close()
    return _finish(folder, history.Run(folder, run.inputs, state), manner, told)


def _finish(folder: RunFolder, run: Run, manner: Manner, told: ActionsRun | None) -> int:
    """The results of a run that has been left, to whom they are for. The exit code."""
    from cpool_flow.cli.outcome import exit_code

    problems = told.hand_on(run) if told is not None else []  # first: nobody may be left to print for
    _print_result(folder, run, manner)
    if told is not None:
        told.annotate(run)
    _complain(problems)
    return exit_code(run.state) or (5 if any(not problem.warning for problem in problems) else 0)


def _complain(problems: Sequence[Problem]) -> None:
    for problem in problems:
        print(render_problem(problem, {}), file=sys.stderr)
    if problems:
        from cpool_flow.cli.complain import annotate_for_the_runner

        annotate_for_the_runner(problems)


def _told_to_the_runner(folder: RunFolder, inputs: Inputs, manner: Manner) -> ActionsRun | None:
    """In GitHub Actions, who tells its runner of the run; the secrets are covered from here on."""
    if not manner.in_actions:
        return None
    from cpool_flow.cli.actions_run import ActionsRun

    told = ActionsRun(folder, inputs, sys.stderr, os.environ, quiet=manner.quiet)
    told.mask()
    return told


def _tell_late(folder: RunFolder, run: Run) -> None:
    """Tell who was not told of the end, because the coordinator died first."""
    from cpool_flow import coordinator
    from cpool_flow.notify import due

    if due(run.state, run.inputs.pool.file.notify):
        with suppress(InvalidInput):  # another one does it now, or a secret that would have to be masked is not there
            coordinator.coordinate(folder, run.inputs, os.environ, lambda recorded, state: None, coordinator.Wishes())


def _check_budget(budget_usd: float | None, state: State) -> None:
    """Raises InvalidInput where a new budget of a run is spent already."""
    from cpool_flow.spending import dollars

    spent = state.spending.spent_usd
    if budget_usd is not None and budget_usd <= spent:
        raise InvalidInput(
            f"`--budget {budget_usd:g}` is the budget of the whole run, which has spent {dollars(spent)} already", help="give it more"
        )


def _print_events(recorded: Iterable[Recorded]) -> None:
    """Who reads them may go: the run goes on without."""
    from cpool_flow.cli.events import event_document

    try:
        for entry in recorded:
            print_json(event_document(entry.seq, entry.at, entry.event), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_result(folder: RunFolder, run: Run, manner: Manner) -> None:
    if manner.as_json:
        print_json(run.document())
    elif not manner.as_events and run.state.outputs:
        from cpool_flow.cli.output_text import output_lines, print_output

        outputs = json.loads(folder.load(run.state.outputs))
        if manner.in_actions:
            from cpool_flow.cli.actions import quoted
            from cpool_flow.cli.runner_stream import put

            lines = [line for name, value in outputs.items() for line in output_lines(name, value)]
            put(sys.stdout, quoted(lines) if lines else [])
            return
        for name, value in outputs.items():
            print_output(name, value)


def _handed_on(manner: Manner, decisions: tuple[str, ...], budget_usd: float | None) -> list[str]:
    """The options of the coordinator that is left behind. Nobody sees its exit code, so it stays for a person however long, unless
    told otherwise."""
    waits = [] if manner.wait_max is None else ["--wait-max", f"{manner.wait_max:.3f}s"]
    approves = ["--auto-approve"] if manner.auto_approve else []
    budget = [] if budget_usd is None else ["--budget", repr(budget_usd)]
    decided = [word for decision in decisions for word in ("--decide", decision)]
    return ["--left-alone", *(waits or ["--stay"]), *approves, *budget, *decided]
