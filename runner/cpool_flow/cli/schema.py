"""`schema`: the JSON Schemas that are shipped, on stdout."""

from __future__ import annotations

import click

from cpool_flow import library

NAMES = ("workflow", "skill", "pool", "events", "result")


@click.command("schema", short_help="Print the JSON Schema of files, events or results.")
@click.argument("name", type=click.Choice(NAMES), default="workflow")
def schema_command(name: str) -> int:
    """Print a JSON Schema (draft 2020-12).

    \b
    cpool-flow schema > workflow.schema.json
    cpool-flow schema result
    """
    print(library.read_text(library.bundled("schemas") / f"{name}.schema.json"), end="")
    return 0
