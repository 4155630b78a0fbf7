"""What validation asks of the disk: skills and workflows by name or path, files beside a workflow. Writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cpool_flow import agents, library, project_pool, skill_files
from cpool_flow.capabilities import Capabilities
from cpool_flow.errors import InvalidInput
from cpool_flow.library import Place, shown_path
from cpool_flow.model import AgentConfig
from cpool_flow.pool_rules import CheckedPool
from cpool_flow.slots import SlotPool
from cpool_flow.validate import AS_WRITTEN, Checked, Wishes, validate

# The folders in which names are looked up, for a workflow file in a folder.
Searched = Callable[[library.Kind, Path], tuple[Place, ...]]
# Workflows within workflows.
DEEPEST = 10


def check_file(path: Path, project: Path, places: Searched, wishes: Wishes = AS_WRITTEN) -> Checked:
    """A workflow file that is valid, with all that it names. `wishes`: what the command line says. Raises InvalidInput with all its
    problems, and with those of the project's `cpool.yaml`."""
    lookup = Lookup(path, project, places)
    return validate(library.read_bytes(path, shown=shown_path(path)), shown_path(path), lookup, wishes=wishes)


class Lookup:
    """What validation may ask of the disk: skills and workflows by name, and files inside the project, relative to the workflow file."""

    def __init__(self, file: Path, project: Path, places: Searched, around: tuple[Path, ...] = ()) -> None:
        """`around`: the workflow files that lead to this one, the outermost first."""
        self._file = file.resolve()
        self._beside = file.parent
        self._project = project
        self._places = places
        self._around = around

    def skill(self, name: str) -> tuple[bytes, str]:
        """The text of a skill and its path. Raises InvalidInput with the nearest name."""
        path = self.skill_path(name)
        source = library.read_bytes(path)
        skill_files.listed(path)
        return source, str(path)

    def skill_path(self, name: str) -> Path:
        """The SKILL.md of a skill. Raises InvalidInput with the nearest name."""
        return library.find("skill", name, self._places("skill", self._beside)).path

    def file(self, name: str) -> bytes:
        """A file beside the workflow. Raises InvalidInput where it is missing or outside of the project."""
        return library.read_bytes(self.path(name), shown=name)

    def path(self, name: str) -> Path:
        """A path beside the workflow. Raises InvalidInput where it leads out of the project."""
        return library.inside(self._beside, name, self._project, self._beside)

    def pool(self) -> CheckedPool:
        """The project's `cpool.yaml`. Raises InvalidInput."""
        return project_pool.read_pool(self._project)

    def capabilities(self, config: AgentConfig) -> Capabilities:
        """What the agent of these settings can do."""
        return agents.adapter_of(config.agent or "claude", self.pool().pool.agents).capabilities

    def workflow(self, name: str, pool: SlotPool | None, wishes: Wishes) -> Checked:
        """A sub-workflow, valid in the pool of the run. Raises InvalidInput: missing, broken, in a circle, too deep."""
        path = self.workflow_path(name)
        around = (*self._around, self._file)
        if path in around:
            circle = " → ".join(shown_path(each) for each in (*around[around.index(path) :], path))
            raise InvalidInput(f"workflows run each other in a circle: {circle}")
        if len(around) > DEEPEST:
            raise InvalidInput(f"sub-workflows are nested deeper than {DEEPEST}")
        lookup = Lookup(path, self._project, self._places, around)
        return validate(library.read_bytes(path, shown=shown_path(path)), shown_path(path), lookup, pool=pool, wishes=wishes)

    def workflow_path(self, name: str) -> Path:
        """The file of a sub-workflow: named by its path, or by its name. Raises InvalidInput."""
        library.refuse_url(name)
        if "/" in name or name.endswith(library.SUFFIXES):
            return self.path(name)
        return library.find("workflow", name, self._places("workflow", self._beside)).path.resolve()
