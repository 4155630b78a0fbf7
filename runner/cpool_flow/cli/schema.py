"""`schema`: the JSON Schemas that are shipped, on stdout."""

from __future__ import annotations

import click

from cpool_flow import library
from cpool_flow.errors import InvalidInput

NAMES = ("workflow", "pool", "events", "result")
LATER = ("skill",)


@click.command("schema", short_help="Print the JSON Schema of files, events or results.")
@click.argument("name", type=click.Choice([*NAMES, *LATER]), default="workflow")
def schema_command(name: str) -> int:
    """Print a JSON Schema (draft 2020-12).

    \b
    cpool-flow schema > workflow.schema.json
    cpool-flow schema result
    """
    if name in LATER:
        raise InvalidInput(f"the schema of `{name}` is not supported by this version", help=f"there are {', '.join(NAMES)}")
    print(library.read_text(library.bundled("schemas") / f"{name}.schema.json"), end="")
    return 0
