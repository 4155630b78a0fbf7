"""What runs, in which order, and what is skipped: chain, needs, join, when, foreach, finally. By the real command line."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from session import Session

from cases import cases, dag_judge


def run(session: Session, text: str, *arguments: str, code: int = 0) -> dict[str, Any]:
    """The result of a run of this file, its steps by name."""
    session.file("flow.yaml", text)
    ended = session.flow("run", "flow.yaml", "--json", *arguments)
    assert ended.code == code, ended.err
    result = ended.json()
    return {**result, "steps": {step["name"]: step for step in result["steps"]}}


def statuses(result: dict[str, Any]) -> dict[str, str]:
    return {name: step["status"] for name, step in result["steps"].items()}


def reasons(result: dict[str, Any]) -> dict[str, str | None]:
    return {name: step["reason"] for name, step in result["steps"].items()}


def started(step: dict[str, Any]) -> str:
    at: str = step["attempts"][0]["started_at"]
    return at


def ended(step: dict[str, Any]) -> str:
    at: str = step["attempts"][-1]["ended_at"]
    return at


def test_a_chain_widens_and_comes_together(session: Session) -> None:
    result = run(
        session,
        """
        slots: 2
        steps:
          - {run: echo 1}
          - {name: left, run: echo 2}
          - {name: right, needs: step_1, run: echo 3}
          - {name: alone, needs: [], run: echo 4}
          - {name: together, needs: [left, right], run: "echo {{ steps.left.output }}{{ steps.right.output }}"}
        outputs: {sum: "{{ steps.together.output }}"}
        """,
    )
    steps = result["steps"]
    assert result["outputs"] == {"sum": "23"}
    assert ended(steps["step_1"]) <= started(steps["left"])
    assert max(ended(steps["left"]), ended(steps["right"])) <= started(steps["together"])
    assert {attempt["slot"] for step in steps.values() for attempt in step["attempts"]} <= {"slot-1", "slot-2"}


def test_a_real_graph_is_run_in_its_order_and_on_its_slots(session: Session) -> None:
    tasks = cases("dags/helloworld-forkjoin-10.json")["tasks"]
    sleeping = [{"name": task["id"], "needs": task["needs"], "run": ["sleep", f"{task['seconds'] / 1000:.3f}"]} for task in tasks]
    steps = run(session, json.dumps({"slots": 3, "steps": sleeping}))["steps"]
    schedule = [{"id": name, "start": moment(started(step)), "end": moment(ended(step))} for name, step in steps.items()]
    assert dag_judge().problems(tasks, {"slots": 3, "tasks": schedule}) == []


def moment(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def test_what_follows_a_failure(session: Session) -> None:
    result = run(
        session,
        """
        steps:
          - {name: bad, run: exit 1}
          - {name: after, run: touch never}
          - {name: later, run: touch never}
          - {name: other, needs: [], run: "true"}
          - {name: cleanup, needs: [bad], join: done, run: 'echo {{ steps.bad.status }} {{ steps.bad.error | length > 10 }}'}
          - {name: report, needs: [bad, other], when: steps.bad.status == 'failed', run: "echo {{ steps.other.status }}"}
          - {name: quiet, needs: bad, when: "previous.status == 'success'", run: touch never}
          - {name: any, needs: [bad, other], join: any, run: "true"}
          - {name: none, needs: [bad], join: any, run: touch never}
        """,
        code=1,
    )
    assert statuses(result) == {
        "bad": "failed",
        "after": "skipped",
        "later": "skipped",
        "other": "success",
        "cleanup": "success",
        "report": "success",
        "quiet": "skipped",
        "any": "success",
        "none": "skipped",
    }
    found = reasons(result)
    assert (found["after"], found["later"], found["none"]) == ("upstream failed",) * 3
    assert found["quiet"] == "`when` is false"
    assert found["bad"] == "`exit 1` ended with exit code 1"
    assert result["steps"]["cleanup"]["output"] == "failed true"
    assert result["error"] == "step `bad` failed"
    assert not (session.path / "never").exists()


def test_when_reads_values_and_dependents_of_a_skipped_step_run(session: Session) -> None:
    result = run(
        session,
        """
        args: {deep: {type: boolean, default: false}}
        steps:
          - {name: count, run: echo 3, output: json}
          - {name: some, when: steps.count.json > 2 and not args.deep, run: echo some}
          - {name: deep, when: args.deep, run: touch never}
          - {name: after, run: "echo {{ steps.deep.output | default('nothing') }} {{ steps.deep.status }}"}
          - {name: never, when: false, run: touch never}
          - {name: reads, run: "echo {{ steps.never.output }}"}
          - {name: text, needs: [], when: "'false'", run: touch never}
          - {name: odd, needs: [], when: "args.deep ~ 'x'", run: touch never}
        """,
        code=1,
    )
    assert statuses(result) == {
        "count": "success",
        "some": "success",
        "deep": "skipped",
        "after": "success",
        "never": "skipped",
        "reads": "failed",
        "text": "skipped",
        "odd": "failed",
    }
    assert result["steps"]["after"]["output"] == "nothing skipped"
    assert result["steps"]["reads"]["attempts"][0]["error_kind"] == "invalid"
    assert "step `never` was skipped" in result["steps"]["reads"]["attempts"][0]["error"]
    assert "the condition gives text, neither true nor false" in result["steps"]["odd"]["error"]
    assert not (session.path / "never").exists()


def test_a_fan_out_makes_one_task_per_item_and_is_read_in_item_order(session: Session) -> None:
    result = run(
        session,
        """
        slots: 3
        args: {names: {type: array, default: [{id: z, wait: 0.2}, {id: y, wait: 0}]}}
        steps:
          - {name: list, run: [echo, '["b", "a", "c"]'], output: json}
          - name: work
            foreach: steps.list.json
            as: letter
            run: |
              echo '{"up": "'{{ letter | upper }}'", "n": {{ index }}}'
            output_vars: {up: up, n: n}
          - {name: literal, needs: [], foreach: [x, "{{ args.names[0].id }}", 7], run: "echo {{ item }}"}
          - {name: objects, needs: [], foreach: "{{ args.names }}", run: "sleep {{ item.wait }}; echo {{ item.id }}"}
          - name: read
            needs: [work, literal, objects]
            run: |
              echo {{ steps.work.items | map(attribute='up') | join('') }}
              echo {{ steps.work.items | map(attribute='item') | join('') }}
              echo {{ steps.work.items[2].n }} {{ steps.work.items[1].status }} {{ steps.work.items[0].output | length }}
              echo {{ steps.literal.output }}
              echo {{ steps.objects.json | tojson }} {{ steps.objects.items[0].index }}
          - {name: previous, foreach: steps.work.items, run: "echo {{ item.up }} {{ previous.status }}"}
        """,
    )
    assert result["steps"]["read"]["output"].split("\n") == ["BAC", "bac", "2 success 19", '["x", "z", "7"]', '["z", "y"] 0']
    work = result["steps"]["work"]
    assert [(item["name"], item["item"], item["vars"]) for item in work["items"]] == [
        ("work[0]", "b", {"up": "B", "n": 0}),
        ("work[1]", "a", {"up": "A", "n": 1}),
        ("work[2]", "c", {"up": "C", "n": 2}),
    ]
    assert (work["attempts"], work["output"]) == ([], None)
    assert [item["output"] for item in result["steps"]["previous"]["items"]] == ["B success", "A success", "C success"]


def test_an_empty_list_succeeds_and_what_is_no_list_or_too_long_fails_with_the_word_that_helps(session: Session) -> None:
    result = run(
        session,
        """
        args: {none: {type: array, default: []}, text: {default: abc}, many: {type: array, default: [1, 2, 3]}}
        steps:
          - {name: empty, foreach: args.none, run: touch never}
          - {name: after, run: "echo {{ steps.empty.items | length }} {{ steps.empty.output }}"}
          - {name: text, needs: [], foreach: args.text, run: touch never}
          - {name: long, needs: [], foreach: args.many, max_items: 2, run: touch never}
          - {name: waits, needs: long, run: touch never}
        """,
        code=1,
    )
    steps = result["steps"]
    assert (steps["empty"]["status"], steps["empty"]["items"], steps["after"]["output"]) == ("success", [], "0 []")
    assert "`foreach` of step `text` came to text, not to a list" in steps["text"]["error"]
    assert "`foreach` of step `long` came to 3 items; `max_items` allows 2" in steps["long"]["error"]
    assert steps["waits"]["reason"] == "upstream failed"
    assert not (session.path / "never").exists()


def test_max_parallel_bounds_one_fan_out_and_slots_bound_all(session: Session) -> None:
    session.file(
        "busy.py",
        """
        import os, pathlib, sys
        name = sys.argv[1]
        folder = pathlib.Path("busy", name); folder.mkdir(parents=True, exist_ok=True)
        mine = folder / str(os.getpid()); mine.touch()
        for _ in range(200): print(len(list(folder.iterdir())), len(list(pathlib.Path("busy").glob("*/*"))))
        mine.unlink()
        """,
    )
    result = run(
        session,
        """
        slots: 3
        args: {items: {type: array, default: [1, 2, 3, 4, 5]}}
        steps:
          - {name: narrow, foreach: args.items, max_parallel: 1, run: python3 busy.py narrow}
          - {name: wide, needs: [], foreach: args.items, run: python3 busy.py wide}
        """,
    )
    seen = {
        name: [list(map(int, line.split())) for item in result["steps"][name]["items"] for line in item["output"].split("\n")]
        for name in ("narrow", "wide")
    }
    assert max(own for own, _ in seen["narrow"]) == 1
    assert max(both for name in seen for _, both in seen[name]) <= 3


def test_a_step_without_a_slot_runs_while_all_slots_are_busy(session: Session) -> None:
    session.file("flow.yaml", "")
    result = run(
        session,
        """
        slots: 1
        steps:
          - {name: waits, timeout: 60s, run: "until [ -e go ]; do sleep 0.02; done"}
          - {name: opens, needs: [], slot: none, run: touch go}
        """,
    )
    assert statuses(result) == {"waits": "success", "opens": "success"}
    assert result["steps"]["opens"]["attempts"][0]["slot"] is None


def test_fail_fast_cancels_what_runs_and_skips_what_has_not_started(session: Session) -> None:
    result = run(
        session,
        """
        slots: 2
        steps:
          - name: many
            foreach: [0, 1, 2, 3]
            fail_fast: true
            run: |
              if [ {{ item }} = 0 ]; then until [ -e running ]; do sleep 0.02; done; exit 3; fi
              touch running; sleep 60
          - {name: after, run: touch never}
          - name: look
            needs: many
            join: done
            run: "echo {{ steps.many.items | map(attribute='status') | join(' ') }}"
        """,
        code=1,
    )
    many = result["steps"]["many"]
    assert [item["status"] for item in many["items"]] == ["failed", "cancelled", "skipped", "skipped"]
    assert many["reason"] == "1 of 4 items failed"
    assert [item["reason"] for item in many["items"]][1:] == ["another item failed"] * 3
    assert result["steps"]["look"]["output"] == "failed cancelled skipped skipped"
    assert result["steps"]["after"]["status"] == "skipped"


def test_without_fail_fast_all_items_are_collected_and_the_failure_can_be_let_pass(session: Session) -> None:
    result = run(
        session,
        """
        steps:
          - {name: many, foreach: [0, 1, 2], on_failure: continue, run: "echo at {{ item }}; [ {{ item }} != 1 ]"}
          - name: after
            run: |
              echo {{ steps.many.items | selectattr('status', 'equalto', 'failed') | map(attribute='item') | list | tojson }}
              echo {{ steps.many.output }}
        """,
    )
    assert result["status"] == "success"
    assert [item["status"] for item in result["steps"]["many"]["items"]] == ["success", "failed", "success"]
    assert result["steps"]["after"]["output"] == '[1]\n["at 0", null, "at 2"]'


def test_on_failure_stop_cancels_the_rest_of_the_run(session: Session) -> None:
    result = run(
        session,
        """
        steps:
          - {name: bad, on_failure: stop, run: "until [ -e running ]; do sleep 0.02; done; exit 2"}
          - {name: runs, needs: [], run: touch running; sleep 60}
          - {name: waits, needs: runs, run: touch never}
        finally:
          - {name: tidy, run: "echo {{ steps.runs.status }} {{ steps.waits.status }}"}
        """,
        code=1,
    )
    assert statuses(result) == {"bad": "failed", "runs": "cancelled", "waits": "cancelled", "tidy": "success"}
    assert result["steps"]["tidy"]["output"] == "cancelled cancelled"
    assert reasons(result)["waits"] == "step `bad` failed"


def test_finally_runs_after_success_and_failure_sees_all_and_its_failure_fails_the_run(session: Session) -> None:
    text = """
        args: {code: {type: integer}, tidy: {type: integer, default: 0}}
        steps:
          - {name: work, run: "exit {{ args.code }}"}
          - {name: next, run: echo next}
        finally:
          - {name: first, run: "echo {{ steps.work.status }} {{ steps.next.status }} {{ steps.next.output | default('-') }}; exit {{ args.tidy }}"}
          - {name: second, when: "steps.work.status == 'failed'", run: "echo {{ steps.first.status }}"}
        """
    good = run(session, text, "--arg", "code=0")
    assert (good["status"], good["steps"]["first"]["output"], good["steps"]["second"]["status"]) == (
        "success",
        "success success next",
        "skipped",
    )
    assert good["steps"]["first"]["phase"] == "finally"
    bad = run(session, text, "--arg", "code=4", code=1)
    assert (bad["steps"]["first"]["output"], bad["steps"]["second"]["output"]) == ("failed skipped -", "success")
    untidy = run(session, text, "--arg", "code=0", "--arg", "tidy=1", code=1)
    assert (untidy["status"], untidy["error"]) == ("failed", "step `first` failed")
    assert untidy["steps"]["second"]["status"] == "skipped"


def test_finally_runs_after_the_time_of_the_run_is_over_and_has_its_own(session: Session) -> None:
    result = run(
        session,
        """
        timeout: 300ms
        steps:
          - {name: slow, run: sleep 60}
          - {name: next, run: touch never}
        finally:
          - {name: tidy, run: "sleep 0.5; echo {{ steps.slow.status }}"}
          - {name: late, timeout: 100ms, run: sleep 60}
        """,
        code=3,
    )
    assert statuses(result) == {"slow": "cancelled", "next": "cancelled", "tidy": "success", "late": "failed"}
    assert result["steps"]["tidy"]["output"] == "cancelled"
    assert result["steps"]["late"]["attempts"][0]["error_kind"] == "timeout"
    assert (result["status"], result["error"]) == ("failed", "the run's time of 300ms is over")


def test_outputs_that_cannot_be_had_fail_a_run_that_went_well(session: Session) -> None:
    result = run(
        session,
        """
        steps:
          - {name: skipped, when: false, run: "true"}
        outputs: {good: 1, bad: "{{ steps.skipped.output }}"}
        """,
        code=1,
    )
    assert (result["status"], result["outputs"]) == ("failed", {"good": 1})
    place = f"{session.path}/flow.yaml:4:29"
    assert result["error"] == f"output `bad`: `steps.skipped.output` has no value: step `skipped` was skipped ({place})"


def test_a_wide_layer_that_needs_all_of_the_one_above(session: Session) -> None:
    names = [f"a{number}" for number in range(12)]
    layer = [{"name": name, "needs": [], "run": ["true"]} for name in names]
    after = [{"name": f"b{number}", "needs": names, "run": ["true"]} for number in range(12)]
    result = run(session, json.dumps({"slots": 3, "steps": [*layer, *after]}))
    last = max(ended(result["steps"][name]) for name in names)
    assert all(started(result["steps"][f"b{number}"]) >= last for number in range(12))
