"""`plan` of groups, loops and sub-workflows; drawn; and what is different from another file or a run."""

from __future__ import annotations

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
    assert [line.strip() for line in lines if line.startswith(("     |", "     verify", "     env"))] == [
        "| skill implement",
        "|   description:",
        "|     Number 1.",
        "|",
        "|     {{ attempt }}",
        "env HERE: 1",
        "verify: make; make test",
        "| workflow child.yaml",
        "|   text: 1",
        "|   list: [1]",
        "| workflow child.yaml",
    ]


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
