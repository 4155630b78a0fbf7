"""The project's `cpool.yaml` as frozen objects: what all its workflows share. `schemas/pool.schema.json` is generated from here.

Knows the shape only; what cannot be meant is `pool_rules.py`, who reads it `project_pool.py`. Money is US dollars.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from cpool_flow.model import AGENTS, AgentConfig, AgentName, FilledListOf, ListOf, Model, Name, NonEmpty, PositiveDuration, Slots, Text
from cpool_flow.own_agent import OwnAgent

if TYPE_CHECKING:
    from typing import Optional as Maybe
else:
    from cpool_flow.model import Maybe

NAME = "cpool.yaml"
# In `prices`, every model of an agent that is not named.
ANY_MODEL = "*"
PRICED_TOKENS = 1_000_000

Dollars = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Occasion = Literal["success", "failed", "cancelled", "waiting"]


# Validators of what stands in a pool file are built when one is read (`defer_build`): most projects have none.
class Price(Model, defer_build=True):
    """What a model costs, in US dollars per million tokens."""

    input: Dollars = Field(description="Tokens that the model reads.")
    output: Dollars = Field(description="Tokens that the model writes.")
    cache_read: Maybe[Dollars] = Field(None, description="Tokens read from a cache (default: as `input`).")
    cache_write: Maybe[Dollars] = Field(None, description="Tokens written to a cache (default: as `input`).")

    def cost_usd(self, input_tokens: int, output_tokens: int, cache_read_tokens: int = 0, cache_write_tokens: int = 0) -> float:
        """The cost in US dollars. `input_tokens`: those that neither came from a cache nor went into one."""
        cache_read = self.input if self.cache_read is None else self.cache_read
        cache_write = self.input if self.cache_write is None else self.cache_write
        total = input_tokens * self.input + output_tokens * self.output + cache_read_tokens * cache_read + cache_write_tokens * cache_write
        return total / PRICED_TOKENS


class Budgets(Model, defer_build=True):
    """The most that runs of the project may spend together, in US dollars."""

    day: Maybe[Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]] = Field(None, description="In one calendar day (UTC).")


class Notification(Model, defer_build=True):
    """A command that is executed, without a shell, when a run of the project comes to one of these."""

    on: Occasion | FilledListOf[Occasion] = Field(
        description="Status words of a run: `success`, `failed`, `cancelled`, `waiting` (for a person, or for a usage limit)."
    )
    command: FilledListOf[Text] = Field(description="The program and its arguments; it gets the result of the run on stdin.")
    timeout: Maybe[PositiveDuration] = Field(None, description="How long it may take (default 30s).")

    @property
    def occasions(self) -> tuple[Occasion, ...]:
        return (self.on,) if isinstance(self.on, str) else self.on


class PoolFile(Model, defer_build=True):
    """The file. Everything in it is optional."""

    config: AgentConfig = Field(AgentConfig(), description="Defaults for agent steps of all workflows; a workflow's own `config` wins.")
    slots: Maybe[Slots] = Field(None, description="Size of the slot pool, or a list of slots; a workflow's own `slots` win (default 4).")
    profiles: dict[Name, AgentConfig] = Field(
        {}, description="Settings by name, for `profile` of a step; a workflow's own of that name wins."
    )
    agents: dict[Name, OwnAgent] = Field({}, description="Agents of your own: any CLI, by the name that `agent` of `config` calls it.")
    prices: dict[AgentName, dict[NonEmpty, Price]] = Field(
        {}, description='Agent, then model (`"*"`: any other), then US dollars per million tokens, for agents that report no cost.'
    )
    budgets: Budgets = Field(Budgets.model_construct(), description="The most that all runs of the project may spend.")
    worktrees: Maybe[NonEmpty] = Field(
        None,
        description="Folder in which the worktrees of runs are made: absolute, `~/…`, or relative to this file; outside of the repository.",
    )
    notify: ListOf[Notification] = Field((), description="Commands to execute when a run has ended or waits.")

    @property
    def agent_names(self) -> tuple[str, ...]:
        """All that `agent` of `config` may name in this project."""
        return (*AGENTS, *self.agents)

    def price(self, agent: str, model: str | None) -> Price | None:
        """What a model of an agent costs; None where the file does not say."""
        models = next((models for name, models in self.prices.items() if name == agent), {})
        return models.get(model or ANY_MODEL) or models.get(ANY_MODEL)


# What a project without the file says.
NO_FILE = PoolFile.model_construct()
