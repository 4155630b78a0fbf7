"""`validate`: all problems of all files, as text, JSON and annotations; and its exit code."""

from __future__ import annotations

import json

import pytest
from session import Session

GOOD = "version: 1\nsteps:\n  - run: echo hi\n"
WARNED = "version: 1\nargs: {unused: {type: string}}\nsteps:\n  - run: echo hi\n"
WRONG = "version: 1\nsteps:\n  - name: build\n    rum: make\n  - name: deploy\n    run: make deploy\n    needs: [biuld]\n"


@pytest.fixture
def project(session: Session) -> Session:
    session.file("good.yaml", GOOD)
    session.file("warned.yaml", WARNED)
    session.file("sub/wrong.yaml", WRONG)
    return session


def test_problems_are_told_with_their_place_and_the_word_that_is_meant(project: Session) -> None:
    ended = project.flow("validate", "sub/wrong.yaml")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        "error: unknown key `rum` in a step\n  --> sub/wrong.yaml:4:5\n  |\n4 |     rum: make\n  |     ^^^ did you mean `run`?\n\n"
        "error: step `deploy` needs unknown step `biuld`\n  --> sub/wrong.yaml:7:13\n  |\n7 |     needs: [biuld]\n"
        "  |             ^^^^^ did you mean `build`?\n\n2 errors\n"
    )


def test_all_problems_come_at_once_and_are_counted(project: Session) -> None:
    project.file("sub/wrong.yaml", WRONG.replace("    rum: make\n", "    run: make {{ args.x }}\n"))
    ended = project.flow("validate", "sub/wrong.yaml")
    assert [line for line in ended.err.splitlines() if line.startswith(("error", "  -->", "2"))] == [
        "error: unknown argument `x`",
        "  --> sub/wrong.yaml:4:18",
        "error: step `deploy` needs unknown step `biuld`",
        "  --> sub/wrong.yaml:7:13",
        "2 errors",
    ]


def test_valid_files_are_counted(project: Session) -> None:
    ended = project.flow("validate", "good.yaml", "good.yaml")
    assert (ended.code, ended.out, ended.err) == (0, "", "2 files valid\n")


def test_warnings_fail_only_where_that_is_asked_for(project: Session) -> None:
    ended = project.flow("validate", "warned.yaml")
    assert ended.code == 0
    assert ended.err.startswith("warning: argument `unused` is not used\n  --> warned.yaml:2:8\n")
    assert ended.err.endswith("\n1 file valid\n")
    strict = project.flow("validate", "--strict", "warned.yaml")
    assert strict.code == 2
    assert "valid\n" not in strict.err
    assert project.flow("validate", "--strict", "good.yaml").code == 0


def test_one_wrong_file_among_several_fails_and_the_others_are_read(project: Session) -> None:
    ended = project.flow("validate", "good.yaml", "nope.yaml", "warned.yaml", "sub/wrong.yaml", "--format", "json")
    assert ended.code == 2
    assert [(problem["severity"], problem["file"], problem["line"], problem["column"]) for problem in ended.json()["problems"]] == [
        ("error", "nope.yaml", None, None),
        ("warning", "warned.yaml", 2, 8),
        ("error", "sub/wrong.yaml", 4, 5),
        ("error", "sub/wrong.yaml", 7, 13),
    ]


def test_json_has_each_part_of_a_problem(project: Session) -> None:
    project.file("sub/wrong.yaml", WRONG.replace("biuld", "build"))
    ended = project.flow("validate", "sub/wrong.yaml", "--format", "json")
    assert (ended.code, ended.err) == (2, "")
    assert ended.json() == {
        "problems": [
            {
                "severity": "error",
                "message": "unknown key `rum` in a step",
                "file": "sub/wrong.yaml",
                "line": 4,
                "column": 5,
                "length": 3,
                "hint": "did you mean `run`?",
                "help": None,
            }
        ]
    }
    assert project.flow("validate", "good.yaml", "--format", "json").json() == {"problems": []}


def test_annotations_of_github_are_escaped_and_read_by_its_runner(session: Session) -> None:
    session.file("100%,a:b.yaml", 'version: 1\nsteps:\n  - run: echo hi\n    "x\\r\\n::error::y ##[group]": 1\n')
    session.file("warned.yaml", WARNED)
    ended = session.flow("validate", "warned.yaml", "100%,a:b.yaml", "--format", "github")
    assert (ended.code, ended.err) == (2, "")
    assert ended.out.splitlines() == [
        "::error file=100%25%2Ca%3Ab.yaml,line=4,col=5::unknown key `x%0D%0A::error::y ## [group]` in a step; "
        "`cpool-flow schema` lists the keys of a workflow and its steps",
        "::warning file=warned.yaml,line=2,col=8::argument `unused` is not used",
    ]


def test_annotations_of_github_are_at_most_ten_of_a_kind_and_the_rest_in_one_line(session: Session) -> None:
    session.file("flow.yaml", "version: 1\nsteps:\n" + "".join(f"  - run: echo {{{{ args.a{number} }}}}\n" for number in range(13)))
    lines = session.flow("validate", "flow.yaml", "--format", "github").out.splitlines()
    assert [line.startswith("::error file=flow.yaml,line=") for line in lines] == [True] * 10 + [False]
    assert lines[-1] == "3 more: " + "; ".join(f"flow.yaml:{line}:18: unknown argument `a{line - 3}`" for line in (13, 14, 15))


def test_a_bundled_workflow_is_validated_by_its_name(session: Session) -> None:
    ended = session.flow("validate", "hello")
    assert (ended.code, ended.err) == (0, "1 file valid\n")


def test_files_beside_the_workflow_are_looked_at_and_none_outside(session: Session) -> None:
    session.file("flows/schema.json", json.dumps({"type": "objct"}))
    session.file("outside.json", json.dumps({"type": "object"}))
    (session.path / "flows" / "link.json").symlink_to("/etc/hostname")
    step = "  - {{name: s{0}, run: echo, output_schema: {1}}}\n"
    files = ("schema.json", "nope.json", "link.json", "../outside.json")
    session.file("flows/flow.yaml", "version: 1\nsteps:\n" + "".join(step.format(number, file) for number, file in enumerate(files)))
    ended = session.flow("validate", "flows/flow.yaml", "--format", "json")
    assert [(problem["line"], problem["message"]) for problem in ended.json()["problems"]] == [
        (3, "`schema.json`: unknown type `objct`: did you mean `object`?"),
        (4, "cannot read `nope.json`: no such file or directory"),
        (5, "`link.json` is outside of the project"),
        (6, "`../outside.json` leads out with `..`"),
    ]


def test_a_skill_is_looked_up_beside_the_workflow_first(session: Session) -> None:
    session.file(
        "flows/skills/summarize/SKILL.md", "---\nname: summarize\ndescription: d\nmetadata: {arguments: {a: {}}}\n---\n{{ args.a }}\n"
    )
    session.file("flows/flow.yaml", "version: 1\nsteps:\n  - skill: summarize\n    with: {a: x}\n")
    assert session.flow("validate", "flows/flow.yaml").err == "1 file valid\n"
    session.file("flow.yaml", "version: 1\nsteps:\n  - skill: summarize\n    with: {a: x}\n")
    assert "argument `target` is missing" in session.flow("validate", "flow.yaml").err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("validate",), "`FILE…` is missing"),
        (("validate", "good.yaml", "--format", "xml"), "`--format` cannot be `xml`"),
        (("validat", "good.yaml"), "did you mean `validate`?"),
    ],
)
def test_wrong_usage_is_exit_2(session: Session, arguments: tuple[str, ...], told: str) -> None:
    ended = session.flow(*arguments)
    assert ended.code == 2
    assert told in ended.err
    assert ended.err.startswith("error: ")


def test_the_pool_file_of_a_project_is_validated_as_well(session: Session) -> None:
    session.file("cpool.yaml", "config: {modell: sonnet}\nbudgets: {day: 0}\n")
    ended = session.flow("validate", "cpool.yaml")
    assert (ended.code, ended.out) == (2, "")
    assert "--> cpool.yaml:1:10\n" in ended.err
    assert "did you mean `model`?" in ended.err
    assert "`day` must be greater than 0" in ended.err
    for name in ("a.yaml", "b.yaml"):
        session.file(name, "steps: [{run: echo hi}]\n")
    assert session.flow("validate", "a.yaml", "b.yaml", "cpool.yaml").err.endswith("\n2 errors\n")
    session.file("cpool.yaml", "config: {model: sonnet}\n")
    assert session.flow("validate", "cpool.yaml").code == 0


def test_a_plugin_of_pydantic_that_is_installed_beside_us_is_not_told_of_a_workflow(project: Session) -> None:
    project.file("beside/nosy-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: nosy\nVersion: 1\n")
    project.file("beside/nosy-1.dist-info/entry_points.txt", "[pydantic]\nnosy = nosy\n")
    project.file("beside/nosy.py", "raise SystemExit('I was asked')\n")
    beside = f"{project.environment['PYTHONPATH']}:{project.path / 'beside'}"
    ended = project.flow("validate", "good.yaml", PYTHONPATH=beside)
    assert (ended.code, ended.out, ended.err) == (0, "", "1 file valid\n")
