"""Documents of runs that never were, for tests of what is made from them."""

from __future__ import annotations

from typing import Any

from cpool_flow import plan
from cpool_flow.model import Workflow
from cpool_flow.report.content import Report

DAY = "2027-01-05T10:"


def attempt(start: str = "00:00", end: str | None = "00:30", status: str = "success", **more: Any) -> dict[str, Any]:
    about = {"number": 1, "kind": "normal", "status": status, "error_kind": None, "error": None, "exit_code": 0, "slot": "slot-1"}
    about |= {"agent": None, "model": None, "session_id": None, "cost_usd": None, "turns": None, "log": None}
    return {**about, "started_at": f"{DAY}{start}.000Z", "ended_at": end and f"{DAY}{end}.000Z", **more}


def task(name: str, status: str = "success", *attempts: dict[str, Any], **more: Any) -> dict[str, Any]:
    about = {"name": name, "kind": "run", "status": status, "reason": None, "output": None, "vars": {}, "items": [], "cost_usd": 0.0}
    return {**about, "attempts": list(attempts), "branch": None, "commit": None, **more}


def run(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    about = {"run_id": "r1", "name": "calm-fox", "workflow": "review", "status": "success", "args": {}, "outputs": {}, "cost_usd": 0.0}
    about |= {"started_at": f"{DAY}00:00.000Z", "ended_at": f"{DAY}01:00.000Z", "duration_seconds": 60.0, "branch": None, "base": None}
    return {**about, "directory": None, "tags": [], "limits": [], "error": None, "steps": list(steps), **more}


def report(flow: Workflow, document: dict[str, Any], **more: Any) -> Report:
    return Report(document, plan.build(flow), alive=False, made_at=1800000000.0, version="1.2", **more)
