"""Groups, matrices and loops, as a user sees them."""

from __future__ import annotations

from typing import Any

from session import Session


def ran(session: Session, text: str, *options: str, code: int = 0) -> Any:
    session.file("flow.yaml", text)
    ended = session.flow("run", "flow.yaml", "--json", *options)
    assert ended.code == code, ended.err
    return ended.json()


def step(result: Any, name: str) -> Any:
    return next(each for each in result["steps"] if each["name"] == name)


def test_a_group_runs_a_chain_for_each_item_and_shows_its_items_outside(session: Session) -> None:
    result = ran(
        session,
        """
        steps:
          - name: work
            foreach: [a, b, c]
            as: letter
            steps:
              - name: upper
                run: printf %s {{ letter }} | tr a-z A-Z
              - name: twice
                run: [printf, "%s%s %s", "{{ steps.upper.output }}", "{{ steps.upper.output }}", "{{ index }}"]
        outputs:
          all: "{{ steps.work.items | map(attribute='output') | list }}"
          text: "{{ steps.work.output }}"
          second: "{{ steps.work.items[1].item }}"
        """,
    )
    assert result["outputs"] == {"all": ["AA 0", "BB 1", "CC 2"], "text": '["AA 0", "BB 1", "CC 2"]', "second": "b"}
    work = step(result, "work")
    assert (work["kind"], work["status"]) == ("group", "success")
    assert [item["item"] for item in work["items"]] == ["a", "b", "c"]
    assert [inner["name"] for inner in work["items"][0]["steps"]] == ["upper", "twice"]
    assert work["items"][0]["steps"][0]["output"] == "A"


def test_a_group_without_items_is_one_step_with_the_output_of_its_last(session: Session) -> None:
    result = ran(
        session,
        """
        steps:
          - name: both
            steps:
              - name: first
                run: echo 1
              - name: last
                run: 'echo "{\\"n\\": 2}"'
                output_vars: {n: n}
          - name: after
            run: echo {{ steps.both.n }} {{ steps.both.json.n }} {{ previous.output }}
        """,
    )
    assert step(result, "after")["output"] == '2 2 {"n": 2}'
    assert [inner["name"] for inner in step(result, "both")["steps"]] == ["first", "last"]


def test_steps_in_a_group_see_the_steps_around_it_and_groups_stand_in_groups(session: Session) -> None:
    result = ran(
        session,
        """
        steps:
          - name: base
            run: echo base
          - name: outer
            foreach: [1, 2]
            as: row
            steps:
              - name: inner
                foreach: [x, y]
                as: column
                steps:
                  - name: cell
                    run: echo {{ steps.base.output }} {{ row }}{{ column }}
        outputs: {cells: "{{ steps.outer.items | map(attribute='json') | list }}"}
        """,
    )
    assert result["outputs"]["cells"] == [["base 1x", "base 1y"], ["base 2x", "base 2y"]]


def test_a_failing_item_does_not_stop_the_others_and_names_its_step(session: Session) -> None:
    result = ran(
        session,
        """
        steps:
          - name: chains
            foreach: [ok, bad, fine]
            steps:
              - name: check
                run: test {{ item }} != bad
              - name: go
                run: echo {{ item }}
        """,
        code=1,
    )
    items = step(result, "chains")["items"]
    assert [item["status"] for item in items] == ["success", "failed", "success"]
    assert [inner["status"] for inner in items[1]["steps"]] == ["failed", "skipped"]
    assert items[1]["reason"] == "step `check` failed"
    assert "ended with exit code 1" in items[1]["error"]


def test_a_matrix_is_the_product_with_the_first_key_slowest(session: Session) -> None:
    result = ran(
        session,
        """
        steps:
          - name: grid
            matrix:
              os: [linux, mac]
              python: ["3.10", "3.11"]
              exclude: [{os: mac, python: "3.10"}]
              include: [{os: bsd}, {os: linux, extra: yes}]
            run: [echo, "{{ matrix.os }} {{ matrix.python | default('none') }} {{ matrix.extra | default('') }}"]
        """,
    )
    grid = step(result, "grid")
    assert [item["output"].strip() for item in grid["items"]] == ["linux 3.10 yes", "linux 3.11 yes", "mac 3.11", "bsd none"]
    assert grid["items"][0]["item"] == {"os": "linux", "python": "3.10", "extra": "yes"}


def test_filter_takes_the_items_for_which_it_holds_and_limit_reports_what_it_cuts(session: Session) -> None:
    session.file(
        "flow.yaml",
        """
        steps:
          - name: many
            foreach: [1, 2, 3, 4, 5, 6]
            filter: item % 2 == 0
            limit: 2
            run: echo {{ index }}:{{ item }}
        """,
    )
    ended = session.flow("run", "flow.yaml", "--json")
    assert [item["output"] for item in step(ended.json(), "many")["items"]] == ["0:2", "1:4"]
    assert "step `many`: `limit` took 2 of 3 items" in ended.err


def test_a_loop_goes_on_until_its_expression_holds_and_shows_the_last_round(session: Session) -> None:
    result = ran(
        session,
        """
        steps:
          - name: count
            repeat: {until: steps.count.json >= 3, max: 10}
            output: json
            run: echo {{ (steps.count.json | default(0)) + 1 }}
          - name: say
            run: echo {{ steps.count.output }}
        """,
    )
    count = step(result, "count")
    assert (count["status"], count["rounds"], count["reason"]) == ("success", 3, "after 3 rounds")
    assert step(result, "say")["output"] == "3"


def test_a_loop_that_never_holds_fails_with_the_number_of_its_rounds(session: Session) -> None:
    result = ran(
        session,
        """
        steps:
          - name: spin
            repeat: {until: "false", max: 2}
            run: echo {{ iteration }}
        """,
        code=1,
    )
    assert step(result, "spin")["reason"] == "`until` does not hold after 2 rounds (`max`)"


def test_a_loop_in_which_nothing_changes_any_more_ends_early(session: Session) -> None:
    result = ran(
        session,
        """
        steps:
          - name: spin
            repeat: {until: "false", max: 50}
            steps:
              - name: ask
                run: echo {{ iteration % 3 }}
        """,
        code=1,
    )
    spin = step(result, "spin")
    assert spin["reason"] == "no progress: this state was seen before, in round 4"
    assert spin["rounds"] == 4


def test_a_loop_over_a_group_mends_until_its_check_passes(session: Session) -> None:
    session.repository()
    result = ran(
        session,
        """
        isolation: worktree
        steps:
          - name: mend
            repeat: {until: steps.check.status == 'success', max: 5}
            steps:
              - name: work
                run: echo x >> lines
              - name: check
                on_failure: continue
                run: test "$(wc -l < lines)" -ge 3
        """,
    )
    assert step(result, "mend")["rounds"] == 3
    assert session.git("show", f"{result['branch']}:lines") == "x\nx\nx\n"


def test_an_end_stops_early_and_finally_still_runs(session: Session) -> None:
    result = ran(
        session,
        """
        steps:
          - name: look
            run: echo nothing
          - name: stop
            when: steps.look.output == 'nothing'
            end: success
            reason: "{{ steps.look.output }} to do"
          - name: work
            run: exit 1
        finally:
          - name: tidy
            run: echo {{ steps.work.status }}
        """,
    )
    assert result["status"] == "success"
    assert [(each["name"], each["status"]) for each in result["steps"]] == [
        ("look", "success"),
        ("stop", "success"),
        ("work", "skipped"),
        ("tidy", "success"),
    ]
    assert step(result, "work")["reason"] == "nothing to do"
    assert step(result, "tidy")["output"] == "skipped"


def test_an_end_that_failed_is_a_failed_run_with_its_reason(session: Session) -> None:
    result = ran(session, "steps: [{name: stop, end: failed, reason: unsafe}, {name: never, run: 'true'}]", code=1)
    assert (result["status"], result["error"]) == ("failed", "unsafe")


def test_an_early_end_lets_a_failure_before_it_count(session: Session) -> None:
    result = ran(
        session,
        """
        steps:
          - {name: bad, run: exit 1}
          - {name: stop, end: success, reason: enough, needs: bad, join: done}
        """,
        code=1,
    )
    assert (result["status"], result["error"]) == ("failed", "step `bad` failed")


def test_an_early_end_is_no_reason_for_an_output_that_cannot_be_had(session: Session) -> None:
    result = ran(
        session,
        """
        steps:
          - {name: stop, end: success, reason: enough}
          - {name: cut, run: echo never}
        outputs: {text: "{{ steps.cut.output }}"}
        """,
        code=1,
    )
    place = f"({session.path}/flow.yaml:5:21)"
    assert result["error"] == f"output `text`: `steps.cut.output` has no value: step `cut` was skipped {place}"


def test_a_resume_goes_on_inside_of_the_item_that_failed(session: Session) -> None:
    text = """
        steps:
          - name: chains
            foreach: [a, b]
            steps:
              - name: one
                run: echo one-{{ item }} >> "$LEDGER"
              - name: two
                run: |
                  echo two-{{ item }} >> "$LEDGER"
                  test {{ item }} = a || test -f "$LEDGER.ok"
        """
    ledger = session.home / "ledger"
    session.environment["LEDGER"] = str(ledger)
    ran(session, text, code=1)
    (session.home / "ledger.ok").touch()
    assert session.flow("resume", "last").code == 0
    assert sorted(ledger.read_text().split()) == ["one-a", "one-b", "two-a", "two-b", "two-b"]


def test_items_whose_outputs_are_no_json_can_be_handed_on_whole(session: Session) -> None:
    result = ran(
        session,
        """
        steps:
          - {name: a, foreach: [1, 2], run: "echo item {{ item }}"}
          - {name: b, foreach: steps.a.items, run: "echo {{ item.output }} again"}
          - {name: c, run: [echo, "{{ steps.a.items | tojson }}"], output: json}
        outputs: {texts: "{{ steps.b.json }}", whole: "{{ steps.c.json | map(attribute='output') | list }}"}
        """,
    )
    assert result["outputs"] == {"texts": ["item 1 again", "item 2 again"], "whole": ["item 1", "item 2"]}
    assert "json" not in step(result, "b")["items"][0]["item"]


def test_the_table_of_a_run_shows_steps_under_what_holds_them(session: Session) -> None:
    session.file(
        "flow.yaml",
        """
        steps:
          - name: each
            foreach: [1, 2]
            steps:
              - {name: one, run: "true"}
              - {name: two, run: "exit {{ item - 1 }}"}
          - {name: whole, join: done, steps: [{name: inside, run: "true"}]}
          - {name: again, repeat: {until: iteration == 2, max: 3}, run: "true"}
        """,
    )
    assert session.flow("run", "flow.yaml").code == 1
    table = session.flow("status").out.split("\nfailed each")[0].splitlines()[1:]
    rows = [line.split()[:2] for line in table]
    assert rows == [
        ["each", "failed"], ["each[1]", "failed"], ["one", "success"], ["two", "failed"],
        ["whole", "success"], ["inside", "success"], ["again", "success"],
    ]  # fmt: skip
