"""Reads a SKILL.md of the Agent Skills form: front matter between two lines `---`, then the text.

Pure. Ours are `arguments` and `config` under `metadata`; what other tools keep in the front matter is let be. Where the file was
found is not known here (`library.py`), nor what its text becomes (`skill_text.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath

from pydantic import ValidationError

from cpool_flow import arguments, template
from cpool_flow.arguments import Declared
from cpool_flow.document import Document, Path, load
from cpool_flow.errors import InvalidInput, Location, Problem, did_you_mean
from cpool_flow.json_value import JsonValue
from cpool_flow.model import VARIABLE_NAME, AgentConfig
from cpool_flow.skill_text import Skill

__all__ = ["Skill", "parse_skill"]

_OURS = ("arguments", "config")


def parse_skill(source: bytes, file: str) -> Skill:
    """The skill in the SKILL.md `file`; its folder is its name. Raises InvalidInput with all that is wrong."""
    front, body, body_line = _split(source, file)
    found = _Front(load(front, file))
    skill = Skill(
        name=PurePath(file).parent.name,
        description=found.text("description"),
        body=body.strip(),
        arguments=found.arguments(),
        config=found.config(),
        argument_hint=found.hint(),
        file=file,
        warnings=tuple(found.warnings(PurePath(file).parent.name)),
    )
    skipped = len(body) - len(body.lstrip())
    problems = [*found.problems, *_body_problems(skill, body[:skipped], body_line)]
    if problems:
        raise InvalidInput(problems)
    return skill


def _split(source: bytes, file: str) -> tuple[bytes, str, int]:
    """Front matter, with as many lines before it as in the file; the text behind it; the line on which that begins."""
    try:
        text = source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = Location(file, source.count(b"\n", 0, error.start) + 1, 1)
        raise InvalidInput(Problem("a skill is UTF-8 text", place)) from None
    lines = text.replace("\r\n", "\n").split("\n")
    if lines[0].rstrip() != "---":
        raise InvalidInput(Problem("a skill begins with front matter between two lines `---`", Location(file, 1, 1)))
    for number, line in enumerate(lines[1:], start=1):
        if line.rstrip() == "---":
            return "\n".join(["", *lines[1:number], ""]).encode(), "\n".join(lines[number + 1 :]), number + 2
    raise InvalidInput(Problem("the front matter that begins here is never closed by a line `---`", Location(file, 1, 1, 3)))


class _Front:
    """The front matter as values, and what is wrong with it."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self.problems: list[Problem] = []
        self._data = self._mapping((), document.data)
        self._ours = self._mapping(("metadata",), self._data.get("metadata", {}))

    def text(self, key: str) -> str:
        value = self._data.get(key, "")
        if not isinstance(value, str):
            self._wrong(f"`{key}` must be text", (key,))
        return str(value).strip()

    def hint(self) -> str:
        """`argument-hint`, which people write `[issue-number]`: to YAML that is a list."""
        given = self._data.get("argument-hint")
        if isinstance(given, list) and all(isinstance(word, str) for word in given):
            return f"[{', '.join(str(word) for word in given)}]"
        return self.text("argument-hint")

    def arguments(self) -> Declared | None:
        """`arguments` of `metadata`: name → JSON Schema, or a list of names, alone or in such schemas."""
        path = ("metadata", "arguments")
        given = self._ours.get("arguments")
        if given is None:
            return None
        if isinstance(given, list):
            declared, places = self._listed(path, given)
        else:
            declared = {name: self._mapping((*path, name), entry) for name, entry in self._mapping(path, given).items()}
            places = {name: (*path, name) for name in declared}
        for name, declaration in declared.items():
            if not re.fullmatch(VARIABLE_NAME, name):
                self._wrong(f"`{name}` cannot be the name of an argument (letters, digits and `_`)", places[name], key=True)
            for problem in arguments.declaration_problems(declaration):
                self._wrong(f"argument `{name}`: {problem.message}", (*places[name], *problem.path))
        return declared

    def _listed(self, path: Path, given: list[JsonValue]) -> tuple[dict[str, dict[str, JsonValue]], dict[str, Path]]:
        """Declarations and their places of a list: each entry is a name, or a mapping with a `name`."""
        declared: dict[str, dict[str, JsonValue]] = {}
        places: dict[str, Path] = {}
        for index, entry in enumerate(given):
            declaration = entry if isinstance(entry, dict) else {"name": entry}
            name = declaration.get("name")
            if not isinstance(name, str):
                self._wrong("an argument in a list is a name, or a mapping with a `name`", (*path, index))
            elif name in declared:
                self._wrong(f"argument `{name}` stands twice", (*path, index))
            else:
                declared[name] = {key: value for key, value in declaration.items() if key != "name"}
                places[name] = (*path, index)
        return declared, places

    def config(self) -> AgentConfig:
        """`config` of `metadata`, and the tools of `allowed-tools` with it."""
        try:
            config = AgentConfig.model_validate(self._mapping(("metadata", "config"), self._ours.get("config", {})))
        except ValidationError as error:
            for wrong in error.errors(include_url=False, include_input=False, include_context=False):
                self._refused(wrong["type"], wrong["msg"], wrong["loc"])
            return AgentConfig()
        for key, agent in (("script", "scripted"), ("recording", "replay")):
            if getattr(config, key) is not None:
                message = f"a skill cannot name a `{key}`: its path is relative to a workflow file"
                place = self._document.location(("metadata", "config", key), key=True)
                self.problems.append(Problem(message, place, help=f"set it in the workflow: `config: {{agent: {agent}, {key}: …}}`"))
        tools = tuple(dict.fromkeys([*(config.allowed_tools or ()), *self._tools()]))
        return config.model_copy(update={"allowed_tools": tools}) if tools else config

    def warnings(self, folder: str) -> Iterator[Problem]:
        name = self._data.get("name", folder)
        if name != folder:
            yield Problem(f"the skill is called by its folder, `{folder}`, not `{name}`", self._document.location(("name",)), warning=True)
        if not self._data.get("description"):
            yield Problem("the skill has no `description`", self._document.location(()), warning=True)
        for key in set(self._data) & set(_OURS) - set(self._ours):
            place = self._document.location((key,), key=True)
            yield Problem(f"`{key}` counts only under `metadata`", place, warning=True)
        for key in set(self._ours) - set(_OURS):
            if hint := did_you_mean(key, _OURS):
                yield Problem(f"`{key}` means nothing here", self._document.location(("metadata", key), key=True), hint=hint, warning=True)

    def _tools(self) -> list[str]:
        given = self._data.get("allowed-tools", "")
        if isinstance(given, list) and all(isinstance(tool, str) for tool in given):
            return [tool for tool in given if isinstance(tool, str)]
        if not isinstance(given, str):
            self._wrong("`allowed-tools` must be text or a list of texts", ("allowed-tools",))
            return []
        return re.findall(r"(?:[^\s,(]|\([^)]*\)?)+", given)

    def _mapping(self, path: Path, value: JsonValue) -> dict[str, JsonValue]:
        if isinstance(value, dict):
            return value
        self._wrong(f"`{path[-1]}` must be a mapping" if path else "the front matter must be a mapping", path)
        return {}

    def _refused(self, kind: str, message: str, place: tuple[int | str, ...]) -> None:
        name, hint = str(place[-1]), None
        if kind == "extra_forbidden":
            message = f"unknown key `{name}`"
            hint = did_you_mean(name, AgentConfig.model_fields)
        self._wrong(message if kind == "extra_forbidden" else f"`{name}`: {message}", ("metadata", "config", *place), hint=hint)

    def _wrong(self, message: str, path: Path, *, key: bool = False, hint: str | None = None) -> None:
        self.problems.append(Problem(message, self._document.location(path, key=key), hint=hint))


def _body_problems(skill: Skill, before: str, line: int) -> Iterator[Problem]:
    def place(offset: int, length: int) -> Location:
        text = before + skill.body[:offset]
        return Location(skill.file, line + text.count("\n"), len(text) - text.rfind("\n"), length)

    if not skill.body:
        yield Problem("the skill has no text", Location(skill.file, line, 1))
    if skill.arguments is None:
        return
    try:
        references = template.parse(skill.body).references
    except template.TemplateError as error:
        yield Problem(error.message, place(error.offset, error.length), hint=error.hint)
        return
    for reference in references:
        name = reference.path[1] if len(reference.path) > 1 else None
        if reference.path[0] != "args":
            yield Problem(f"`{reference.path[0]}`: a skill sees only `args`", place(reference.offset, reference.length))
        elif name is not None and name not in skill.arguments:
            hint = did_you_mean(name, skill.arguments)
            yield Problem(f"unknown argument `{name}`", place(reference.offset, reference.length), hint=hint)
