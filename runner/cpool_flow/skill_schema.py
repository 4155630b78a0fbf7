"""The JSON Schema of the front matter of a SKILL.md: what `skill.py` reads of it. What other tools keep there is let be."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from cpool_flow.model import AgentConfig, Argument, Variable
from cpool_flow.workflow_schema import JsonObject, made_from

ID = "urn:cpool-flow:schema:skill:1"
# Their paths are relative to a workflow file.
_OF_WORKFLOWS = ("script", "recording")


class NamedArgument(BaseModel):
    """An argument in a list: its name beside its JSON Schema."""

    model_config = ConfigDict(extra="allow")

    name: Variable = Field(description="What the text calls it: `{{ args.NAME }}`.")
    required: Any = Field(True, description="`false`: may be left out, and is null then.")
    description: Any = Field("", description="For people; shown where the argument is missing.")


class Metadata(BaseModel):
    """What is ours in the front matter."""

    model_config = ConfigDict(extra="allow")

    arguments: dict[Variable, Argument] | list[Variable | NamedArgument] | None = Field(
        None, description="The arguments of the skill, as `args` of a workflow, or a list of names. With it the text is a template."
    )
    config: AgentConfig = Field(AgentConfig(), description="Agent settings, weaker than the step's `config`.")


class FrontMatter(BaseModel):
    """What stands between the two lines `---`."""

    model_config = ConfigDict(extra="allow")

    name: Any = Field(None, description="The name of the folder, by which the skill is called.")
    description: str = Field("", description="What the skill does, and when to use it.")
    argument_hint: Annotated[str | list[str], Field(alias="argument-hint", description="Shown to people who call the skill.")] = ""
    allowed_tools: Annotated[
        str | list[str],
        Field(alias="allowed-tools", description="Tools that the agent may use without asking: a list, or text with blanks."),
    ] = ""
    metadata: Metadata = Field(Metadata(), description="What is read by some tools only; of ours `arguments` and `config`.")


def skill_schema() -> JsonObject:
    """The schema (draft 2020-12) of a skill's front matter."""
    schema = made_from(FrontMatter, ID, "A cpool-flow skill", "The front matter of a `SKILL.md` in the Agent Skills form.")
    for key in _OF_WORKFLOWS:
        del schema["$defs"]["AgentConfig"]["properties"][key]
    return schema
