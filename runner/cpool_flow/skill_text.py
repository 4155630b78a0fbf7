"""A skill as an agent task: its text, and how values come into it.

Pure. Knows nothing of the file that it was read from (`skill.py`). A value is data: it is never looked at again for placeholders
or templates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field

from cpool_flow import arguments, placeholders, template
from cpool_flow.arguments import Complaint, Declared
from cpool_flow.dataclass import dataclass
from cpool_flow.errors import InvalidInput, Problem
from cpool_flow.json_value import JsonValue
from cpool_flow.model import AgentConfig
from cpool_flow.values import Record, RenderError, text_of

MAX_CHARACTERS = 64 * 1024 * 1024


@dataclass(frozen=True)
class Skill:
    """`arguments` is None where the skill declares none: then its text is no template, and takes any values by position.
    `warnings` is what is odd about its file."""

    name: str
    description: str
    body: str
    arguments: Declared | None = None
    config: AgentConfig = field(default_factory=AgentConfig)
    argument_hint: str = ""
    file: str = ""
    warnings: tuple[Problem, ...] = ()

    def check_arguments(self, names: Iterable[str]) -> list[Complaint]:
        """What is wrong with `with`, as far as its keys say: unknown names, missing ones, placeholders without a value."""
        names = list(names)
        return [*self._undeclared(names), *self._without_value(len(names))]

    def render(self, values: Mapping[str, JsonValue], host: template.Host) -> str:
        """The prompt for `values`, in the order of `with`. Raises InvalidInput, RenderError."""
        completed = self._completed(values)
        texts = [text_of(value) for value in values.values()]
        if len(self.body) + placeholders.count(self.body) * sum(map(len, texts)) > MAX_CHARACTERS:
            raise InvalidInput(f"the values for skill `{self.name}` are too large to stand in its text: name a file instead")
        if self.arguments is None:
            prompt = placeholders.replace(self.body, _lookup(texts))
        else:
            prompt = self._rendered(completed, texts, host)
        if texts and not self._uses_values():
            prompt += f"\n\nARGUMENTS: {' '.join(texts)}"
        if "\0" in prompt:
            raise RenderError(f"a value for skill `{self.name}` holds a NUL character, which cannot stand in a prompt")
        return prompt

    def as_declared(self, values: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """The values, as text where the skill declares text: a number or a list that an expression gives is written out."""
        declared = self.arguments or {}
        textual = {name for name, declaration in declared.items() if declaration.get("type") == "string"}
        return {name: text_of(value) if name in textual and value is not None else value for name, value in values.items()}

    def _completed(self, values: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
        values = self.as_declared(values)
        completed, complaints = (values, []) if self.arguments is None else arguments.complete(self.arguments, values, how=_HOW)
        problems = [problem for _, problem in [*complaints, *self._without_value(len(values))] if not problem.warning]
        if problems:
            raise InvalidInput(
                [Problem(f"skill `{self.name}`: {problem.message}", hint=problem.hint, help=problem.help) for problem in problems]
            )
        return completed

    def _rendered(self, values: Mapping[str, JsonValue], texts: list[str], host: template.Host) -> str:
        """The body as a template, with marks in it that no value can hold, then the marks replaced by texts."""
        nonce = int.from_bytes(host.nonce().encode(), "big")  # digits pass every filter unchanged
        lookup = _lookup(texts)

        def mark(number: int) -> str | None:
            return None if lookup(number) is None else f"\ue000{nonce}.{number - placeholders.ALL}\ue000"

        rendered = template.parse(placeholders.replace(self.body, mark)).render({"args": Record(values)}, host)
        return re.sub(f"\ue000{nonce}\\.([0-9]+)\ue000", lambda found: lookup(int(found[1]) + placeholders.ALL) or "", rendered)

    def _uses_values(self) -> bool:
        return bool(placeholders.used(self.body)) or (self.arguments is not None and bool(template.parse(self.body).references))

    def _undeclared(self, names: list[str]) -> Iterator[Complaint]:
        if self.arguments is not None:
            yield from arguments.unknown(self.arguments, names)
            yield from arguments.missing(self.arguments, names, _HOW)

    def _without_value(self, count: int) -> Iterator[Complaint]:
        for placeholder in sorted(placeholders.used(self.body)):
            if placeholders.number(placeholder) < count:
                continue
            message = f"`{placeholder}` in the text of skill `{self.name}` has no value: `with` gives {count or 'none'}"
            if placeholder.startswith("$ARGUMENTS"):
                yield "", Problem(message)
            elif count:
                yield "", Problem(message, help=f"it stays as it is; write `\\{placeholder}` if that is meant", warning=True)


_HOW = "with: {{{}: …}}"


def _lookup(texts: list[str]) -> Callable[[int], str | None]:
    def lookup(number: int) -> str | None:
        if number == placeholders.ALL:
            return " ".join(texts)
        return texts[number] if number < len(texts) else None

    return lookup
