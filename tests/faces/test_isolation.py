"""Isolation by the command line, with real git: nobody's work is lost, nobody's checkout is touched."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from place_runs import run
from session import Ended, Session

REFERENCES = ("refs/heads/main", "refs/stash", "refs/tags", "refs/remotes")
ONE_FILE = """
    version: 1
    isolation: worktree
    steps: [{name: make, run: "echo made > made.txt"}]
"""
AGENT = "{agent: command, command: [sh, -c, 'cat >/dev/null; echo done > agent.txt; echo done']}"


@pytest.fixture
def project(session: Session) -> Session:
    session.repository()
    session.environment |= {"GIT_AUTHOR_NAME": "You", "GIT_AUTHOR_EMAIL": "you@example.com"}
    return session


def first_lines(ended: Ended) -> str:
    """What is said before the first step."""
    return ended.err.split("started")[0]


def files(session: Session, reference: str) -> list[str]:
    return session.git("ls-tree", "-r", "--name-only", reference).split()


def snapshot(session: Session) -> dict[str, str]:
    """The user's checkout, index, HEAD, branches, configuration and hooks; not what our runs add to the repository."""
    kept = {}
    for path in sorted(session.path.rglob("*")):
        name = str(path.relative_to(session.path))
        ours = re.match(r"\.cpool|\.git/(objects|worktrees|logs/refs/heads/cpool|refs/heads/cpool|cpool-flow\.lock)", name)
        if path.is_file() and not path.is_symlink() and not ours:
            kept[name] = hashlib.sha256(path.read_bytes()).hexdigest() + oct(path.stat().st_mode)
    return kept


# ---- which, and what is said of it --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("{run: 'true'}", "none"),
        ("{prompt: Do it}", "worktree"),
        ("{prompt: Do it, config: {permission_mode: plan, agent: claude}}", "none"),
        ("{prompt: Do it, config: {permission_mode: default, agent: claude}}", "none"),
        ("{prompt: Do it, config: {permission_mode: dontAsk, agent: claude, allowed_tools: [Read]}}", "none"),
        ("{prompt: Do it, config: {permission_mode: dontAsk, agent: claude, allowed_tools: [Edit]}}", "worktree"),
        ("{prompt: Do it, config: {permission_mode: acceptEdits, agent: claude}}", "worktree"),
        ("{run: 'exit 0', recovery_prompt: Mend it}", "worktree"),
    ],
)
def test_the_default_is_a_worktree_where_an_agent_may_change_files(project: Session, step: str, expected: str) -> None:
    (project.home / "claude").write_text("#!/bin/sh\n")
    (project.home / "claude").chmod(0o755)
    project.file("flow.yaml", f"version: 1\nconfig: {AGENT}\nsteps: [{step}]\n")
    planned = project.flow("plan", "flow.yaml", "--json", PATH=f"{project.home}:{project.environment['PATH']}")
    assert planned.code == 0, planned.err
    assert planned.json()["isolation"] == expected
    assert not (project.path / ".cpool").exists()
    assert not (project.home / "state").exists()


def test_outside_of_a_repository_an_agent_that_may_write_is_warned_of(session: Session) -> None:
    session.file("flow.yaml", f"version: 1\nconfig: {AGENT}\nsteps: [{{prompt: Do it}}]\n")
    ended = session.flow("run", "flow.yaml")
    assert ended.code == 0, ended.err
    assert f"works in {session.path}" in ended.err.split("\n")[0]
    assert "warning: an agent may change files, and works in this directory" in first_lines(ended)
    assert (session.path / "agent.txt").exists()


def test_the_first_line_says_where_a_run_works_and_what_it_does_not_see(project: Session) -> None:
    project.file("flow.yaml", ONE_FILE)
    project.file("README", "changed\n")
    ended = project.flow("run", "flow.yaml", "--run-id", "one")
    assert ended.code == 0, ended.err
    assert re.sub(r"\(\w+-\w+\)", "(NAME)", ended.err.split("\n")[0]) == (
        "run one (NAME) · flow · 4 slots · works in a git worktree of its own;"
        " does not see 2 uncommitted files (`include_changes: true` takes them along) · branch cpool/flow/one"
    )
    assert ended.err.endswith("branch cpool/flow/one\nlook: cpool-flow diff one · take it over: cpool-flow merge one\n")


def test_the_place_is_outside_on_a_branch_of_the_run_from_a_base_that_is_fixed(project: Session) -> None:
    base = project.git("rev-parse", "HEAD").strip()
    project.file(
        "flow.yaml",
        """
        version: 1
        name: review
        isolation: worktree
        steps:
          - {name: move, run: 'git -C "$PROJECT" commit -q --allow-empty -m later && touch a.txt'}
          - {name: look, run: 'pwd; git rev-parse --abbrev-ref HEAD; echo {{ run.branch }} {{ run.base }} {{ run.id }}; git log --format=%s'}
        """,
    )
    result = run(project, None, "--run-id", "one", PROJECT=str(project.path), GIT_COMMITTER_NAME="c", GIT_COMMITTER_EMAIL="c")
    place, branch, names, *log = result["steps"][1]["output"].split("\n")
    assert Path(place).is_relative_to(project.home / "state" / "cpool-flow")
    assert branch == result["branch"] == "cpool/review/one"
    assert result["base"] == base
    assert names == f"cpool/review/one {base} one"
    assert log == ["move", "first"]
    assert project.git("rev-parse", "cpool/review/one~1").strip() == base
    assert result["directory"] is None
    assert not list((project.home / "state").rglob("a.txt"))


@pytest.mark.parametrize("isolation", ["none", "worktree"])
def test_the_checkout_the_index_the_branches_and_the_configuration_stay_as_they_are(project: Session, isolation: str) -> None:
    project.file("staged.txt", "staged")
    project.git("add", "staged.txt")
    project.file("README", "changed\n")
    project.git("config", "user.name", "Somebody")
    project.git("stash", "push", "-q", "--keep-index", "-m", "kept", "README")
    project.file("README", "changed again\n")
    project.file("flow.yaml", ONE_FILE.replace("made.txt", "$OUT/made.txt") if isolation == "none" else ONE_FILE)
    before, references = snapshot(project), project.git("for-each-ref", *REFERENCES)
    run(project, None, "--isolation", isolation, OUT=str(project.home))
    assert snapshot(project) == before
    assert project.git("for-each-ref", *REFERENCES) == references
    assert project.git("worktree", "list").count("\n") == 1


# ---- commits ------------------------------------------------------------------------------------------------


def test_what_a_step_leaves_is_a_commit_with_its_name_and_its_files(project: Session) -> None:
    result = run(
        project,
        """
        version: 1
        isolation: worktree
        steps:
          - {name: first, run: "echo 1 > one.txt; echo 2 > two.txt"}
          - {name: nothing, run: "true"}
          - {name: second, run: "rm one.txt; echo 3 >> two.txt"}
          - {name: each, foreach: [a, b], max_parallel: 1, run: "touch {{ item }}.txt"}
          - name: told
            run: [printf, "%s", "{{ [steps.first.changed_files, steps.nothing.changed_files, steps.second.changed_files, steps.first.commit] | tojson }}"]
        """,
    )
    log = project.git("log", "--format=%s|%an", result["branch"]).split("\n")
    assert log == ["each[1]|You", "each[0]|You", "second|You", "first|You", "first|t", ""]
    *changed, commit = json.loads(result["steps"][4]["output"])
    assert changed == [["one.txt", "two.txt"], [], ["one.txt", "two.txt"]]
    assert [step["commit"] for step in result["steps"][:3]] == [commit, None, project.git("rev-parse", f"{result['branch']}~2").strip()]
    assert project.git("show", "-s", "--format=%s", commit).strip() == "first"


def test_steps_at_once_in_one_place_are_one_commit_that_names_them_all(project: Session) -> None:
    result = run(
        project,
        """
        version: 1
        isolation: worktree
        steps:
          - {name: a, needs: [], run: 'touch a.txt; mkfifo "$HOME/met"; echo x > "$HOME/met"'}
          - {name: b, needs: [], run: 'until test -p "$HOME/met"; do sleep 0.02; done; cat "$HOME/met"; touch b.txt'}
          - {name: told, needs: [a, b], run: [printf, "%s", "{{ [steps.a.changed_files, steps.b.changed_files] | tojson }}"]}
        """,
    )
    assert result["steps"][2]["output"] == "[null, null]"
    subjects = project.git("log", "--format=%s", result["branch"]).split("\n")
    assert sorted(subjects[0].split(", ")) == ["a", "b"]
    assert subjects[1] == "first"
    assert result["steps"][0]["commit"] == result["steps"][1]["commit"] == project.git("rev-parse", result["branch"]).strip()


def test_the_tree_at_the_start_of_each_attempt_is_recorded(project: Session) -> None:
    result = run(
        project,
        """
        version: 1
        isolation: worktree
        steps:
          - {name: first, run: "touch one.txt"}
          - {name: twice, run: "echo x >> two.txt; test $(wc -l < two.txt) = 2", retries: 1, retry: {delay: 1ms}}
        """,
    )
    events = [json.loads(line) for line in project.flow("events").out.splitlines()]
    trees = [event["tree"] for event in events if event["type"] == "AttemptStarted"]
    branch = result["branch"]
    assert trees[0] == project.git("rev-parse", f"{result['base']}^{{tree}}").strip()
    assert trees[1:] == [project.git("rev-parse", f"{branch}~{number}^{{tree}}").strip() for number in (2, 1)]
    assert project.git("show", f"{branch}:two.txt") == "x\nx\n"


def test_what_a_failed_and_a_cancelled_run_left_is_on_the_branch(project: Session) -> None:
    result = run(project, 'version: 1\nisolation: worktree\nsteps: [{name: half, run: "echo half > half.txt; exit 3"}]\n', code=1)
    assert files(project, result["branch"]) == ["README", "half.txt"]
    result = run(
        project,
        'version: 1\nisolation: worktree\ntimeout: 2s\nsteps: [{name: long, run: "echo x > long.txt; sleep 60"}]\n',
        code=3,
    )
    assert files(project, result["branch"]) == ["README", "long.txt"]


# ---- what a fresh place gets --------------------------------------------------------------------------------


def test_a_place_gets_the_included_files_and_its_setup_once(project: Session) -> None:
    project.file(".gitignore", "*.env\ncache/\n")
    project.file(".worktreeinclude", "local.env\ncache/\n")
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "ignore")
    for name in ("local.env", "other.env", "cache/deep/file"):
        project.file(name, name)
    text = """
        version: 1
        isolation: worktree
        setup:
          - 'echo setup >> "$HOME/ledger"; test -z "$CPOOL_SLOT"; echo x > cache/made'
          - echo {{ run.id }} > cache/id
        steps:
          - {name: look, run: 'cat cache/id; ls -A; ls cache; echo "$CPOOL_RUN_ID $CPOOL_SLOT $CPOOL_PORT_OFFSET"'}
          - {name: stop, run: 'test -e "$HOME/go"'}
    """
    result = run(project, text, "--run-id", "one", code=1)
    shown = result["steps"][0]["output"].split("\n")
    assert shown[0] == "one"
    assert "local.env" in shown
    assert "other.env" not in shown
    assert shown[-4:] == ["deep", "id", "made", "one slot-1 100"]
    (project.home / "go").touch()
    assert project.flow("resume", "one").code == 0
    assert (project.home / "ledger").read_text() == "setup\nsetup\n"  # its first place went when it failed
    assert project.git("branch", "--list", "cpool/*") == ""


def test_a_setup_that_fails_ends_the_run_before_its_first_step(project: Session) -> None:
    project.file(
        "flow.yaml", 'version: 1\nisolation: worktree\nsetup: "echo no network >&2; exit 4"\nsteps: [{run: "touch \\"$HOME/ran\\""}]\n'
    )
    ended = project.flow("run", "flow.yaml")
    assert ended.code == 1
    told = "setup failed: `echo no network >&2; exit 4` ended with exit code 4"
    assert [line for line in ended.err.splitlines() if told in line or "no network\n" in f"{line}\n"] == [
        f"  {told}",
        "    no network",
        f"  stopping in order: {told}",
        f"  step_1               cancelled  {told}",
        f"failed: {told} · 0/1 steps · {ended.err.split('0/1 steps · ')[1].splitlines()[0]}",
    ]
    assert project.status()["error"] == told
    assert not (project.home / "ran").exists()


def test_the_changes_of_the_checkout_come_along_where_the_file_says_so(project: Session) -> None:
    project.file("README", "changed\n")
    project.file("new.txt", "new\n")
    before = project.git("status", "--porcelain")
    result = run(
        project,
        'version: 1\nisolation: worktree\ninclude_changes: true\nsteps: [{name: look, run: "cat README new.txt; touch mine.txt"}]\n',
    )
    assert result["steps"][0]["output"] == "changed\nnew"
    assert project.git("status", "--porcelain").replace("?? flow.yaml\n", "") == before
    assert files(project, result["branch"]) == ["README", "flow.yaml", "mine.txt", "new.txt"]
    assert project.git("log", "--format=%s", result["branch"]).split("\n")[:2] == ["look", "Uncommitted changes of the checkout"]


# ---- what stays ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keep", "step", "branch", "directory", "note"),
    [
        ("branch", "touch a.txt", True, False, ""),
        ("branch", "true", False, False, "had no changes and is gone"),
        ("worktree", "touch a.txt", True, True, ""),
        ("worktree", "true", True, True, ""),
        ("none", "touch a.txt", True, False, "stays: it is not merged"),
        ("none", "true", False, False, "had no changes and is gone"),
        ("none", "touch a.txt; git add a.txt; git commit -q -m x; git branch -f other HEAD", False, False, "was merged and is gone"),
    ],
)
def test_keep_says_what_stays_and_what_is_said(project: Session, keep: str, step: str, branch: bool, directory: bool, note: str) -> None:
    project.file("flow.yaml", f"version: 1\nisolation: worktree\nkeep: {keep}\nsteps: [{{run: {json.dumps(step)}}}]\n")
    ended = project.flow("run", "flow.yaml", "--run-id", "one", GIT_COMMITTER_NAME="c", GIT_COMMITTER_EMAIL="c")
    assert ended.code == 0, ended.err
    result = project.status()
    assert (result["branch"] == "cpool/flow/one", bool(result["directory"])) == (branch, directory)
    assert bool(project.git("branch", "--list", "cpool/flow/one")) == branch
    assert not result["directory"] or Path(result["directory"]).is_dir()
    assert note in ended.err
    assert len(list((project.home / "state").rglob("README"))) == directory


def test_commits_that_a_step_made_elsewhere_are_kept_and_named(project: Session) -> None:
    ended = run(
        project,
        """
        version: 1
        isolation: worktree
        env: {GIT_COMMITTER_NAME: c, GIT_COMMITTER_EMAIL: c}
        steps:
          - {name: aside, run: "git switch -q -c mine; touch mine.txt; git add -A; git commit -q -m mine"}
          - {name: away, run: "git switch -q --detach HEAD~1; touch away.txt; git add -A; git commit -q -m away; git log --format=%s"}
          - {name: back, run: "ls; git rev-parse --abbrev-ref HEAD"}
        """,
    )
    assert ended["steps"][2]["output"].split("\n")[-1] == ended["branch"]
    said = project.flow("events").out
    assert "a step left the place on the branch mine, which is kept" in said
    assert f"commits on a detached HEAD are kept on the branch {ended['branch']}-kept-1" in said
    assert project.git("log", "-1", "--format=%s", f"{ended['branch']}-kept-1").strip() == "away"
    assert project.git("log", "-1", "--format=%s", "mine").strip() == "mine"


# ---- repositories as they are -------------------------------------------------------------------------------


def test_runs_at_once_in_one_repository_do_not_stand_in_each_others_way(project: Session) -> None:
    project.file("flow.yaml", ONE_FILE)
    running = [project.start("run", "flow.yaml", "--run-id", f"r{number}", "--quiet") for number in range(5)]
    assert [process.wait() for process in running] == [0] * 5, (project.home / "err.txt").read_text()
    assert sorted(project.git("branch", "--list", "cpool/*", "--format=%(refname:short)").split()) == [
        f"cpool/flow/r{number}" for number in range(5)
    ]
    assert project.git("worktree", "list").count("\n") == 1
    assert project.git("fsck", "--full").count("error") == 0


def test_before_the_first_commit_a_worktree_is_refused_and_nothing_is_made(session: Session) -> None:
    session.git("init", "-q")
    session.file("flow.yaml", ONE_FILE)
    ended = session.flow("run", "flow.yaml")
    assert ended.code == 2
    assert "no commit yet" in ended.err
    assert not (session.path / ".cpool").exists()
    assert not (session.home / "state").exists()


def test_outside_of_git_or_without_git_a_worktree_is_refused(session: Session) -> None:
    session.file("flow.yaml", ONE_FILE)
    outside = session.flow("run", "flow.yaml")
    assert (outside.code, "needs a git repository" in outside.err) == (2, True)
    programs = session.home / "bin"
    programs.mkdir()
    for name in ("bash", "sh"):
        (programs / name).symlink_to(shutil.which(name) or "")
    without = session.flow("run", "flow.yaml", PATH=str(programs))
    assert without.code == 2
    assert "needs git, which is not installed" in without.err
    assert session.flow("run", "flow.yaml", "--isolation", "none", PATH=str(programs)).code == 0


def test_a_bare_repository_and_one_with_submodules_are_refused(project: Session) -> None:
    project.file("flow.yaml", ONE_FILE)
    project.git("clone", "-q", "--bare", ".", str(project.home / "bare.git"))
    bare = Session(project.home.parent / "moved")
    bare.path = project.home / "bare.git"
    (bare.path / "flow.yaml").write_text((project.path / "flow.yaml").read_text())
    ended = bare.flow("run", "flow.yaml")
    assert (ended.code, "bare repository" in ended.err) == (2, True)
    project.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(project.home / "bare.git"), "sub")
    project.git("commit", "-q", "-m", "sub")
    ended = project.flow("run", "flow.yaml")
    assert (ended.code, "submodules" in ended.err) == (2, True)
    assert project.flow("run", "flow.yaml", "--isolation", "none").code == 0


@pytest.mark.parametrize("state", ["detached", "shallow", "linked", "merging", "locked index", "sha256"])
def test_a_repository_in_an_unusual_state_gives_a_worktree(project: Session, state: str) -> None:
    project.git("commit", "-q", "--allow-empty", "-m", "second")
    match state:
        case "detached":
            project.git("switch", "-q", "--detach", "HEAD~1")
        case "shallow":
            shutil.move(project.path, project.home / "origin")
            project.home.joinpath("x").mkdir()
            project.path.mkdir()
            project.git("clone", "-q", "--depth", "1", f"file://{project.home}/origin", ".")
        case "linked":
            project.git("worktree", "add", "-q", str(project.home / "linked"), "-b", "side")
            project.path = project.home / "linked"
        case "merging":
            project.git("switch", "-q", "-c", "side")
            project.file("README", "side\n")
            project.git("commit", "-q", "-a", "-m", "side")
            project.git("switch", "-q", "main")
            project.file("README", "main\n")
            project.git("commit", "-q", "-a", "-m", "main")
            subprocess.run(["git", "merge", "side"], cwd=project.path, capture_output=True, check=False)
        case "locked index":
            (project.path / ".git" / "index.lock").touch()
        case "sha256":
            shutil.rmtree(project.path / ".git")
            project.git("init", "-q", "--object-format=sha256")
            project.git("add", "-A")
            project.git("commit", "-q", "-m", "first")
    head = project.git("rev-parse", "HEAD").strip()
    result = run(project, ONE_FILE)
    assert result["base"] == head
    assert files(project, result["branch"]) == ["README", "made.txt"]
    assert project.git("rev-parse", "HEAD").strip() == head
    assert (project.path / ".git" / "index.lock").exists() == (state == "locked index")


def test_paths_with_blanks_and_letters_of_all_kinds_work(session: Session) -> None:
    session.path = session.path.parent / "my pröject 日本 'x\" $HOME"
    session.path.mkdir()
    session.environment["XDG_STATE_HOME"] = str(session.home / "st äte\tx")
    session.repository()
    session.file("süb ordner/a b.txt", "x")
    session.git("add", "-A")
    session.git("commit", "-q", "-m", "names")
    session.file(
        "flow.yaml", 'version: 1\nisolation: worktree\nsteps: [{name: make, cwd: "süb ordner", run: "cat *.txt; echo y > ö.txt"}]\n'
    )
    result = run(session)
    assert result["steps"][0]["output"] == "x"
    assert session.git("-c", "core.quotePath=false", "diff", "--name-only", "main", result["branch"]) == "süb ordner/ö.txt\n"


def test_a_run_that_is_started_in_a_folder_below_works_in_that_folder(project: Session) -> None:
    project.file("packages/web/file.txt", "x")
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "web")
    flow = project.file("flow.yaml", 'version: 1\nisolation: worktree\nsteps: [{name: make, run: "cat file.txt; touch made.txt"}]\n')
    ended = subprocess.run(
        project.command("run", str(flow), "--json"),
        cwd=project.path / "packages/web",
        env=project.environment,
        capture_output=True,
        check=True,
    )
    result = json.loads(ended.stdout)
    assert result["steps"][0]["output"] == "x"
    assert "packages/web/made.txt" in files(project, result["branch"])
    assert (project.path / ".cpool").is_dir()


def test_variables_of_git_in_the_callers_environment_lead_nobody_to_the_checkout(project: Session) -> None:
    other = project.home / "other"
    other.mkdir()
    project.git("init", "-q", str(other))
    project.file(
        "flow.yaml",
        'version: 1\nisolation: worktree\nsteps: [{name: make, run: "touch made.txt; git add -A; git commit -q -m mine; git rev-parse --show-toplevel"}]\n',
    )
    before = snapshot(project)
    pointers = {
        "GIT_DIR": str(project.path / ".git"),
        "GIT_WORK_TREE": str(project.path),
        "GIT_INDEX_FILE": str(project.path / ".git" / "index"),
    }
    result = run(project, None, **pointers, GIT_COMMITTER_NAME="c", GIT_COMMITTER_EMAIL="c")
    assert Path(result["steps"][0]["output"]).is_relative_to(project.home / "state")
    assert snapshot(project) == before
    assert files(project, result["branch"]) == ["README", "made.txt"]
    elsewhere = run(project, None, GIT_DIR=str(other / ".git"), GIT_COMMITTER_NAME="c", GIT_COMMITTER_EMAIL="c")
    assert files(project, elsewhere["branch"]) == ["README", "made.txt"]


def test_stale_and_locked_worktrees_of_others_are_let_be(project: Session) -> None:
    for name in ("stale", "locked"):
        project.git("worktree", "add", "-q", str(project.home / name), "-b", name)
    shutil.rmtree(project.home / "stale")
    project.git("worktree", "lock", str(project.home / "locked"))
    before = project.git("worktree", "list", "--porcelain")
    assert files(project, run(project, ONE_FILE)["branch"]) == ["README", "made.txt"]
    assert project.git("worktree", "list", "--porcelain") == before


def test_hooks_editors_and_monitors_that_stand_in_the_repository_are_not_run_by_us(project: Session) -> None:
    trap = project.home / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {project.home}/SPRUNG\nexit 1\n")
    trap.chmod(0o755)
    hooks = project.path / ".git" / "hooks"
    for name in ("pre-commit", "post-checkout", "post-commit", "reference-transaction", "post-index-change", "prepare-commit-msg"):
        shutil.copy(trap, hooks / name)
    for key in ("core.fsmonitor", "core.editor", "core.pager", "sequence.editor", "gpg.program", "diff.external", "core.sshCommand"):
        project.git("config", key, str(trap))
    for key, value in (
        ("commit.gpgsign", "true"),
        ("core.hooksPath", str(hooks)),
        ("alias.commit-tree", f"!{trap}"),
        ("tag.gpgsign", "true"),
    ):
        project.git("config", key, value)
    (project.home / "SPRUNG").unlink(missing_ok=True)
    result = run(project, ONE_FILE)
    assert files(project, result["branch"]) == ["README", "made.txt"]
    assert not (project.home / "SPRUNG").exists()


def test_a_step_that_plants_hooks_and_configuration_gains_nothing_and_stops_no_commit(project: Session) -> None:
    result = run(
        project,
        """
        version: 1
        isolation: worktree
        steps:
          - name: plant
            run: |
              common=$(git rev-parse --git-common-dir)
              printf '#!/bin/sh\\ntouch "$HOME/SPRUNG"; exit 1\\n' > "$common/hooks/reference-transaction"
              cp "$common/hooks/reference-transaction" "$common/hooks/pre-commit"
              chmod +x "$common"/hooks/*
              git config core.fsmonitor "$common/hooks/pre-commit"
              git config filter.evil.clean "$common/hooks/pre-commit"
              echo '* filter=evil' > .gitattributes
              echo planted > planted.txt
          - {name: after, run: "rm -f \\"$HOME/SPRUNG\\"; echo after > after.txt"}
        """,
    )
    assert files(project, result["branch"]) == [".gitattributes", "README", "after.txt", "planted.txt"]
    assert not (project.home / "SPRUNG").exists()


def test_nobody_is_asked_for_a_name(project: Session) -> None:
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL"):
        del project.environment[name]
    result = run(project, ONE_FILE, EMAIL="")
    assert project.git("log", "-1", "--format=%an <%ae>", result["branch"]) == "cpool-flow <cpool-flow@localhost>\n"


def test_a_filter_as_of_lfs_works_in_both_directions(project: Session) -> None:
    project.git("config", "filter.rot.clean", "tr a-z b-za")
    project.git("config", "filter.rot.smudge", "tr b-za a-z")
    project.git("config", "filter.rot.required", "true")
    project.file(".gitattributes", "*.bin filter=rot\n")
    project.file("old.bin", "abc\n")
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "filtered")
    result = run(project, 'version: 1\nisolation: worktree\nsteps: [{name: make, run: "cat old.bin; echo xyz > new.bin"}]\n')
    assert result["steps"][0]["output"] == "abc"
    assert project.git("cat-file", "blob", f"{result['branch']}:new.bin") == "yza\n"
    assert "old.bin" not in project.git("diff", "--name-only", "main", result["branch"])


def test_damage_that_a_step_does_to_its_worktree_is_mended_and_told(project: Session) -> None:
    project.file(
        "flow.yaml",
        """
        version: 1
        isolation: worktree
        steps:
          - {name: wreck, on_failure: continue, run: "echo 1 > one.txt; touch $(git rev-parse --git-dir)/index.lock; rm .git"}
          - {name: after, run: "git status --short; echo 2 > two.txt"}
        """,
    )
    ended = project.flow("run", "flow.yaml")
    assert ended.code == 0, ended.err
    assert "note: the worktree's `.git` file was removed" in ended.err
    result = project.status()
    assert files(project, result["branch"]) == ["README", "one.txt", "two.txt"]
    assert result["steps"][1]["output"] == ""


def test_a_link_out_of_the_place_is_committed_as_a_link_and_never_followed(project: Session) -> None:
    (project.home / "outside").mkdir()
    (project.home / "outside" / "kept.txt").write_text("kept")
    result = run(
        project,
        """
        version: 1
        isolation: worktree
        steps:
          - {name: link, run: 'ln -s "$HOME/outside" out; ln -s / root'}
          - {name: enter, cwd: out, run: pwd, on_failure: continue}
        """,
    )
    assert result["steps"][1]["status"] == "failed"
    assert "outside of the run's place" in result["steps"][1]["reason"]
    assert project.git("ls-tree", result["branch"], "out").startswith("120000 ")
    assert (project.home / "outside" / "kept.txt").read_text() == "kept"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_state_folder_that_cannot_be_written_is_a_clear_error(project: Session) -> None:
    (project.home / "state").mkdir(mode=0o500)
    project.file("flow.yaml", ONE_FILE)
    ended = project.flow("run", "flow.yaml")
    assert ended.code in (2, 5)
    assert "state" in ended.err


def test_a_state_folder_that_is_a_file_or_inside_of_the_repository_is_a_clear_error(project: Session) -> None:
    project.file("flow.yaml", ONE_FILE)
    (project.home / "file").touch()
    ended = project.flow("run", "flow.yaml", XDG_STATE_HOME=str(project.home / "file"))
    assert ended.code in (2, 5), ended.err
    assert str(project.home / "file") in ended.err
    inside = project.flow("run", "flow.yaml", XDG_STATE_HOME=str(project.path / "state"))
    assert inside.code == 2
    assert "worktrees would be inside the repository" in inside.err
    assert not (project.path / "state").exists()
    assert project.git("branch", "--list", "cpool/*") == ""


def test_a_place_that_somebody_removed_is_made_again_by_resume(project: Session) -> None:
    project.file(
        "flow.yaml",
        """
        version: 1
        isolation: worktree
        steps:
          - {name: first, run: "echo 1 > one.txt"}
          - {name: second, run: 'cat one.txt; echo 2 > two.txt; pwd > "$HOME/place"'}
        """,
    )
    killed = project.flow("run", "flow.yaml", "--run-id", "one", CPOOL_FAULT="before-commit:2")
    assert killed.code == -9
    shutil.rmtree((project.home / "place").read_text().strip())
    ended = project.flow("resume", "one")
    assert ended.code == 0, ended.err
    assert "the worktree was made again from the branch cpool/flow/one; what was not committed there is not in it" in ended.err
    assert "one.txt" in files(project, "cpool/flow/one")


def test_a_worktree_that_was_kept_is_the_place_of_a_resume_and_is_not_set_up_again(project: Session) -> None:
    project.file(".gitignore", "ignored\n")
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "ignore")
    project.file(
        "flow.yaml",
        """
        version: 1
        isolation: worktree
        keep: worktree
        setup: echo x >> "$HOME/ledger"
        steps:
          - {name: first, run: "echo kept > ignored"}
          - {name: second, run: 'cat ignored; test -e "$HOME/go"'}
        """,
    )
    assert project.flow("run", "flow.yaml", "--run-id", "one").code == 1
    place = project.status()["directory"]
    (project.home / "go").touch()
    ended = project.flow("resume", "one")
    assert ended.code == 0, ended.err
    result = project.status()
    assert (result["directory"], result["steps"][1]["output"]) == (place, "kept")
    assert (project.home / "ledger").read_text() == "x\n"


def test_the_folder_of_a_run_in_place_keeps_no_links_into_the_repository(project: Session) -> None:
    project.file("flow.yaml", 'version: 1\nsteps: [{run: "touch made.txt", expect: {changes: true}}]\n')
    assert project.flow("run", "flow.yaml").code == 0
    assert not [path for path in project.last_run().rglob("*") if path.is_symlink()]


def test_a_disk_that_is_full_in_mid_run_loses_nothing_that_was_committed(project: Session) -> None:
    small = project.home / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(small)], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("this user may not mount a small disk")
    try:
        project.file(
            "flow.yaml",
            """
            version: 1
            isolation: worktree
            steps:
              - {name: first, run: "echo 1 > one.txt"}
              - {name: fill, run: 'test -e "$HOME/go" || head -c 400000 /dev/zero > fill.bin || true'}
              - {name: last, run: "echo 3 > three.txt"}
            """,
        )
        full = project.flow("run", "flow.yaml", "--run-id", "one", XDG_STATE_HOME=str(small))
        assert full.code == 5, full.err
        assert "No space left on device" in full.err
        assert "one.txt" in files(project, "cpool/flow/one")
        (project.home / "go").touch()
        for filled in small.rglob("fill.bin"):
            filled.unlink()
        ended = project.flow("resume", "one", XDG_STATE_HOME=str(small))
        assert ended.code == 0, ended.err
        assert files(project, "cpool/flow/one") == ["README", "one.txt", "three.txt"]
        assert [len(step["attempts"]) for step in project.status("one")["steps"]] == [1, 1, 1]
    finally:
        subprocess.run(["umount", str(small)], capture_output=True, check=False)


def test_worktrees_are_made_where_the_pool_file_says(project: Session) -> None:
    project.file("flow.yaml", "isolation: worktree\nsteps: [{name: here, run: pwd}]\n")
    home = project.home
    for worktrees, root in (
        ("../beside", home.parent / "beside"),
        ("~/of mine", home / "of mine"),
        (str(home / "absolute"), home / "absolute"),
    ):
        project.file("cpool.yaml", f"worktrees: {worktrees}\n")
        ended = project.flow("run", "flow.yaml", "--json")
        assert ended.code == 0, ended.err
        assert Path(ended.json()["steps"][0]["output"]).is_relative_to(root)
        assert list(root.rglob("README")) == []  # the worktree is gone


@pytest.mark.parametrize("worktrees", [".", "inside", ".git/worktrees"])
def test_worktrees_inside_of_the_repository_are_refused(project: Session, worktrees: str) -> None:
    project.file("flow.yaml", "isolation: worktree\nsteps: [{run: pwd}]\n")
    project.file("cpool.yaml", f"worktrees: {worktrees}\n")
    ended = project.flow("run", "flow.yaml")
    assert (ended.code, "worktrees would be inside the repository" in ended.err) == (2, True)
    assert "help: set `worktrees` in `cpool.yaml` to a folder outside of it" in ended.err
    assert not (project.path / ".cpool").exists()
