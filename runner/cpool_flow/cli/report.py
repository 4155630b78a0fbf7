"""`report`: a run to hand on, as Markdown, JSON or one HTML file."""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cpool_flow.cli import completing
from cpool_flow.cli.json_output import json_text
from cpool_flow.cli.project import find_run
from cpool_flow.errors import InvalidInput, did_you_mean

if TYPE_CHECKING:
    from cpool_flow.report.content import Report

ENDINGS = (".html", ".md", ".json")


@click.command("report", short_help="Make a report of a run, to hand on.")
@click.argument("run", default="last", shell_complete=completing.runs)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    shell_complete=completing.files,
    help="A file that ends in .html, .md or .json (default: Markdown on stdout).",
)
@click.pass_obj
def report_command(project: str | None, run: str, output: str | None) -> int:
    """Make a report of a run: what ran, what became of it, why, what it has cost, and how to go on.

    \b
    cpool-flow report last
    cpool-flow report last -o report.html

    The HTML file needs nothing else: it can be sent by mail, or kept with the build. RUN is an id, a short name, the beginning of
    one, or `last`.
    """
    ending = _ending(output) if output is not None else ".md"
    gc.disable()  # all that is made is needed to the end
    report = _report(project, run)
    text = _text(report, ending)
    if output is None:
        print(text, end="")
    else:
        from cpool_flow.written_file import write_whole

        write_whole(Path(output), text)
    return 0


def _ending(output: str) -> str:
    ending = Path(output).suffix.lower()
    if ending not in ENDINGS:
        near = did_you_mean(ending, ENDINGS) if ending else None
        raise InvalidInput(
            f"`{output[:200]}` does not say what kind of report it is{f', {near}' if near else ''}",
            help="its name ends in .html, .md or .json",
        )
    return ending


def _report(project: str | None, reference: str) -> Report:
    from cpool_flow import history, reported
    from cpool_flow.cli.summary import next_commands
    from cpool_flow.journal import is_alive

    run = history.read(find_run(project, reference))
    alive = is_alive(run.folder.path)
    commands = next_commands(run.state, alive=alive, answered=run.answered)
    return reported.report_of(run, alive=alive, now=time.time(), commands=commands)


def _text(report: Report, ending: str) -> str:
    if ending == ".html":
        from cpool_flow.report.page import page
        from cpool_flow.reported import assets

        return page(report, assets())
    if ending == ".json":
        from cpool_flow.report.content import document

        return json_text(document(report)) + "\n"
    from cpool_flow.report.markdown import markdown

    return markdown(report)
