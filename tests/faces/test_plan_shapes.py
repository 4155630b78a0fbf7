"""`plan` of groups, loops and sub-workflows; drawn; and what is different from another file or a run."""

from __future__ import annotations

import json

import pytest
from session import Session

FLOW = """
    args: {n: {type: integer, default: 1}}
    steps:
      - name: list
        run: echo {{ args.n }}
      - name: fetch-all
        foreach: [a, b]
        max_parallel: 1
        steps:
          - name: get
            run: echo {{ item }}
          - name: put
            run: cat
      - name: again
        repeat: {until: "true", max: 3}
        run: echo x
      - name: sub
        workflow: child.yaml
      - name: ask
        approve: Go?
      - name: stop
        end: success
    finally:
      - name: tidy
        run: "true"
"""


@pytest.fixture
def project(session: Session) -> Session:
    session.file("child.yaml", "steps: [{name: inner, run: 'true'}]")
    session.file("flow.yaml", FLOW)
    return session


def test_steps_inside_are_numbered_under_what_holds_them(project: Session) -> None:
    titles = [line.strip() for line in project.flow("plan", "flow.yaml").out.splitlines() if line.strip()[0].isdigit()]
    assert titles == [
        "1. list (run)",
        "2. fetch-all (group) after list",
        "2.1. get (run)",
        "2.2. put (run) after get",
        "3. again (run) after fetch-all",
        "4. sub (workflow) after again",
        "4.1. inner (run)",
        "5. ask (approve) after sub",
        "6. stop (end) after ask",
        "7. tidy (run) · finally",
    ]


def test_mermaid_draws_groups_as_subgraphs_and_finally_behind_the_last(project: Session) -> None:
    text = project.flow("plan", "flow.yaml", "--format", "mermaid").out
    assert text.startswith("flowchart TD\n")
    assert '  subgraph s_fetchHall["fetch-all ×"]\n    s_fetchHall__get["get"]\n' in text
    assert "    s_fetchHall__get --> s_fetchHall__put\n  end\n" in text
    assert "  s_list --> s_fetchHall\n" in text
    assert "  s_stop -.-> s_tidy\n" in text
    assert '  s_ask{{"ask · approve"}}\n' in text
    assert '  s_again["again ↻3"]\n' in text


def test_dot_draws_groups_as_clusters(project: Session) -> None:
    text = project.flow("plan", "flow.yaml", "--format", "dot").out
    assert text.startswith('digraph "flow" {\n')
    assert "  subgraph cluster_s_fetchHall {\n" in text
    assert "  s_list -> s_fetchHall [lhead=cluster_s_fetchHall];\n" in text
    assert text.endswith("}\n")


def test_the_difference_of_two_files_names_what_came_went_and_changed(project: Session) -> None:
    project.file("new.yaml", FLOW.replace("name: get", "name: take").replace("max: 3", "max: 4"))
    ended = project.flow("plan", "new.yaml", "--diff", "flow.yaml", "--json")
    assert ended.json() == {
        "added": ["fetch-all/take"],
        "removed": ["fetch-all/get"],
        "changed": [{"name": "fetch-all/put", "keys": ["needs"]}, {"name": "again", "keys": ["repeat"]}],
        "workflow": ["workflow"],
    }
    assert (
        "-     repeat: at most 3 rounds, until true\n+     repeat: at most 4 rounds, until true\n"
        in project.flow("plan", "new.yaml", "--diff", "flow.yaml").out
    )


def test_the_difference_to_a_run_is_that_to_what_it_was_started_with(project: Session) -> None:
    assert project.flow("run", "flow.yaml", "--auto-approve").code == 0
    assert project.flow("plan", "flow.yaml", "--diff", "last").out == "no difference\n"
    project.file("flow.yaml", FLOW.replace("echo x", "echo y"))
    assert "-     | echo x\n+     | echo y\n" in project.flow("plan", "flow.yaml", "--diff", "last").out


def test_the_worst_case_is_the_caps_of_all_attempts(session: Session) -> None:
    session.file(
        "flow.yaml",
        """
        config: {max_budget_usd: 0.5}
        steps:
          - {name: a, prompt: x, retries: 1}
          - {name: b, foreach: [1, 2, 3], prompt: x, retries: 0}
          - {name: c, run: x, recovery_prompt: y, recoveries: 2}
        """,
    )
    assert session.flow("plan", "flow.yaml", "--json").json()["worst_case_usd"] == 0.5 * (2 + 3 + 2)


@pytest.mark.parametrize(
    ("top", "steps", "worst", "line"),
    [
        ("budget_usd: 5", "{name: a, prompt: x}", 5, "  spends at most $5.00 (the budget)"),
        (
            "budget_usd: 5",
            "{name: a, prompt: x, config: {max_budget_usd: 1}, retries: 1}",
            2,
            "  spends at most $2.00 (`max_budget_usd` of all",
        ),
        (
            "budget_usd: 5",
            "{name: a, prompt: x, config: {agent: codex}}",
            None,
            "  budget $5.00; not every agent can be told where to stop",
        ),
        ("", "{name: a, prompt: x}", None, "1. a (prompt)"),
        ("budget_usd: 5", "{name: a, workflow: sub.yaml, foreach: [1, 2]}", 3, "  spends at most $3.00"),
        ("", "{name: a, run: x}", 0, "1. a (run)"),
    ],
)
def test_a_plan_says_what_a_run_can_spend_at_most(session: Session, top: str, steps: str, worst: float | None, line: str) -> None:
    session.file("sub.yaml", "budget_usd: 1.5\nsteps:\n  - {name: b, prompt: x}\n")
    session.file("flow.yaml", f"{top}\nsteps:\n  - {steps}\n")
    assert session.flow("plan", "flow.yaml", "--json").json()["worst_case_usd"] == worst
    assert f"\n{line}" in session.flow("plan", "flow.yaml").out


def test_texts_are_rendered_as_far_as_their_values_are_known(session: Session) -> None:
    session.file(
        "flow.yaml",
        """
        config: {agent: command, command: [cat]}
        args: {pr: {type: integer}, title: {type: string, default: "a 'b'; rm"}}
        steps:
          - {name: a, run: "gh pr diff {{ args.pr }} --title {{ args.title }} {{ run.id }}"}
          - {name: b, effects: none, prompt: "PR {{ args.pr }} ({{ args.title }}): {{ steps.a.output }}, {{ '}}' ~ args.pr }}"}
          - {name: c, run: [echo, "{{ args.pr }}-{{ steps.a.output }}"]}
          - {name: d, effects: none, prompt: "{% if args.pr > 3 %}big {{ args.pr }}{% endif %}"}
        """,
    )
    document = session.flow("plan", "flow.yaml", "--arg", "pr=42", "--json").json()
    assert [step["text"] for step in document["steps"]] == [
        "gh pr diff 42 --title {{ args.title }} {{ run.id }}",
        "PR 42 (a 'b'; rm): {{ steps.a.output }}, {{ '}}' ~ args.pr }}",
        "echo 42-{{ steps.a.output }}",
        "big 42",
    ]


def test_what_a_skill_or_a_workflow_is_given_stands_line_by_line(session: Session) -> None:
    session.file(
        "flow.yaml",
        """
        args: {n: {type: integer, default: 1}}
        steps:
          - name: fix
            skill: implement
            with:
              description: |
                Number {{ args.n }}.

                {{ attempt }}
            env: {HERE: "{{ args.n }}"}
            verify: [make, "make test"]
          - name: sub
            workflow: child.yaml
            with: {text: "{{ args.n }}", list: [1]}
          - name: bare
            workflow: child.yaml
        """,
    )
    session.file("child.yaml", "args: {text: {default: 1}, list: {default: []}}\nsteps: [{name: inner, run: 'true'}]")
    lines = session.flow("plan", "flow.yaml").out.splitlines()
    shown = [line.strip() for line in lines if line.startswith(("     |", "     verify", "     env"))]
    assert [*shown[:6], *shown[shown.index("env HERE: 1") :]] == [
        "| skill implement",
        "|   description:",
        "|     Number 1.",
        "|",
        "|     {{ attempt }}",
        "|",
        "env HERE: 1",
        "verify: make; make test",
        "| workflow child.yaml",
        "|   text: 1",
        "|   list: [1]",
        "| workflow child.yaml",
    ]


def test_a_plan_shows_the_prompt_of_a_skill_as_far_as_its_values_are_known(session: Session) -> None:
    metadata = "metadata: {arguments: {n: {type: integer}, text: {type: string}}}\n"
    session.file(
        "skills/known/SKILL.md", f"---\nname: known\ndescription: d\n{metadata}---\n{{{{ args.n + 1 }}}} of {{{{ args.text }}}}, $0\n"
    )
    session.file(
        "flow.yaml",
        """
        args: {n: {type: integer, default: 3}}
        config: {permission_mode: plan}
        steps:
          - {name: a, skill: known, with: {n: "{{ args.n }}", text: "some {{ args.n }}"}}
          - {name: b, skill: known, with: {n: 1, text: "{{ steps.a.output }}"}}
          - {name: c, skill: known, with: {n: "{{ steps.a.json }}", text: x}}
        """,
    )
    steps = session.flow("plan", "flow.yaml", "--format", "json").json()["steps"]
    assert [step["prompt"] for step in steps] == [
        "4 of some 3, 3",
        "2 of {{ steps.a.output }}, 1",
        "{{ args.n + 1 }} of {{ args.text }}, $0",
    ]
    assert "     |   text: some 3\n     |\n     | 4 of some 3, 3\n" in session.flow("plan", "flow.yaml").out


def test_a_plan_says_how_many_lines_of_a_long_text_it_leaves_out(session: Session) -> None:
    session.file("flow.yaml", "steps:\n  - run: |\n" + "      echo line\n" * 23)
    assert "     | echo line\n     … 3 lines more\n" in session.flow("plan", "flow.yaml").out


def test_no_change_of_a_file_is_missed_by_the_difference(session: Session) -> None:
    changes = {
        "on_failure": "continue",
        "stdin": "other",
        "cwd": "sub",
        "ok_codes": [3],
        "output": "lines",
        "output_vars": {"x": "."},
        "retry": {"delay": "1s"},
        "expect": {"files": ["a"]},
        "effects": "external",
        "artifacts": ["a/*"],
        "secrets": ["TOKEN"],
        "description": "hi",
    }
    top = {"context": {"a": "b"}, "env": {"A": "b"}, "budget_usd": 3, "keep": "none", "setup": "make", "concurrency": {"group": "x"}}
    plain = {name: {"name": name, "needs": [], "run": ["true"], "retries": 1} for name in changes}
    changed = [{**plain[name], name: value} for name, value in changes.items()]
    session.file("old.yaml", json.dumps({"secrets": ["TOKEN"], "steps": list(plain.values())}))
    session.file("new.yaml", json.dumps({"secrets": ["TOKEN"], **top, "outputs": {"o": 1}, "steps": changed}))
    ended = session.flow("plan", "new.yaml", "--diff", "old.yaml", "--format", "json", TOKEN="abcdef")
    assert ended.code == 0, ended.err
    found = ended.json()
    assert {step["name"]: step["keys"] for step in found["changed"]} == {name: [name] for name in changes}
    assert set(found["workflow"]) == {"workflow", *top, "outputs"}
    text = session.flow("plan", "new.yaml", "--diff", "old.yaml", TOKEN="abcdef").out
    added = [line[1:].strip() for line in text.splitlines() if line.startswith("+")]
    assert {line.partition(":")[0] for line in added} >= {*changes, *top, "outputs"} - {"budget_usd"}
    assert "budget $3.00" in added


def test_a_change_far_down_in_a_long_text_is_a_difference(session: Session) -> None:
    for name, last in (("old", "echo a"), ("new", "echo b")):
        session.file(f"{name}.yaml", "steps:\n  - run: |\n" + "      echo line\n" * 23 + f"      {last}\n")
    assert "+     | echo b\n" in session.flow("plan", "new.yaml", "--diff", "old.yaml").out


def test_a_default_is_not_shown_in_place_of_a_value_that_comes_later(session: Session) -> None:
    session.file(
        "flow.yaml",
        """
        steps:
          - {name: a, matrix: {os: [l]}, run: "echo {{ matrix.x | default('-') }} {{ context.a | default('none') }}"}
          - {name: b, workflow: sub.yaml, with: {x: ["{{ steps.a.json | default(1) }}"]}}
        """,
    )
    session.file("sub.yaml", "args: {x: {}}\nsteps: [{run: echo}]\n")
    texts = [step["text"] for step in session.flow("plan", "flow.yaml", "--format", "json").json()["steps"]]
    assert texts[0] == "echo {{ matrix.x | default('-') }} none"
    assert "{{ steps.a.json | default(1) }}" in texts[1]


def test_a_plan_says_of_which_group_one_run_at_a_time_is_at_work(session: Session) -> None:
    session.file(
        "flow.yaml",
        """
        args: {pr: {type: integer}}
        concurrency: {group: "review of {{ args.pr }} by {{ run.id }}", cancel: true}
        steps: [{name: a, run: "true"}]
        """,
    )
    session.file("plain.yaml", "concurrency: {group: builds}\nsteps: [{name: a, run: 'true'}]\n")
    planned = session.flow("plan", "flow.yaml", "--arg", "pr=42")
    assert "  one run at a time of group `review of 42 by {{ run.id }}`: it cancels those before it\n" in planned.out
    assert "  one run at a time of group `builds`: it waits for its turn\n" in session.flow("plan", "plain.yaml").out
    document = session.flow("plan", "plain.yaml", "--json").json()
    assert document["concurrency"] == {"group": "builds", "cancel": False}
