"""`cpool-flow` alone, `list` and `show`: what is here, from where, and what to type to use it."""

from __future__ import annotations

from session import ROOT, Session

SHIP = """
    description: Ship a version.
    args:
      version: {type: string, description: Such as 1.2.3.}
      dry: {type: boolean, default: true}
      channel: {enum: [stable, beta], required: false}
    steps: [{run: 'true'}]
"""


def test_a_folder_without_workflows_says_what_to_try(session: Session) -> None:
    ended = session.flow()
    assert (ended.code, ended.out) == (0, "")
    assert ended.err == (
        f"no workflows in {session.path}\ntry: cpool-flow run hello · write one: cpool-flow init · all commands: cpool-flow --help\n"
    )


def test_the_bare_command_lists_what_can_be_run_here_with_arguments_and_how(session: Session) -> None:
    session.file("workflows/ship.yaml", SHIP)
    session.file("a b.yaml", "steps: [{run: 'true'}]\n")
    session.file("broken.yaml", "steps:\n  - run: [\n")
    session.file("a b.answers.yaml", "steps: {look: Nothing.}\n")
    ended = session.flow()
    assert ended.code == 0
    assert ended.out == (
        "ship\n"
        "    Ship a version.\n"
        "    version  string: Such as 1.2.3.\n"
        "    dry      true or false, default true\n"
        '    channel  one of "stable", "beta", may be left out\n'
        "a b.yaml\n"
        "    (no description)\n"
        "broken.yaml\n"
        "    cannot be read: this `[` is not closed, or a `,` is missing in it (line 2)\n"
    )
    assert ended.err == "run one: cpool-flow run ship --arg version=… · all commands: cpool-flow --help\n"


def test_a_file_is_named_by_its_path_from_here(session: Session) -> None:
    session.file("flow.yaml", "steps: [{run: 'true'}]\n")
    (session.path / ".cpool").mkdir()
    (session.path / "part").mkdir()
    inside = Session(session.path.parent)
    inside.path = session.path / "part"
    assert inside.flow().out == "../flow.yaml\n    (no description)\n"
    assert inside.flow("run", "../flow.yaml").code == 0


def test_files_of_this_folder_are_listed_with_those_at_the_top_of_the_project_and_none_twice(session: Session) -> None:
    session.file("cpool.yaml", "slots: 2")
    for name in ("top.yaml", "app/mine.yaml", "workflows/ship.yaml"):
        session.file(name, "steps: [{run: 'true'}]")
    listed = session.program(*session.command("list", "workflows"), cwd=session.path / "app").out.split("\n")
    assert [line.split()[0] for line in listed[1:] if "built in" not in line and line] == ["mine.yaml", "../top.yaml", "ship"]
    alone = session.program(*session.command(), cwd=session.path / "workflows").out
    assert [line for line in alone.splitlines() if not line.startswith(" ")] == ["ship", "../top.yaml"]
    elsewhere = session.program(*session.command("--project", str(session.path)), cwd=session.path / "app").out
    assert [line for line in elsewhere.splitlines() if not line.startswith(" ")] == ["ship", "../top.yaml"]


def test_list_says_what_stands_in_for_what(session: Session) -> None:
    session.file("workflows/hello.yaml", "description: Mine.\nsteps: [{run: 'true'}]\n")
    lines = session.flow("list", "workflows").out.splitlines()
    assert lines[0] == "workflows:"
    assert [line.split(maxsplit=1)[1] for line in lines if line.startswith("  hello ")] == ["project, over built in  Mine."]
    listed = session.flow("list", "workflows", "--json").json()["workflows"]
    (entry,) = [entry for entry in listed if entry["name"] == "hello"]
    assert (entry["source"], [other["source"] for other in entry["overrides"]]) == ("project", ["built in"])


def test_list_has_every_skill_and_show_says_how_to_use_one(session: Session) -> None:
    listed = session.flow("list", "skills").out
    for skill in (
        "code_review",
        "describe_change",
        "find_tests",
        "implement",
        "plan_change",
        "refactor",
        "summarize",
        "write_tests",
    ):
        assert f"\n  {skill} " in listed
    ended = session.flow("show", "implement")
    assert ended.out == (
        "skill implement (built in)\n"
        "  Make one described change to this repository, tested, and no larger than it has to be.\n"
        f"  {ROOT / 'skills' / 'implement' / 'SKILL.md'}\n"
        "arguments:\n"
        "  description  string: What to build or fix, and how to tell that it is done.\n"
    )
    assert ended.err == "use it: skill: implement, with: {description: …}\n"


def test_show_of_a_workflow_names_what_it_stands_in_for_and_how_to_run_it(session: Session) -> None:
    path = session.file("workflows/hello.yaml", SHIP)
    ended = session.flow("show", "hello")
    assert ended.out.startswith(
        f"workflow hello (project, over built in)\n  Ship a version.\n  {path}\n"
        f"  in place of {ROOT / 'workflows' / 'hello.yaml'} (built in)\narguments:\n  version  string: Such as 1.2.3.\n"
    )
    assert ended.err == "use it: cpool-flow run hello --arg version=…\n"


def test_show_of_what_cannot_be_read_is_an_error_and_of_nothing_names_the_nearest(session: Session) -> None:
    session.file("broken.yaml", "steps:\n  - run: [\n")
    ended = session.flow("show", "broken.yaml")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        "error: `broken.yaml` cannot be read: this `[` is not closed, or a `,` is missing in it (line 2)\n"
        "help: cpool-flow validate broken.yaml\n"
    )
    ended = session.flow("show", "helo")
    assert (ended.code, ended.out) == (2, "")
    assert "did you mean `hello`?" in ended.err
