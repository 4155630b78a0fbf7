"""Keeps what the attempts of a run say and do, where somebody asked for it (`--record`).

Knows what is worth keeping; the files are `recording.py`'s. Nothing of it holds a secret, an environment or the settings of a server.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from cpool_flow import recording
from cpool_flow.agents.protocol import AgentRequest, AgentResult
from cpool_flow.dataclass import dataclass
from cpool_flow.executor import Assignment
from cpool_flow.json_value import JsonValue
from cpool_flow.run_folder import file_name
from cpool_flow.secrets import Masker
from cpool_flow.workspace.place import Place

_SETTINGS = ("agent", "model", "fallback_model", "effort", "permission_mode", "max_turns", "allowed_tools", "disallowed_tools")


@dataclass(frozen=True, slots=True)
class Before:
    """The place when an attempt began: its files and its commit, None outside git."""

    tree: str | None
    head: str | None


@dataclass(frozen=True, slots=True)
class Recorder:
    """`folder` is that of the run's recording."""

    folder: Path
    place: Place
    masker: Masker

    async def look(self) -> Before:
        return Before(await self.place.tree(), await self.place.head())

    async def exchange(self, assignment: Assignment, request: AgentRequest, result: AgentResult, before: Before) -> None:
        """One attempt of an agent. Raises OperationFailed."""
        settings = {key: getattr(request.config, key) for key in _SETTINGS if getattr(request.config, key) is not None}
        patch = await self.place.patch(before.tree) if before.tree is not None else b""
        commits = await self.place.messages(before.head) if before.head is not None else ()
        data: dict[str, JsonValue] = {
            **_identity(assignment),
            "agent": request.config.agent or "claude",
            "config": json.loads(json.dumps(settings)),
            "session": {"id": request.session_id, "resumed": request.resume},
            "result": {
                "kind": result.kind,
                "error": result.error,
                "cost_usd": result.cost_usd,
                "cost_at_least": result.cost_at_least,
                "turns": result.turns,
                "input_tokens": result.input_tokens,
                "output_tokens": result.output_tokens,
                "cached_tokens": result.cached_tokens,
                "counts_session": result.counts_session,
                "session_id": result.session_id,
                "model": result.model,
                "denials": list(result.denials),
                "resets_at": result.resets_at,
            },
            "commits": list(commits),
        }
        schema = "" if request.schema is None else json.dumps(request.schema, ensure_ascii=False, indent=2)
        texts = {
            "prompt.txt": request.prompt,
            "system.txt": request.system_prompt or "",
            "schema.json": schema,
            "answer.txt": result.answer,
        }
        self._write(assignment, recording.EXCHANGE, data, {**texts, "changes.patch": patch.decode("utf-8", "surrogateescape")})

    def command(self, assignment: Assignment, command: str, ended: Mapping[str, JsonValue]) -> None:
        """One attempt of a `run:` step, and how it ended; its output is the log. Raises OperationFailed."""
        self._write(assignment, recording.COMMAND, {**_identity(assignment), "command": command, **ended}, {})

    def _write(self, assignment: Assignment, kind: str, data: Mapping[str, JsonValue], texts: Mapping[str, str]) -> None:
        name = f"{file_name(assignment.task)}.{assignment.number}"
        masked = self.masker.mask_value(dict(data))
        assert isinstance(masked, dict)
        recording.write(self.folder, name, kind, masked, {file: self.masker.mask(text) for file, text in texts.items()}, assignment.log)


def _identity(assignment: Assignment) -> dict[str, JsonValue]:
    return {
        "task": assignment.task,
        "step": assignment.step.name,
        "attempt": assignment.number,
        "kind": assignment.kind,
        "item": assignment.item,
    }
