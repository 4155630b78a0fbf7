"""The secrets that somebody gives away himself: in the text of the workflow file, in arguments, in tags, in the run's id.

Pure. What is only a value is masked before the run owns it, and a warning says so; what is a name cannot be, and is refused.
No secret is in a message.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from cpool_flow.document import load
from cpool_flow.errors import InvalidInput, Problem
from cpool_flow.json_value import JsonValue
from cpool_flow.pool_file import NAME as POOL_NAME
from cpool_flow.secrets import Masker

# Keys of a workflow, of its steps and slots, and of `cpool.yaml` whose texts are values: nothing in the engine hangs on a word of them.
_VALUES = frozenset(
    {"description", "args", "env", "context", "config", "setup", "outputs", "run", "prompt", "with", "foreach", "stdin", "verify"}
    | {"recovery_prompt", "approve", "reason", "matrix", "profiles", "notify"}
)
_WAY_OUT = 'name the secret in `secrets:` of the step, which then has it in its environment: "$NAME"'


class Disclosed:
    """What is masked of one run's inputs, with the `warnings` that come of it."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._all = Masker(secrets)
        self._no_words = Masker(secrets, spare_words=True)
        self.warnings: list[Problem] = []

    def arguments(self, values: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """The arguments as the run gets them."""
        return {name: self._argument(name, value) for name, value in values.items()}

    def problems(self, error: InvalidInput) -> InvalidInput:
        """The same error, without the secrets that it quotes."""
        mask = self._all.mask
        return InvalidInput(
            Problem(mask(each.message), each.location, each.hint and mask(each.hint), each.help and mask(each.help), each.warning)
            for each in error.problems
        )

    def tags(self, tags: Iterable[str]) -> tuple[str, ...]:
        return tuple(map(self._all.mask, tags))

    def check_run_id(self, run_id: str) -> None:
        """Raises InvalidInput: the id names folders and a branch."""
        if self._no_words.shows(run_id):
            raise InvalidInput("the run id holds the value of a secret", help="choose another --run-id")

    def pool(self, data: Mapping[str, JsonValue], source: str) -> Mapping[str, Any]:
        """What `cpool.yaml` says as the run owns it. Raises InvalidInput where a name is a secret."""
        return self.workflow(data, source, f"`{POOL_NAME}`")

    def workflow(self, data: Mapping[str, JsonValue], source: str, file: str = "the workflow file") -> Mapping[str, Any]:
        """The workflow as the run owns it. Raises InvalidInput where a name or an expression is a secret."""
        if not self._no_words.shows(dict(data)):
            return data
        line = next((number for number, line in enumerate(source.split("\n"), 1) if self._no_words.shows(line)), 1)
        holds = f"line {line} of {file} holds the value of a secret"
        masked = self._block(data)
        if self._no_words.shows(masked):
            raise InvalidInput(f"{holds}, where it cannot be masked", help=_WAY_OUT)
        self.warnings.append(Problem(f"{holds}: the run sees `***` in its place", help=_WAY_OUT, warning=True))
        return masked

    def source(self, text: str) -> str:
        """The text of the workflow file, for people who read the run's folder."""
        return self._no_words.mask(text)

    def refuse(self, texts: Mapping[str, JsonValue], what: str) -> None:
        """Raises InvalidInput for texts by name (skills, schemas) that hold a secret."""
        for name, text in texts.items():
            if self._no_words.shows(text):
                raise InvalidInput(f"{what} `{name}` holds the value of a secret", help=_WAY_OUT)

    def copied(self, content: bytes, name: str) -> bytes:
        """A file that the run owns. Raises InvalidInput for one of a skill that holds a secret: an agent is to read it as it is."""
        if self._no_words.mask_bytes(content) == content:
            return content
        if "/" in name:
            raise InvalidInput(f"`{name.partition('/')[2]}` holds the value of a secret", help=_WAY_OUT)
        return json.dumps(self._no_words.mask_value(load(content, name).data)).encode()

    def _argument(self, name: str, value: JsonValue) -> JsonValue:
        masked = self._all.mask_value(value)
        if masked != value:
            message = f"argument `{name}` holds the value of a secret: the run sees `***` in its place"
            self.warnings.append(Problem(message, help=_WAY_OUT, warning=True))
        return masked

    def _block(self, data: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """The top of a file, or one of its steps or slots."""
        masked: dict[str, JsonValue] = {}
        for key, value in data.items():
            if key in ("steps", "finally", "slots") and isinstance(value, list):
                masked[key] = [self._block(step) if isinstance(step, dict) else step for step in value]
            elif key in _VALUES and not (key == "foreach" and isinstance(value, str)):
                masked[key] = self._values(value)
            else:
                masked[key] = value
        return masked

    def _values(self, value: JsonValue) -> JsonValue:
        """The data with its texts masked, but not its keys: they are names."""
        if isinstance(value, dict):
            return {key: self._values(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._values(item) for item in value]
        return self._no_words.mask_value(value)
