"""The entry point: which command, from which module, and how errors become text and exit codes.

Imports click and nothing else that is not needed to say `--version`.
"""

from __future__ import annotations

import errno
import gc
import importlib
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

import click

from cpool_flow import __version__

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# command → (module, one line for `--help`), in the order of `--help`.
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("run", "Start a run and follow it to its end."),
    "resume": ("run", "Go on with a run after a crash, a cancel or a failure."),
    "rerun": ("rerun", "Do a run again, or a part of it, as a new run."),
    "diff": ("branch", "Show what a run has changed, as a patch."),
    "merge": ("branch", "Take a run's branch over into the branch that it came from."),
    "clean": ("clean", "Delete runs that have nothing left to take over."),
    "cancel": ("control", "Stop a run in order, from any terminal."),
    "approve": ("control", "Answer a step that waits for a person."),
    "validate": ("validate", "Find all problems of workflow files, without running them."),
    "plan": ("plan", "Show what would run and where each value comes from."),
    "test": ("test", "Run the cases beside a workflow, without a key."),
    "list": ("catalog", "Show which workflows and skills are found, and from where."),
    "show": ("catalog", "Show one workflow or skill: its arguments, what it overrides."),
    "init": ("init", "Write a first workflow file that runs without a key."),
    "schema": ("schema", "Print the JSON Schema of files, events or results."),
    "runs": ("runs", "List the runs of this project."),
    "status": ("status", "Show one run."),
    "logs": ("logs", "Print the output of a run's steps."),
    "events": ("events", "Print what a run's journal has recorded."),
    "report": ("report", "Make a report of a run: Markdown, JSON or one HTML file."),
    "explain": ("explain", "Say why a step became what it is."),
    "doctor": ("doctor", "Say what is installed, what is missing, and how to get it."),
    "completion": ("completion", "Print the script that completes commands in a shell."),
}
# Of the contract, and of later versions.
LATER_COMMANDS = ("ui",)
# How `--help` shows them.
GROUPS: dict[str, tuple[str, ...]] = {
    "Run": ("run", "plan", "resume", "rerun", "approve", "cancel"),
    "Look": ("runs", "status", "logs", "events", "explain", "report", "ui"),
    "Take over and tidy": ("diff", "merge", "clean"),
    "Write": ("init", "validate", "test", "list", "show", "schema"),
    "Set up": ("doctor", "completion"),
}

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
SYSTEMS = ("linux", "darwin")
EXIT_CODES = """\b
Exit codes:
  0    succeeded
  1    a step failed
  2    file, arguments or usage wrong: nothing was started
  3    the run's budget or time ran out
  4    waits for a person, or for a usage limit past --wait-max: `cpool-flow resume` goes on
  5    our own error, or the disk failed: the run can be resumed
  130  cancelled by Ctrl-C or `cpool-flow cancel`; 143 by SIGTERM"""


class _ReaderGone(Exception):
    """Whoever read us has enough. Of a broken pipe click would make an exit code of its own."""


class LazyGroup(click.Group):
    """Imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module = importlib.import_module(f"cpool_flow.cli.{entry[0]}")
        command = getattr(module, f"{cmd_name}_command")
        assert isinstance(command, click.Command)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if ctx.resilient_parsing:  # a shell asks what can stand here
            return name, self.get_command(ctx, name), args[1:]
        if name not in COMMANDS and not name.startswith("-"):
            if name in LATER_COMMANDS:
                raise click.UsageError(f"command `{name}` is not supported by this version", ctx)
            from cpool_flow.errors import did_you_mean

            near = did_you_mean(name, COMMANDS)
            known = f"known are: {', '.join(COMMANDS)}"
            raise click.UsageError(f"no command `{name[:60]}`{f', {near}' if near else f'; {known}'}", ctx)
        _check_surroundings()  # before the command's module is imported
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise _ReaderGone from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, COMMANDS))
        for title, names in GROUPS.items():
            rows = [(f"{name:<{width}}", COMMANDS[name][1]) for name in names if name in COMMANDS]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        commands = [CompletionItem(name, help=about) for name, (_, about) in COMMANDS.items() if name.startswith(incomplete)]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]


def _folders(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from cpool_flow.cli.completing import folders

    return folders(ctx, param, incomplete)


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="cpool-flow", message="%(prog)s %(version)s")
@click.option(
    "--project",
    metavar="DIR",
    shell_complete=_folders,
    help="The project whose `.cpool` holds the runs (default: found upwards from here).",
)
@click.pass_context
def main(ctx: click.Context, project: str | None) -> None:
    """Run workflows of coding agents and commands: pipelines as files.

    \b
    cpool-flow run hello                    a first run, without a key
    cpool-flow init                         a first workflow of your own
    cpool-flow plan review.yaml --arg pr=42
    cpool-flow run review.yaml --arg pr=42
    cpool-flow resume last                  after Ctrl-C, a failure, a crash
    """
    ctx.obj = project
    if ctx.invoked_subcommand is None:
        _check_surroundings()
        from cpool_flow.cli.catalog import show_all

        show_all(project)


def _check_surroundings() -> None:
    """Raises InvalidInput where no command can work: on this system, in this folder."""
    from cpool_flow.errors import InvalidInput

    if not sys.platform.startswith(SYSTEMS):
        help = "it runs on Linux, and on macOS at best effort; on Windows, use WSL"
        raise InvalidInput(f"cpool-flow does not run on {sys.platform}", help=help)
    try:
        os.getcwd()
    except OSError as error:
        raise InvalidInput(
            f"the current folder cannot be used: {(error.strerror or 'it is gone').lower()}", help="cd into another one"
        ) from None


def _open_what_is_closed() -> None:
    """Standard streams that the caller has closed lead nowhere; else the next file that is opened would be in their place."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def entry() -> NoReturn:
    """Run the command line and leave with its exit code."""
    gc.set_threshold(100_000, 20, 20)  # imports make no garbage worth looking for every 700 objects
    _let_pydantic_be_alone()
    code = run_main(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = 141
    except OSError as error:
        code = _full(error)
    with suppress(OSError):  # a terminal that is gone, or a closed pipe: nobody is left to be told
        sys.stderr.flush()
    os._exit(code)  # to take down all modules, one by one, costs more than to run a step


def _let_pydantic_be_alone() -> None:
    """In our own process pydantic takes no plugins. It would look for them in all that is installed, which takes longer than to build
    our models; and what is installed beside us is not asked what stands in a workflow. (PYDANTIC_DISABLE_PLUGINS saves a quarter of that.)"""
    name = "pydantic.plugin._loader"

    def anything_else(wanted: str) -> Any:
        if wanted.startswith("__"):
            raise AttributeError(wanted)
        del sys.modules[name]
        return getattr(importlib.import_module(name), wanted)

    stand_in: Any = type(sys)(name)
    stand_in.get_plugins, stand_in.__getattr__ = tuple, anything_else
    sys.modules[name] = stand_in


def run_main(arguments: list[str]) -> int:
    """The exit code of `cpool-flow ARGUMENTS`; errors go to stderr, never as a traceback."""
    from cpool_flow.errors import FlowError

    _open_what_is_closed()
    if arguments[:1] == ["help"]:  # `help run`: as many type it
        arguments = [*arguments[1:2], "--help"]
    if os.environ.get("GITHUB_ACTIONS") == "true":
        from cpool_flow.cli.actions import in_actions, take_over_streams

        if in_actions(os.environ):
            take_over_streams()
    try:
        result: Any = main.main(arguments, prog_name="cpool-flow", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except FlowError as error:
        from cpool_flow.cli.complain import complain

        return complain(error, as_json="--json" in arguments)
    except click.exceptions.Exit as error:
        return error.exit_code
    except SystemExit as error:  # a shell has been told how its line can go on
        return error.code if isinstance(error.code, int) else 1
    except click.ClickException as error:
        return _usage(error, arguments)
    except click.Abort:
        return 130
    except (BrokenPipeError, _ReaderGone):
        # As in `cpool-flow logs last | head`. What is still buffered goes nowhere.
        _write_no_more()
        return 141
    except Exception as error:
        return _full(error) if isinstance(error, OSError) and error.errno in DISK_FULL and error.filename is None else _bug(error)


def _write_no_more() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _full(error: OSError) -> int:
    _write_no_more()
    with suppress(OSError):
        print(f"error: the output cannot be written: {(error.strerror or type(error).__name__).lower()}", file=sys.stderr)
    return 5


def _usage(error: click.ClickException, arguments: list[str]) -> int:
    from cpool_flow.cli.complain import complain
    from cpool_flow.cli.usage import problem_of
    from cpool_flow.errors import InvalidInput

    command = next((word for word in arguments if word in COMMANDS), "")
    return complain(InvalidInput(problem_of(error, command)), as_json="--json" in arguments)


def _bug(error: Exception) -> int:
    """Our own error: its type and place. No message, for a value could stand in it."""
    import traceback

    if "1" in (os.environ.get("CPOOL_DEBUG"), os.environ.get("RUNNER_DEBUG")):
        traceback.print_tb(error.__traceback__)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{os.path.basename(frame.filename)}:{frame.lineno}"
    print(f"error: internal error, this is a bug of cpool-flow: {type(error).__name__} at {place}", file=sys.stderr)
    print("help: run it again with CPOOL_DEBUG=1 for the whole trace; the run itself can be resumed", file=sys.stderr)
    if "cpool_flow.cli.actions" in sys.modules:
        from cpool_flow.cli.actions import annotate
        from cpool_flow.errors import Problem

        annotate([Problem(f"internal error of cpool-flow: {type(error).__name__} at {place}")], sys.stderr)
    return 5
