"""`validate`: all problems of all files, with their places. Starts nothing, writes nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from cpool_flow.cli import completing
from cpool_flow.cli.complain import document, tell
from cpool_flow.cli.json_output import print_json
from cpool_flow.cli.project import places, project_directory, searched
from cpool_flow.errors import InvalidInput, Problem


@click.command("validate", short_help="Find all problems of workflow files, without running them.")
@click.argument("files", nargs=-1, required=True, metavar="FILE…", shell_complete=completing.workflows)
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "github"]), default="text", show_default=True, help="How problems are shown."
)
@click.option("--strict", is_flag=True, help="Warnings fail too.")
@click.option("--allow-unpriced", is_flag=True, help="With a budget: also agents whose cost nobody knows.")
@click.pass_obj
def validate_command(project: str | None, files: tuple[str, ...], form: str, strict: bool, allow_unpriced: bool) -> int:
    """Find all problems of workflow files, or of a `cpool.yaml`.

    Exit code 0: no problem; 2: problems, or with --strict warnings.

    \b
    cpool-flow validate review.yaml
    cpool-flow validate --strict workflows/*.yaml cpool.yaml
    """
    every = ((file, problem) for file in files for problem in problems_of(file, project, allow_unpriced=allow_unpriced))
    by_file = list(_once(every))
    found = [problem for _, problem in by_file]
    failed = any(strict or not problem.warning for problem in found)
    if form == "json":
        print_json({"problems": [document(problem, file) for file, problem in by_file]})
    elif form == "github":
        from cpool_flow.cli.actions import annotate

        annotate(found, sys.stdout)
    elif found:
        tell(found)
    if form == "text" and not failed:
        print(f"{len(files)} file{'s' if len(files) > 1 else ''} valid", file=sys.stderr)
    return 2 if failed else 0


def _once(found: Iterable[tuple[str, Problem]]) -> Iterator[tuple[str, Problem]]:
    """What several files share, such as `cpool.yaml`, is wrong once."""
    places = set()
    for file, problem in found:
        if problem.location is None or problem not in places:
            places.add(problem)
            yield file, problem


def problems_of(file: str, project: str | None, *, allow_unpriced: bool = False) -> tuple[Problem, ...]:
    """All problems and warnings of one workflow, sorted by place."""
    from cpool_flow import library, lookup, pool_file, project_pool
    from cpool_flow.validate import Wishes

    directory = project_directory(project)
    try:
        if Path(file).name == pool_file.NAME:
            return project_pool.read_file(Path(file)).warnings
        found = library.find_workflow(file, Path.cwd(), searched("workflow", directory))
        return lookup.check_file(found.path, directory, places(directory), Wishes(allow_unpriced=allow_unpriced)).warnings
    except InvalidInput as error:
        return error.problems
