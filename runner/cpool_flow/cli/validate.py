"""`validate`: all problems of all files, with their places. Starts nothing, writes nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cpool_flow.cli.annotations import annotation_lines
from cpool_flow.cli.complain import document, sources
from cpool_flow.cli.json_output import print_json
from cpool_flow.cli.project import places, project_directory, searched
from cpool_flow.errors import InvalidInput, Problem, render_problems


@click.command("validate", short_help="Find all problems of workflow files, without running them.")
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "github"]), default="text", show_default=True, help="How problems are shown."
)
@click.option("--strict", is_flag=True, help="Warnings fail too.")
@click.pass_obj
def validate_command(project: str | None, files: tuple[str, ...], form: str, strict: bool) -> int:
    """Find all problems of workflow files, or of a `cpool.yaml`.

    Exit code 0: no problem; 2: problems, or with --strict warnings.
    """
    by_file = [(file, problem) for file in files for problem in problems_of(file, project)]
    found = [problem for _, problem in by_file]
    failed = any(strict or not problem.warning for problem in found)
    if form == "json":
        print_json({"problems": [document(problem, file) for file, problem in by_file]})
    elif form == "github":
        for line in annotation_lines(found):
            print(line)
    elif found:
        print(render_problems(found, sources(tuple(found))), file=sys.stderr)
    if form == "text" and not failed:
        print(f"{len(files)} file{'s' if len(files) > 1 else ''} valid", file=sys.stderr)
    return 2 if failed else 0


def problems_of(file: str, project: str | None) -> tuple[Problem, ...]:
    """All problems and warnings of one workflow, sorted by place."""
    from cpool_flow import library, lookup, pool_file, project_pool

    directory = project_directory(project)
    try:
        if Path(file).name == pool_file.NAME:
            return project_pool.read_file(Path(file)).warnings
        found = library.find_workflow(file, Path.cwd(), searched("workflow", directory))
        return lookup.check_file(found.path, directory, places(directory)).warnings
    except InvalidInput as error:
        return error.problems
