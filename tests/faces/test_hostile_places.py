"""Templates that try to get out of the sandbox, and names that point elsewhere: refused with a place, or harmless."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from session import Session

from cases import cases
from memory import measured

TEMPLATES = {case["id"]: case for case in cases("hostile/ssti.json")["cases"]}
INTERNALS = re.compile(r"0x[0-9a-f]{5}|<function|<class|<built|object at|root:|Traceback")


def paths(place: str) -> list[dict[str, Any]]:
    found = [case for case in cases("hostile/paths.json")["cases"] if case["place"].startswith(place)]
    assert found
    return found


def refused(session: Session, *files: str, severity: str = "error") -> dict[str, list[dict[str, Any]]]:
    """The errors or warnings that `validate` finds, by file; it may take 300 MB and no more."""
    ended = measured(session.command("validate", "--format", "json", *files), session.path, session.environment, session.home)
    out = ended.out
    assert ended.code in (0, 2)
    assert ended.peak < 300 * 1024 * 1024
    problems: dict[str, list[dict[str, Any]]] = {file: [] for file in files}
    for problem in json.loads(out)["problems"]:
        if problem["severity"] == severity:
            problems[problem["file"]].append(problem)
    return problems


# ---- templates ----------------------------------------------------------------------------------------------

FIELDS = {
    "prompt": {"prompt": "{}", "config": {"agent": "command", "command": ["cat"]}},
    "command": {"run": ["printf", "%s", "{}"]},
    "script": {"run": "printf %s {}"},
    "condition": {"run": "true", "when": "{}"},
}


@pytest.mark.parametrize("field", FIELDS)
def test_a_template_that_tries_to_get_out_is_refused_or_fails_its_step(session: Session, field: str) -> None:
    files = {}
    for name, case in TEMPLATES.items():
        step = json.loads(json.dumps(FIELDS[field]).replace('"{}"', '"X"').replace("printf %s {}", "printf %s X"))
        text = (
            json.dumps(step).replace("X", json.dumps(case["template"])[1:-1], 1)
            if field != "condition"
            else json.dumps({**step, "when": case["template"]})
        )
        files[f"{name}.json"] = {"version": 1, "isolation": "none", "args": {"v": {"default": "__class__"}}, "steps": [json.loads(text)]}
        session.file(f"{name}.json", json.dumps(files[f"{name}.json"]))
    found = refused(session, *files)
    for problems in found.values():
        for problem in problems:
            assert problem["line"] == 1
            assert len(problem["message"]) < 300
            assert not INTERNALS.search(problem["message"])
    left = [name.removesuffix(".json") for name, problems in found.items() if not problems]
    steps = [{**files[f"{name}.json"]["steps"][0], "name": name, "needs": [], "on_failure": "continue", "retries": 0} for name in left]  # type: ignore[index]
    session.file("all.json", json.dumps({**files["escape-000.json"], "steps": steps}))
    ended = session.flow("run", "all.json", "--json")
    assert ended.code == 0, ended.err
    for step in ended.json()["steps"]:
        case = TEMPLATES[step["name"]]
        assert not INTERNALS.search(json.dumps(step))
        if step["status"] == "failed":
            assert step["reason"].startswith("invalid") or step["attempts"][0]["error_kind"] == "invalid", step
            assert case["expect"] != "text" or field == "condition"  # text is no condition
        elif field != "condition":
            assert case["expect"] != "error"
            assert step["output"] == case.get("text", step["output"])


# ---- names and paths ----------------------------------------------------------------------------------------


def workflow(session: Session, name: str, *steps: dict[str, Any], **top: Any) -> str:
    session.file(name, json.dumps({"version": 1, "isolation": "none", "steps": steps or [{"run": "true"}], **top}))
    return name


def untouched(session: Session) -> None:
    assert not [path for place in (session.path, session.home) for path in place.rglob("*") if "PWNED" in path.name]


def test_step_names_skill_names_and_variables_that_are_none_are_refused_with_their_place(session: Session) -> None:
    session.file("x/SKILL.md", "---\nname: x\ndescription: d\n---\nText\n")
    files = {}
    for case in paths("step name"):
        files[workflow(session, f"{case['id']}.json", {"name": case["value"], "run": "true"})] = case
    for case in paths("skill name"):
        step = {"skill": case["value"], "config": {"agent": "command", "command": ["cat"]}}
        files[workflow(session, f"{case['id']}.json", step)] = case
    for case in paths("env key"):
        files[workflow(session, f"{case['id']}.json", {"run": "true", "env": {case["value"]: "x"}})] = case
    found = refused(session, *files)
    for file, case in files.items():
        if case["expect"].startswith("error:") or case["expect"] == "error" or case["value"] in ("A=B", "A\0", "é", "CPOOL_SLOT"):
            assert found[file], case
            assert all(problem["line"] == 1 for problem in found[file])
    warned = refused(session, *files, severity="warning")
    assert {case["value"] for file, case in files.items() if warned[file]} >= {"PATH", "BASH_ENV", "IFS"}
    untouched(session)


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in paths("--run-id")])
def test_a_run_id_names_a_folder_and_a_branch_or_is_refused(session: Session, case: dict[str, Any]) -> None:
    session.repository()
    workflow(session, "flow.json", isolation="worktree")
    ended = session.flow("run", "flow.json", "--run-id", case["value"])
    assert ended.code == (0 if case["expect"] == "ok" else 2), ended.err
    if ended.code:
        assert not (session.path / ".cpool").exists()
        assert ended.err.replace("\n", "").isprintable()
    assert session.git("branch", "--list", "cpool/*") == ""
    assert {path.name for path in session.path.parent.iterdir()} == {"project", "home"}
    untouched(session)


def test_globs_and_folders_that_point_outside_match_nothing_and_are_entered_by_nobody(session: Session) -> None:
    (session.path / "link").symlink_to("/")
    (session.home / "x").write_text("outside")
    globs = [
        {"name": f"glob{number}", "run": "true", "expect": {"files": [case["value"]]}, "on_failure": "continue", "needs": []}
        for number, case in enumerate(
            [*paths("expect.files"), {"value": "link/etc/passwd"}, {"value": "../home/x"}, {"value": "**/passwd"}]
        )
    ]
    folders = [
        {"name": f"cwd{number}", "run": "touch PWNED; pwd", "cwd": case["value"], "on_failure": "continue", "needs": []}
        for number, case in enumerate([*paths("cwd"), {"value": "{{ args.v }}"}, {"value": "link/tmp"}])
    ]
    files = [workflow(session, f"{step['name']}.json", step, args={"v": {"default": "../home"}}) for step in [*globs, *folders]]
    found = refused(session, *files)
    steps = [step for step, file in zip([*globs, *folders], files, strict=True) if not found[file]]
    ended = session.flow("run", workflow(session, "all.json", *steps, args={"v": {"default": "../home"}}), "--json")
    assert ended.code == 0, ended.err
    assert {step["status"] for step in ended.json()["steps"]} == {"failed"}
    assert not any("uid" in json.dumps(step) or "root:" in json.dumps(step) for step in ended.json()["steps"])
    untouched(session)


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in paths("base")])
def test_a_base_is_one_commit_before_anything_is_made_or_refused(session: Session, case: dict[str, Any]) -> None:
    session.repository()
    ended = session.flow("run", workflow(session, "flow.json", isolation="worktree", base=case["value"]))
    assert ended.code == 2, ended.err
    assert "`base`" in ended.err
    assert not (session.path / ".cpool").exists()
    assert not (session.home / "state").exists()
    untouched(session)


def test_a_workflow_that_is_no_file_of_ours_is_refused(session: Session) -> None:
    (session.path.parent / "outside.yaml").write_text("the text of another file\n")
    values = [case["value"].replace("\0", "\\0") for case in paths("workflow:")]
    for value in [*values, "../outside.yaml", str(session.home)]:
        ended = session.flow("run", value)
        assert ended.code == 2, (value, ended.err)
        assert not (session.path / ".cpool").exists()
    files = [workflow(session, f"{case['id']}.json", {"workflow": case["value"]}) for case in paths("workflow:")]
    said = {problems[0]["message"].split("`: ")[-1].rsplit("` is ")[-1] for problems in refused(session, *files).values()}
    assert said == {
        "outside of the project", "no workflow `-`", "no workflow `.`", "that is no path", "a URL: workflows are files, and nothing is fetched",
    }  # fmt: skip
    assert not any("the text of another file" in str(problems) for problems in refused(session, *files).values())
    untouched(session)


def test_a_worktree_gets_only_what_is_inside_of_the_repository(session: Session) -> None:
    session.repository()
    session.file(".gitignore", "node_modules\n*.pem\n")
    for number in range(300):
        session.file(f"node_modules/pkg{number}/index.js", "x")
    session.file("a.pem", "key")
    workflow(
        session,
        "flow.json",
        {"name": "look", "run": "ls -A; (find node_modules -type f 2>/dev/null || true) | wc -l"},
        isolation="worktree",
    )
    for case in paths(".worktreeinclude"):
        session.file(".worktreeinclude", f"{case['value']}\n")
        ended = session.flow("run", "flow.json", "--json")
        if case["value"].startswith("/"):
            assert ended.code == 2
            assert f"--> .worktreeinclude:1:1\n  |\n1 | {case['value']}" in ended.err
            continue
        assert ended.code == 0, ended.err
        *names, count = ended.json()["steps"][0]["output"].split("\n")
        assert ("a.pem" in names) == (case["value"] == "*.pem")
        assert int(count) == (300 if case["value"] == "node_modules" else 0)
        assert "config" not in names
