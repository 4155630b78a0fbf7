"""The house plan, read from the imports: who may know whom. `ARCHITECTURE.md` shows the same layers to people."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from cpool_flow.cli.main import COMMANDS

PACKAGE = Path(__file__).resolve().parents[2] / "runner" / "cpool_flow"

# A module imports only from its own layer and those above it. A package stands for all its modules.
LAYERS = {
    "vocabulary": "dataclass errors model own_agent pool_file events capabilities",
    "core": """positions scalars yaml_complaints nodes document json_value json_answer pattern schema_bundle
        schema_errors schema_keywords schema values template shell placeholders arguments slots settings permissions
        findings keys readable shape order visible references requires step_rules kind_rules asked agent_rules
        price_rules foreign_text lints skill_text skill plan validate spending tasks supervision bookkeeping place_state reopening
        state takeover only budget usage_limit halting after_failure item_places free_slots policy fan_out outputs scope result secrets disclosed cases drawing
        workflow_commands annotations step_summary trust report spans event_schema workflow_schema own_agent_rules
        pool_rules pool_schema skill_schema""",
    "edges": """faults descendants streams orphans guardian process git workspace library catalog project_pool
        skill_files lookup inputs owned run_folder written_file recording journal history left_running other_runs
        family turn slot_wishes shared_slots agents github_event trusted""",
    "run": """run_place places cleaning approval run_values executor engine setup rooms item_merges waiting_room lost notify traces coordinator
        new_run preconditions start trusted_start worst_case plan_rest plan_document explained_values explain stand_in
        mixed_answers trial rerun recorded_changes recorded_case attempt_logs reported""",
    "faces": "pool live cli __main__",
}
ONLY_IN = {
    "subprocess": {"process"},
    "yaml": {"document", "nodes", "scalars"},
    "jinja2": {"template"},
    "networkx": {"plan"},
    "jsonschema": {"schema", "schema_keywords", "schema_errors"},
    "sqlite3": {"journal"},
    "click": {"cli"},
    "markupsafe": {"report"},
    "opentelemetry": {"traces"},
    "rich": {"live"},
}
# Clock, disk, chance, environment, processes: the core gets as values what they say.
OUTSIDE = {"asyncio", "glob", "io", "multiprocessing", "os", "random", "secrets", "shutil", "signal", "socket", "subprocess"}
OUTSIDE |= {"sys", "tempfile", "threading", "time", "uuid"}
OUTSIDE_CALLS = {"open", "now", "today", "utcnow", "read_text", "read_bytes", "write_text", "write_bytes"}
HEAVY = {"jsonschema", "opentelemetry", "networkx", "psutil", "referencing", "rich"}


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the package, by its name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


def imports(name: str, *, at_start: bool = False) -> Iterator[str]:
    """The modules that a module imports: ours with their whole name, others with their first.

    `at_start`: only those that are imported with it, not later inside a function.
    """
    is_package = any(other.startswith(f"{name}.") for other in modules())
    package = name.split(".") if is_package else name.split(".")[:-1]
    for node in modules()[name].body if at_start else ast.walk(modules()[name]):
        if isinstance(node, ast.Import):
            yield from (_module(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = [*package[: len(package) - node.level + 1]] if node.level else []
            yield from (_module(".".join([*start, *filter(None, [node.module]), alias.name])) for alias in node.names)


def _module(path: str) -> str:
    if not path.startswith("cpool_flow"):
        return path.split(".")[0]
    while path not in modules():
        path = path.rpartition(".")[0]
    return path


def ours(name: str) -> set[str]:
    return {other for other in imports(name) if other in modules()} - {name}


def room(name: str) -> str:
    """The module or package of the first level: `agents` for `cpool_flow.agents.claude`."""
    return name.split(".")[1] if "." in name else ""


def layer(name: str) -> int:
    return next((number for number, listed in enumerate(LAYERS.values()) if room(name) in listed.split()), 0)


def test_every_module_has_its_layer_and_every_layer_its_modules() -> None:
    listed = [name for names in LAYERS.values() for name in names.split()]
    assert sorted(listed) == sorted({room(name) for name in modules()} - {""}), "change LAYERS here, and ARCHITECTURE.md"


@pytest.mark.parametrize("name", modules())
def test_a_module_imports_only_from_its_own_layer_or_one_above(name: str) -> None:
    assert {other for other in ours(name) if layer(other) > layer(name)} == set()


def test_no_module_imports_itself_in_a_circle() -> None:
    TopologicalSorter({name: ours(name) for name in modules()}).prepare()


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_is_imported_only_where_its_idea_lives(library: str) -> None:
    assert {room(name) for name in modules() if library in imports(name)} <= ONLY_IN[library]


@pytest.mark.parametrize("name", [name for name in modules() if layer(name) < 2])
def test_the_core_has_no_clock_disk_chance_or_environment(name: str) -> None:
    assert OUTSIDE & set(imports(name)) == set()
    for node in ast.walk(modules()[name]):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            assert called not in OUTSIDE_CALLS, f"line {node.lineno}"
        if isinstance(node, ast.ImportFrom) and node.module == "pathlib":
            assert {alias.name for alias in node.names} <= {"PurePath", "PurePosixPath"}


@pytest.mark.parametrize("name", [name for name in modules() if room(name) == "cli"])
def test_no_command_pays_for_a_heavy_library_before_it_needs_it(name: str) -> None:
    assert HEAVY & started_with(name) == set()


@pytest.mark.parametrize("module", sorted({module for module, _ in COMMANDS.values()}))
def test_the_help_and_the_completion_of_a_command_pay_for_nothing_but_click(module: str) -> None:
    assert {"pydantic", "yaml", "jinja2", "sqlite3", "asyncio"} & started_with(f"cpool_flow.cli.{module}") == set()


def test_the_version_pays_for_nothing_but_click() -> None:
    assert {"pydantic", "yaml", "jinja2", "sqlite3", "asyncio"} & started_with("cpool_flow.cli.main") == set()


def started_with(name: str) -> set[str]:
    """Everything of ours, and what that imports at its start, as soon as a module is imported."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            if module in modules():
                waiting += [*imports(module, at_start=True), *filter(None, [module.rpartition(".")[0]])]
    return found


def test_data_classes_are_of_the_kind_that_is_cheap_to_define() -> None:
    standard = {
        name
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "dataclasses" and "dataclass" in {alias.name for alias in node.names}
    }
    assert standard == {"cpool_flow.dataclass"}
