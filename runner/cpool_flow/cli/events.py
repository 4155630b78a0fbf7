"""`events`: what the journal of a run has recorded, as JSON lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from cpool_flow import events as facts
from cpool_flow.cli import completing
from cpool_flow.cli.json_output import print_json
from cpool_flow.cli.pause import pause
from cpool_flow.cli.project import find_run

if TYPE_CHECKING:
    from cpool_flow.run_folder import RunFolder

FOLLOW_SECONDS = 0.1


@click.command("events", short_help="Print what a run's journal has recorded.")
@click.argument("run", default="last", shell_complete=completing.runs)
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of JSON lines.")
@click.pass_obj
def events_command(project: str | None, run: str, follow: bool, as_json: bool) -> int:
    """Print the events of a run as JSON lines (`cpool-flow schema events` describes them).

    \b
    cpool-flow events last
    cpool-flow events last --follow
    """
    folder = find_run(project, run)
    found = (_event_json(recorded) for recorded in _follow_journal(folder, follow))
    if as_json:
        print_json({"events": list(found)})
    else:
        for event in found:
            print_json(event, flush=follow)
    return 0


def _event_json(recorded: Any) -> dict[str, Any]:
    return event_document(recorded.seq, recorded.at, recorded.event)


def event_document(seq: int, at: float, event: facts.Event) -> dict[str, Any]:
    """An event as it is shown: its number, type and time before its own fields."""
    from cpool_flow.result import iso_time

    return {"seq": seq, "type": type(event).__name__, "at": iso_time(at), **facts.to_json(event)}


def _follow_journal(folder: RunFolder, follow: bool) -> Iterator[Any]:
    from cpool_flow.journal import Journal, is_alive

    journal = Journal.open(folder.path)
    seq = 0
    try:
        while True:
            alive = is_alive(folder.path)
            for recorded in journal.read(seq):
                seq = recorded.seq
                yield recorded
            if not follow or not alive:
                return
            while not journal.changed() and is_alive(folder.path):
                pause(FOLLOW_SECONDS)
    finally:
        journal.close()
