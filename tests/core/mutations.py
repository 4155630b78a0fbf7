"""Valid workflows with something changed in them, anywhere: a key, a value, a type."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

from cpool_flow import model, pool_file

EVERYTHING: dict[str, Any] = {
    "version": 1,
    "requires": ">=0.1",
    "name": "review",
    "description": "A review",
    "args": {"pr": {"type": "integer", "description": "Number"}, "depth": {"enum": ["quick", "deep"], "default": "quick"}},
    "env": {"A": "x", "PORT": 8080, "DEBUG": True, "RATE": 0.5},
    "secrets": ["TOKEN"],
    "context": {"team": "payments", "more": [1, None, {"a": "b"}]},
    "config": {
        "agent": "claude",
        "model": "m",
        "fallback_model": "n",
        "effort": "high",
        "permission_mode": "plan",
        "max_turns": 3,
        "max_budget_usd": 1.5,
        "system_prompt": "",
        "replace_system_prompt": "x",
        "allowed_tools": ["Read"],
        "disallowed_tools": [],
        "mcp_servers": {"fs": {"command": "a"}},
        "strict_mcp_config": False,
        "add_dirs": ["a"],
        "settings": {"a": 1},
        "env": {"B": 1},
        "command": ["prog", 1],
        "script": "answers.yaml",
    },
    "slots": 4,
    "timeout": "1h30m",
    "isolation": "worktree",
    "base": "main",
    "include_changes": False,
    "setup": ["make", "make test"],
    "keep": "branch",
    "steps": [
        {"name": "diff", "run": "git diff", "secrets": ["TOKEN"], "needs": [], "shell": "bash", "ok_codes": [0, 1], "slot": "none"},
        {
            "name": "review",
            "needs": "diff",
            "join": "done",
            "when": "args.pr > 1",
            "foreach": ["a", 1, None, ["b"]],
            "as": "lens",
            "max_parallel": 2,
            "max_items": 10,
            "fail_fast": True,
            "prompt": "{{ lens }}",
            "config": {"model": "x"},
            "timeout": "500ms",
            "idle_timeout": "10m",
            "retries": 2,
            "retry": {
                "delay": "0s",
                "factor": 2.5,
                "max_delay": "1m",
                "jitter": True,
                "on": ["timeout", "lost"],
                "exit_codes": [75],
                "timeout": "10m",
            },
            "recovery_prompt": "again",
            "recoveries": 2,
            "verify": ["true"],
            "expect": {"changes": True, "commit": False, "files": ["*.py"]},
            "effects": "external",
            "on_failure": "continue",
            "output": "json",
            "output_schema": {"type": "object"},
            "output_vars": {"a": "a.b[0]", "b": {"path": "c", "default": None}},
            "env": {"X": "y"},
            "cwd": "sub",
            "allow_denials": False,
            "description": "d",
        },
        {"skill": "implement", "with": {"description": "x", "n": 3}, "output_schema": "a.json", "when": True, "verify": "pytest"},
        {"run": ["echo", 1, True, 2.5], "stdin": "", "foreach": "steps.review.items", "shell": ["bash", "-c"], "needs": ["diff", "review"]},
    ],
    "finally": [{"run": "true"}],
    "outputs": {"a": "{{ 1 }}", "b": [1]},
}
WORKFLOWS: list[dict[str, Any]] = [EVERYTHING, {"steps": [{"run": "true"}]}, {"steps": [{"prompt": "x"}, {"skill": "y"}], "finally": []}]

WORDS = ["", " ", "a", "A", "1", "step-1", "a.b", "é", "a\n", "true", "none", "json", "x" * 65, "x" * 129, "{{ a }}", ">=1", "-a", "_a"]
DURATIONS = [
    "1s",
    "0s",
    "0.0ms",
    "00h0m",
    "1h30m",
    "1.5d",
    "1",
    "1 s",
    "1s\n",
    "s",
    "-1s",
    "1y",
    ".5s",
    "5.s",
    "1S",
    "1" * 13 + "ms",
    "0h1ms",
]
NUMBERS = [0, 1, -1, 2, 255, 256, 1000, 1001, 100_001, 10**30, 0.0, 1.0, 2.0, -0.5, 1.5, 1e300, 10**350, 1e-300]
VALUES: list[Any] = [
    None,
    True,
    False,
    [],
    {},
    [None],
    [[]],
    {"a": 1},
    {"": 1},
    ["a"],
    [1],
    [""],
    {"path": "a"},
    {"run": "x"},
    {"type": "object"},
]
POOL = [*WORDS, *DURATIONS, *NUMBERS, *VALUES, "clone", "codex", "success", "overloaded", "cancelled", "max", "bypassPermissions"]
KEYS = sorted(
    {field.alias or name for kind in (model.Workflow, model.Step, model.AgentConfig, model.Retry, model.Expect, model.OutputVariable,
                  model.Slot, pool_file.PoolFile, pool_file.Price, pool_file.Budgets, pool_file.Notification)
     for name, field in kind.model_fields.items()}
    | set().union(*model.LATER_KEYS.values())
    | {"nope", "Run", "", "a", "a b", "A=B", "x" * 129, "a\n", "with_", "as_", "finally_"}
)  # fmt: skip


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    for key, inner in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield from places(inner, (*path, key))


@st.composite
def mutations_of(draw: st.DrawFn, valid: Sequence[dict[str, Any]]) -> Any:
    """One of these documents with up to three changes anywhere in it."""
    root = {"root": copy.deepcopy(draw(st.sampled_from(valid)))}
    for _ in range(draw(st.integers(1, 3))):
        *path, last = draw(st.sampled_from(list(places(root))[1:]))
        parent: Any = root
        for part in path:
            parent = parent[part]
        change(draw, parent, last, root)
    return root["root"]


def mutated() -> st.SearchStrategy[Any]:
    """A valid workflow with changes in it."""
    return mutations_of(WORKFLOWS)


def change(draw: st.DrawFn, parent: Any, last: Any, root: Any) -> None:
    match draw(st.sampled_from(["replace", "delete", "rename", "add", "wrap", "unwrap", "graft"])):
        case "replace":
            parent[last] = copy.deepcopy(draw(st.sampled_from(POOL)))
        case "delete" if parent is not root:
            del parent[last]
        case "rename" if isinstance(parent, dict) and parent is not root:
            parent[draw(st.sampled_from(KEYS))] = parent.pop(last)
        case "add" if isinstance(parent[last], dict):
            parent[last][draw(st.sampled_from(KEYS))] = copy.deepcopy(draw(st.sampled_from(POOL)))
        case "add" if isinstance(parent[last], list):
            parent[last].append(copy.deepcopy(draw(st.sampled_from(POOL))))
        case "wrap":
            parent[last] = draw(st.sampled_from([lambda value: [value], lambda value: {"a": value}]))(parent[last])
        case "unwrap" if isinstance(parent[last], list) and parent[last]:
            parent[last] = parent[last][0]
        case "graft":
            source = draw(st.sampled_from(list(places(EVERYTHING))))
            value: Any = EVERYTHING
            for part in source:
                value = value[part]
            parent[last] = copy.deepcopy(value)
