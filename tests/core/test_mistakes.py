"""What people write wrong, and what they are told: every file of `tests/data/mistakes`, whole texts compared.

A case is `=== title`, the workflow file, `===>`, and all that `cpool-flow validate` says of it. `UPDATE_GOLDEN=1` writes the texts anew.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from cpool_flow import agents, library
from cpool_flow.capabilities import Capabilities
from cpool_flow.errors import InvalidInput, render_problems
from cpool_flow.model import AgentConfig
from cpool_flow.pool_rules import CheckedPool, check_pool
from cpool_flow.slots import SlotPool
from cpool_flow.validate import Checked, Wishes, validate

MISTAKES = Path(__file__).resolve().parents[1] / "data" / "mistakes"
FILES = {
    "broken.json": b'{"type": "objct", "properties": {"a": {"pattern": "("}}}',
    "text.json": b"{type: object}\n",
    "broken.yaml": b"type: [\n",
}
SKILLS = {
    "broken": b"---\nname: broken\ndescription: d\nmetadata: {arguments: {a: {type: strin}}}\n---\n{{ args.b }}\n",
    "typed": b"""---
name: typed
description: d
metadata:
  arguments: {count: {type: integer}, depth: {enum: [quick, deep]}, list: {type: array}, name: {type: string}}
---
{{ args | tojson }}
""",
}
WORKFLOWS = {
    "other.yaml": "args:\n  count: {type: integer, required: true}\n  name: {type: string}\nsteps:\n  - run: echo {{ args.count }}\noutputs: {told: '{{ steps.step_1.output }}'}\n",
    "routed.yaml": "slots: [{name: reviewer}]\nsteps:\n  - run: echo hi\n    slot: reviewer\n",
    "wrong.yaml": "steps:\n  - runn: echo hi\n",
}
POOL = b"profiles: {thorough: {effort: high}}\nprices: {codex: {gpt-5: {input: 1.25, output: 10}}, gemini: {'*': {input: 1, output: 4}}}\n"


class Project:
    """A project with a few files beside the workflow, the bundled skills, and two of its own."""

    def skill(self, name: str) -> tuple[bytes, str]:
        if name in SKILLS:
            return SKILLS[name], f"skills/{name}/SKILL.md"
        found = library.find("skill", name, [library.Place("built in", library.bundled("skills"))])
        return found.path.read_bytes(), f"skills/{name}/SKILL.md"

    def file(self, name: str) -> bytes:
        if name not in FILES:
            raise InvalidInput(f"cannot read `{name}`: no such file or directory")
        return FILES[name]

    def pool(self) -> CheckedPool:
        return check_pool(POOL, "cpool.yaml")

    def capabilities(self, config: AgentConfig) -> Capabilities:
        return agents.adapter(config.agent or "claude").capabilities

    def workflow(self, name: str, pool: SlotPool | None, wishes: Wishes) -> Checked:
        if name not in WORKFLOWS:
            raise InvalidInput(f"cannot read `{name}`: no such file or directory")
        return validate(WORKFLOWS[name].encode(), name, self, pool=pool, wishes=wishes)


@dataclass(frozen=True)
class Mistake:
    title: str
    source: str
    told: str


def read(path: Path) -> list[Mistake]:
    found = re.findall(r"^=== ([^\n]*)\n(.*?)^===>\n(.*?)(?=^=== |\Z)", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [Mistake(title, source, told.rstrip("\n")) for title, source, told in found]


def tell(path: Path, source: str) -> str:
    """Everything that is said of a workflow file, or in `pool.txt` of a `cpool.yaml`."""
    file = "cpool.yaml" if path.stem == "pool" else "flow.yaml"
    try:
        if file == "cpool.yaml":
            problems = check_pool(source.encode(), file, Project().file).warnings
        else:
            problems = validate(source.encode(), file, Project()).warnings
    except InvalidInput as error:
        problems = error.problems
    return render_problems(problems, {file: source})


def written(mistakes: list[Mistake]) -> str:
    return "\n".join(f"=== {each.title}\n{each.source}===>\n{each.told + chr(10) if each.told else ''}" for each in mistakes)


ALL = [(path, mistake) for path in sorted(MISTAKES.glob("*.txt")) for mistake in read(path)]


@pytest.mark.parametrize(("path", "mistake"), ALL, ids=[f"{path.stem}: {mistake.title}" for path, mistake in ALL])
def test_a_mistake_is_told_in_these_words(path: Path, mistake: Mistake) -> None:
    assert os.environ.get("UPDATE_GOLDEN") == "1" or tell(path, mistake.source) == mistake.told


@pytest.mark.parametrize("path", sorted(MISTAKES.glob("*.txt")), ids=lambda path: path.stem)
def test_the_files_are_as_they_would_be_written(path: Path) -> None:
    mistakes = read(path)
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.write_text(written([Mistake(each.title, each.source, tell(path, each.source)) for each in mistakes]), encoding="utf-8")
    assert path.read_text(encoding="utf-8") == written(read(path))
    assert len({each.title for each in mistakes}) == len(mistakes)
