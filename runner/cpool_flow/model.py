"""A valid workflow as frozen objects; `schemas/workflow.schema.json` is generated from here.

Knows the shape of the format only: whether a name exists or a template parses is asked in `validate.py`.
Durations are seconds, money is US dollars. Text that may hold a template keeps it, unrendered.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError, core_schema

STEP_NAME = r"^[a-z][a-z0-9_-]*$"
VARIABLE_NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"
NOT_BLANK = r"[^ \t\r\n]"
DURATION = r"^([0-9]{1,12}(\.[0-9]{1,9})?(ms|s|m|h|d))+$"
MAX_DURATION_SECONDS = 366 * 86400.0

DEFAULT_TIMEOUT_SECONDS = 3600.0
DEFAULT_AGENT_IDLE_TIMEOUT_SECONDS = 600.0
DEFAULT_SLOTS = 4
DEFAULT_AGENT_RETRIES = 2

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

KINDS = ("run", "prompt", "skill", "workflow", "steps", "approve", "end")
_KINDS = frozenset(KINDS)
AGENTS = ("claude", "codex", "gemini", "opencode", "command", "scripted", "replay")

# What `format.md` names and this version does not do yet. Refused by name, never ignored.
LATER_KEYS: dict[str, frozenset[str]] = {
    "workflow": frozenset(),
    "step": frozenset(),
}

if TYPE_CHECKING:
    from typing import Optional as Maybe
else:

    class Maybe:
        """A key that may be left out, and then is None. A key without a value (`needs:`) is a mistake: null is refused."""

        def __class_getitem__(cls, kind: object) -> object:
            return kind


ErrorKind = Literal[
    "failed", "bad_output", "timeout", "rate_limited", "overloaded", "auth", "permission_denied",
    "max_turns", "budget", "cancelled", "lost", "invalid", "errored",
]  # fmt: skip


def parse_duration(text: object) -> object:
    """`1h30m` → seconds. Anything that is not such text is handed back for pydantic to refuse."""
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        raise ValueError("a duration is text such as `30s`, `5m` or `1h30m`")
    if "{{" in str(text):
        raise ValueError("no template can stand here: a duration is fixed before the run begins")
    if not isinstance(text, str):
        raise ValueError(f"a duration needs a unit (ms s m h d): write `{text}s` for {text} seconds")
    if not re.fullmatch(DURATION, text):
        raise ValueError("a duration is text such as `30s`, `5m` or `1h30m` (units ms s m h d)")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9.]+)(ms|s|m|h|d)", text))
    if seconds > MAX_DURATION_SECONDS:
        raise ValueError("a duration is at most 366 days")
    return seconds


def duration_text(seconds: float) -> str:
    """Seconds as people write them: 90 is `1m30s`, 0.3 is `300ms`."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    if seconds < 60:
        return f"{seconds:g}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return "".join(f"{count}{unit}" for count, unit in ((hours, "h"), (minutes, "m"), (rest, "s")) if count)


def parse_positive_duration(text: object) -> object:
    """The same, and longer than zero."""
    seconds = parse_duration(text)
    if seconds == 0:
        raise ValueError("this duration must be longer than zero")
    return seconds


class Before:
    """What is done to a value before it is checked. `pydantic.BeforeValidator`, but that it does not inspect the function again at each
    of the hundred keys: that took a tenth of the time in which a command starts."""

    def __init__(self, function: Callable[[object], object]) -> None:
        self._function = function

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(self._function, handler(source))


_DURATION_SCHEMA = {"type": "string", "pattern": DURATION}
Duration = Annotated[float, Before(parse_duration), WithJsonSchema(_DURATION_SCHEMA)]
PositiveDuration = Annotated[
    float, Before(parse_positive_duration), WithJsonSchema({**_DURATION_SCHEMA, "not": {"pattern": r"^(0+(\.0+)?(ms|s|m|h|d))+$"}})
]


def _as_text(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, float)) else value


# A plain value where text is meant: `PORT: 8080` is "8080", `true` is "true".
Text = Annotated[str, Before(_as_text), WithJsonSchema({"type": ["string", "number", "boolean"]})]
Name = Annotated[str, StringConstraints(pattern=STEP_NAME, max_length=64)]
Variable = Annotated[str, StringConstraints(pattern=VARIABLE_NAME, max_length=128)]
NonEmpty = Annotated[str, StringConstraints(pattern=NOT_BLANK)]


def _list_as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Item = TypeVar("Item")
# A YAML list, kept as a tuple. The length is asked last: items that are wrong are not missing.
ListOf = Annotated[tuple[Item, ...], Before(_list_as_tuple)]
FilledListOf = Annotated[ListOf[Item], Field(min_length=1)]


def _whole(value: object) -> object:
    """`2.0` is an integer for JSON Schema: then it is one here."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _no_boolean(value: object) -> object:
    """To Python `true` is 1."""
    return str(value) if isinstance(value, bool) else value


# Beside `int`, before its bounds are checked.
WHOLE = Before(_whole)
# Any YAML value, templates inside its texts included.
Value = Any


class Model(BaseModel):
    """Frozen; unknown keys are refused; `1` is no boolean and "1" is no number."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=False)


# One of ours, or one that `agents` of `cpool.yaml` describes: whether it exists is asked elsewhere.
AgentName = Annotated[
    str,
    StringConstraints(pattern=STEP_NAME, max_length=64),
    WithJsonSchema({"anyOf": [{"enum": list(AGENTS)}, {"type": "string", "pattern": STEP_NAME, "maxLength": 64}]}),
]
Dollars = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]


class AgentConfig(Model):
    """Settings of an agent step. Every field unset means: what the layer below says."""

    agent: Maybe[AgentName] = Field(
        None,
        description="Which agent: `claude` (default), `codex`, `gemini`, `opencode`, `command`, `scripted`, `replay`, or one of `agents` in"
        " `cpool.yaml`.",
    )
    fallback: Maybe[ListOf[AgentName]] = Field(
        None, description="Agents that take over, in this order, while the step's own is at its usage limit."
    )
    model: Maybe[NonEmpty] = Field(None, description="Model name, as the agent knows it.")
    fallback_model: Maybe[NonEmpty] = Field(None, description="Model that the agent takes when the first is overloaded.")
    effort: Maybe[Literal["low", "medium", "high", "xhigh", "max"]] = Field(None, description="How hard the model thinks.")
    permission_mode: Maybe[Literal["default", "acceptEdits", "plan", "dontAsk", "bypassPermissions", "auto"]] = Field(
        None, description="What the agent may do without asking. `default` reads and refuses writes."
    )
    max_turns: Maybe[Annotated[int, Field(ge=1), WHOLE]] = Field(None, description="Most turns of one attempt.")
    max_budget_usd: Maybe[Dollars] = Field(None, description="Most US dollars that one attempt may spend.")
    system_prompt: Maybe[str] = Field(None, description="Added to the agent's own system prompt.")
    replace_system_prompt: Maybe[str] = Field(None, description="Replaces the agent's own system prompt.")
    allowed_tools: Maybe[ListOf[NonEmpty]] = Field(None, description="Tools allowed without asking; adds up over the layers.")
    disallowed_tools: Maybe[ListOf[NonEmpty]] = Field(None, description="Tools taken away for good.")
    mcp_servers: Maybe[dict[str, dict[str, Value]]] = Field(None, description="MCP servers by name; the last layer wins whole.")
    strict_mcp_config: Maybe[bool] = Field(None, description="Only the MCP servers named here (default true).")
    add_dirs: Maybe[ListOf[NonEmpty]] = Field(None, description="More folders that the agent may use.")
    settings: Maybe[dict[str, Value]] = Field(None, description="Settings handed to the agent CLI.")
    env: Maybe[dict[Variable, Text]] = Field(None, description="More environment variables of the agent process.")
    command: Maybe[FilledListOf[Text]] = Field(
        None, description="For `agent: command`: the program and its arguments; the prompt comes on its stdin."
    )
    script: Maybe[NonEmpty] = Field(None, description="For `agent: scripted`: a YAML file of answers, relative to this file.")
    recording: Maybe[NonEmpty] = Field(None, description="For `agent: replay`: what `run --record` has kept, relative to this file.")


MOST_SLOTS = 1000
SlotCount = Annotated[int, Field(ge=1, le=MOST_SLOTS), WHOLE]


class Slot(Model):
    """A slot of the pool, or several of one kind. A step asks for it by its name, its role or one of its labels."""

    name: Maybe[Name] = Field(None, description="What it is called: NAME, or NAME-1, NAME-2 … with `count`; default `slot-N`.")
    role: Maybe[NonEmpty] = Field(None, description="What it does, for the agent; a step may ask for it.")
    description: Maybe[NonEmpty] = Field(None, description="More of that, for the agent.")
    labels: Maybe[ListOf[NonEmpty]] = Field(None, description="Words by which steps may ask for it.")
    count: Maybe[SlotCount] = Field(None, description="How many slots of this kind (default 1).")
    config: Maybe[AgentConfig] = Field(None, description="Settings of the agent for steps that ask for this slot.")


Slots = SlotCount | FilledListOf[Slot]


class Retry(Model):
    """When and how soon a failed attempt is made again."""

    delay: Duration = Field(2.0, description="Wait before the second attempt (default 2s).")
    factor: Annotated[float, Field(ge=1, le=100, allow_inf_nan=False)] = Field(
        2.0, description="Each wait is this many times the one before (default 2)."
    )
    max_delay: Duration = Field(60.0, description="Longest wait (default 1m).")
    jitter: bool = Field(True, description="Spread the waits by up to a quarter (default true).")
    on: Maybe[ListOf[ErrorKind]] = Field(None, description="Only failures of these kinds are tried again.")
    exit_codes: Maybe[ListOf[Annotated[int, Field(ge=0, le=255), WHOLE]]] = Field(
        None, description="Only these exit codes are tried again."
    )
    timeout: Maybe[PositiveDuration] = Field(None, description="All attempts together.")


class Expect(Model):
    """What the step promises about its place; checked after it ended well."""

    changes: Maybe[bool] = Field(None, description="Whether files must have changed (`true`) or must not (`false`).")
    commit: Maybe[bool] = Field(
        None, description="Whether the step itself must have made a commit on the run's branch (`true`) or must not (`false`)."
    )
    files: Maybe[FilledListOf[NonEmpty]] = Field(None, description="Each pattern must match a file in the step's place.")


class OutputVariable(Model):
    """A variable that may be missing in the output."""

    path: NonEmpty = Field(description="Dot path into the output, with array indexes: `a.b[0].c`; `.` is everything.")
    default: Value = Field(None, description="Taken where the path is missing.")


class Repeat(Model):
    """A loop: the step or group again, in the same place, until an expression holds."""

    until: NonEmpty | bool = Field(description="An expression, asked after each round; it sees the round's values and `iteration`.")
    max: Annotated[int, Field(ge=1, le=1000), WHOLE] = Field(
        description="Most rounds. If `until` does not hold by then, the step has failed."
    )


class Session(Model):
    """Where an agent task goes on: in the conversation of an earlier step, or in a copy of it."""

    continue_: Maybe[Name] = Field(None, alias="continue", description="Go on in the session of this step.")
    fork: Maybe[Name] = Field(None, description="Go on in a copy of the session of this step.")

    @model_validator(mode="after")
    def _one(self) -> Session:
        if (self.continue_ is None) == (self.fork is None):
            raise PydanticCustomError("session", "`session` is `fresh`, `{continue: STEP}` or `{fork: STEP}`")
        return self


Commands = NonEmpty | FilledListOf[NonEmpty]
Names = Name | ListOf[Name]


def _exactly_one_kind(schema: dict[str, Any]) -> None:
    schema["oneOf"] = [{"required": [kind]} for kind in KINDS]


class Step(Model):
    """One step: what it does (exactly one of `run`, `prompt`, `skill`, `workflow`, `steps`, `approve`, `end`), when, and what its success is."""

    model_config = ConfigDict(json_schema_extra=_exactly_one_kind)

    name: Maybe[Name] = Field(None, description="Unique; default `step_N`.")
    description: Maybe[str] = Field(None, description="For people.")
    run: Maybe[NonEmpty | FilledListOf[Text]] = Field(
        None, description="A command: text goes to the shell, a list is executed without one."
    )
    prompt: Maybe[NonEmpty] = Field(None, description="One agent task with this text.")
    skill: Maybe[NonEmpty] = Field(None, description="An agent task from the template of this skill.")
    workflow: Maybe[NonEmpty] = Field(None, description="Another workflow as a part of this run: a path relative to this file, or a name.")
    with_: Maybe[dict[Variable, Value]] = Field(None, alias="with", description="Arguments of the skill or of the workflow.")
    steps: Maybe[FilledListOf[Step]] = Field(
        None, description="A group: steps of its own, a chain unless `needs` says otherwise; with `foreach` once per item."
    )
    approve: Maybe[NonEmpty] = Field(None, description="Waits for a person, who is shown this text; the answer is the output.")
    end: Maybe[Literal["success", "failed"]] = Field(None, description="Ends the run early, with this status.")
    reason: Maybe[NonEmpty] = Field(None, description="Why `end` ends the run.")
    needs: Maybe[Names] = Field(None, description="Steps that must have ended first; default: the step above.")
    join: Maybe[Literal["success", "done", "any"]] = Field(
        None, description="When `needs` are met: all well (`success`), all ended (`done`), or the first (`any`); default `success`."
    )
    when: Maybe[NonEmpty | bool] = Field(None, description="An expression; false skips the step.")
    foreach: Maybe[NonEmpty | ListOf[Value]] = Field(None, description="One task per item of this list or expression.")
    matrix: Maybe[dict[Variable, NonEmpty | ListOf[Value]]] = Field(
        None, description="One task per combination of these lists, the first key slowest; `include` adds some, `exclude` takes some away."
    )
    filter: Maybe[NonEmpty | bool] = Field(None, description="An expression asked of each item; only those for which it holds are taken.")
    limit: Maybe[Annotated[int, Field(ge=0), WHOLE] | NonEmpty] = Field(
        None, description="Most items taken, after `filter`; the rest is reported."
    )
    as_: Maybe[Variable] = Field(None, alias="as", description="Name of the item (default `item`).")
    max_parallel: Maybe[Annotated[int, Field(ge=1), WHOLE]] = Field(None, description="Most items at once.")
    max_items: Maybe[Annotated[int, Field(ge=0, le=100_000), WHOLE]] = Field(None, description="Longest list taken (default 1000).")
    fail_fast: Maybe[bool] = Field(
        None,
        description="Stop the other items after the first failure (default false). With `join: any`, stop the other needs after the first that ended well.",
    )
    repeat: Maybe[Repeat] = Field(None, description="A loop over this step or group.")
    config: Maybe[AgentConfig] = Field(None, description="Settings of the agent for this step.")
    profile: Maybe[NonEmpty] = Field(None, description="Settings by name, from `profiles` of this file or of `cpool.yaml`.")
    session: Maybe[Literal["fresh"] | Session] = Field(None, description="The conversation in which the agent works (default `fresh`).")
    timeout: Maybe[PositiveDuration] = Field(None, description="Longest time of one attempt with its `verify` (default 1h).")
    idle_timeout: Maybe[PositiveDuration] = Field(
        None, description="Longest silence (default 10m for agents; it stands still while a tool runs)."
    )
    retries: Maybe[Annotated[int, Field(ge=0, le=1000), WHOLE]] = Field(
        None, description="Up to this many more attempts (default: 2 for agents, on `overloaded` and `lost`; 0 for `run`)."
    )
    retry: Maybe[Retry] = Field(None, description="Waits and classes of retries.")
    recovery_prompt: Maybe[NonEmpty] = Field(None, description="An agent task after the last attempt failed; `{{ error }}` says why.")
    recoveries: Maybe[Annotated[int, Field(ge=1, le=1000), WHOLE]] = Field(None, description="Most rounds of recovery (default 1).")
    verify: Maybe[Commands] = Field(None, description="The step succeeds only if these commands exit 0.")
    expect: Maybe[Expect] = Field(None, description="What must be true of the step's place afterwards.")
    effects: Maybe[Literal["none", "workspace", "external"]] = Field(
        None, description="What a second execution could harm; `external` is never repeated on its own after a crash (default `workspace`)."
    )
    on_failure: Maybe[Literal["fail", "continue", "stop"]] = Field(
        None, description="What a failure means: the run fails (`fail`, default), goes on (`continue`), or is stopped (`stop`)."
    )
    output: Maybe[Literal["text", "json", "lines"]] = Field(None, description="How the output is read (default `text`).")
    output_schema: Maybe[dict[str, Value] | NonEmpty] = Field(None, description="JSON Schema of the output, or a file that holds it.")
    output_vars: Maybe[dict[Variable, NonEmpty | OutputVariable]] = Field(None, description="Variables taken from the output by path.")
    artifacts: Maybe[FilledListOf[NonEmpty]] = Field(
        None, description="Files kept in the run's folder, also after a failure and where git ignores them."
    )
    env: Maybe[dict[Variable, Text]] = Field(None, description="Environment variables of this step.")
    secrets: Maybe[ListOf[Variable]] = Field(None, description="Declared secrets that this step gets.")
    isolation: Maybe[Literal["none", "worktree"]] = Field(
        None, description="`worktree`: each item works in a git worktree of its own, on a branch from the run's (default `none`)."
    )
    merge: Maybe[Literal["auto", "none"]] = Field(
        None, description="What becomes of an item's branch: merged back in the order of the items (`auto`, default), or left (`none`)."
    )
    setup: Maybe[NonEmpty | ListOf[NonEmpty]] = Field(
        None, description="Commands run once in the fresh place of each item (default: the workflow's `setup`); `[]`: none."
    )
    cwd: Maybe[NonEmpty] = Field(None, description="Folder inside the step's place.")
    stdin: Maybe[str] = Field(None, description="Text for the command's standard input.")
    shell: Maybe[FilledListOf[NonEmpty] | NonEmpty] = Field(None, description="Shell for text commands; the script is its last argument.")
    ok_codes: Maybe[FilledListOf[Annotated[int, Field(ge=0, le=255), WHOLE]]] = Field(
        None, description="Exit codes that are success beside 0."
    )
    allow_denials: Maybe[bool] = Field(None, description="A refused tool is no failure.")
    slot: Maybe[NonEmpty] = Field(
        None,
        description="Name, role or label of the slot that the step works in (default: any); `none`: a trivial command that takes no slot.",
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Step:
        if len(_KINDS & self.model_fields_set) != 1:
            raise PydanticCustomError("step_kind", f"a step has exactly one of {', '.join(f'`{kind}`' for kind in KINDS)}")
        return self

    @property
    def kind(self) -> str:
        """The key that says what it does."""
        for kind in KINDS:
            if getattr(self, kind) is not None:
                return kind
        raise AssertionError("BUG: a step without a kind")

    @property
    def result_kind(self) -> str:
        """The same as results have it: what holds steps is a `group`."""
        return "group" if self.steps is not None else self.kind

    @property
    def is_agent(self) -> bool:
        return self.prompt is not None or self.skill is not None

    @property
    def executes(self) -> bool:
        """Whether a process does its work: it has attempts, a time limit and a verdict."""
        return self.run is not None or self.is_agent

    @property
    def isolated(self) -> bool:
        """Whether each of its items works in a place of its own."""
        return self.isolation == "worktree"

    @property
    def fans_out(self) -> bool:
        return self.foreach is not None or self.matrix is not None


Argument = Annotated[
    dict[str, Value],
    WithJsonSchema(
        {
            "type": "object",
            "description": "A JSON Schema (draft 2020-12). `required: false` or a `default` makes it optional.",
            "properties": {
                "type": {"description": "`string`, `integer`, `number`, `boolean`, `array`, `object`, or a list of them."},
                "enum": {"description": "The values that are allowed."},
                "default": {"description": "Taken where the argument is not given."},
                "required": {"description": "`false`: may be left out, and is null then."},
                "description": {"description": "For people; shown where the argument is missing."},
            },
        }
    ),
]


class Concurrency(Model):
    """The group of a run."""

    group: NonEmpty = Field(description="Name of the group; a template of arguments.")
    cancel: bool = Field(False, description="A new run cancels the one before it; else it waits its turn (default).")


class Workflow(Model):
    """A workflow file."""

    version: Annotated[Literal[1], Before(_no_boolean)] = Field(1, description="Version of this format.")
    requires: Maybe[NonEmpty] = Field(None, description='Which cpool-flow versions can run this file: ">=0.1".')
    name: Maybe[Name] = Field(None, description="Default: the file's stem.")
    description: Maybe[str] = Field(None, description="For people; shown by `cpool-flow list`.")
    args: dict[Variable, Argument] = Field({}, description="Typed arguments, each a JSON Schema.")
    env: dict[Variable, Text] = Field({}, description="Plain values for shell steps and agents.")
    secrets: ListOf[Variable] = Field((), description="Environment variables: required at start, masked everywhere.")
    context: dict[str, Value] = Field({}, description="Shared context, added to every agent's system prompt.")
    config: AgentConfig = Field(AgentConfig(), description="Defaults for agent steps.")
    profiles: dict[Name, AgentConfig] = Field(
        {}, description="Settings by name, for `profile` of a step; one of `cpool.yaml` of that name is not looked at."
    )
    slots: Maybe[Slots] = Field(None, description="Size of the slot pool (default 4), or a list of slots with names.")
    budget_usd: Maybe[Dollars] = Field(None, description="Most US dollars that the run may spend.")
    timeout: Maybe[PositiveDuration] = Field(None, description="Whole run.")
    isolation: Maybe[Literal["none", "worktree"]] = Field(
        None, description="Where steps work; default: `worktree` where an agent may write in a git repository."
    )
    base: Maybe[NonEmpty] = Field(None, description="Commit that the run's branch starts from (default `HEAD`).")
    include_changes: bool = Field(False, description="Take uncommitted changes of the checkout along (default false).")
    setup: Maybe[Commands] = Field(None, description="Commands run once in a fresh place.")
    keep: Literal["branch", "worktree", "none"] = Field("branch", description="What stays of the run's place (default `branch`).")
    concurrency: Maybe[Concurrency] = Field(None, description="One run of a group at a time in a project.")
    steps: FilledListOf[Step] = Field(description="The steps, a chain unless `needs` says otherwise.")
    finally_: ListOf[Step] = Field((), alias="finally", description="Steps run at the end whatever happened.")
    outputs: dict[Variable, Value] = Field({}, description="Values printed at the end and kept with the run.")
