"""Facts of a run, in the past tense, and their JSON form. The journal is a list of these; state is their fold.

Knows nothing of SQLite or of what follows from an event. Times are not in here: each event is stored with the
moment at which it was recorded (seconds since the epoch). A field left at its default is left out of the JSON,
so fields may be added without a new version; a field is never renamed.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any, Literal

from cpool_flow.dataclass import dataclass

# Raised when an older program could misread what a newer one wrote.
VERSION = 1

JsonValue = Any
# `merge`: a recovery where an item could not be merged.
AttemptKind = Literal["normal", "recovery", "merge"]
Fault = Literal["", "died", "hung", "not started"]
StopCause = Literal["cancel", "sigterm", "timeout", "on_failure", "errored", "budget"]
Choice = Literal["rerun", "skip", "fail"]


@dataclass(frozen=True, slots=True)
class Stored:
    """A text that is kept: `text` itself up to 64 kB, above that a `file` of the run's directory and its size in bytes."""

    text: str | None = None
    file: str | None = None
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """One fact. Each subclass is one type in the journal."""


@dataclass(frozen=True, slots=True)
class RunCreated(Event):
    """`budget_usd`: the most that the run may spend. `parent`: the folder of the run inside of which it was started. `slots` is how many
    there are, `slot_names` what they are called: empty is `slot-1`, `slot-2` … `trusted`: the commit from which the workflow and what
    agents are told was read, where that is not the checkout. `rerun_of`: the run that it repeats; `only`: the one step that was chosen;
    `group`: of which one run at a time is at work."""

    run_id: str
    name: str
    workflow: str
    file: str
    directory: str
    mark: str
    slots: int
    isolation: str
    timeout_seconds: float | None = None
    tags: tuple[str, ...] = ()
    version: str = ""
    secrets: tuple[str, ...] = ()
    rerun_of: str = ""
    only: str = ""
    group: str = ""
    trusted: str = ""
    slot_names: tuple[str, ...] = ()
    budget_usd: float | None = None
    allow_unpriced: bool = False
    parent: str = ""


@dataclass(frozen=True, slots=True)
class PlaceOpened(Event):
    """A fresh place to work in; `setup` has not run there yet. `place` is what the workspace needs to find it again. `task`: the item
    whose own place it is; the run's where it is empty."""

    directory: str
    branch: str | None = None
    base: str | None = None
    place: JsonValue = None
    note: str = ""
    task: str = ""


@dataclass(frozen=True, slots=True)
class SetupFinished(Event):
    """`task`: the item in whose own place it ran."""

    error: str = ""
    task: str = ""


@dataclass(frozen=True, slots=True)
class PoolOpened(Event):
    """The run is a pool: steps may be added from now on, and it does not end before `PoolClosed`."""


@dataclass(frozen=True, slots=True)
class PoolClosed(Event):
    """No step is added any more: the run ends with those that it has."""


@dataclass(frozen=True, slots=True)
class StepAdded(Event):
    """A pool was given work: a `step` (as a workflow file would hold it) that needs no other. `literal`: no text of it is a template.
    `copies`: the workflow files that it brings along, by their key among the inputs. `tags`: words of whoever gave it."""

    name: str
    step: JsonValue
    literal: bool = False
    copies: JsonValue = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StepCancelled(Event):
    """A person, or a program, wants no more of a step: what runs of it is stopped, and nothing of it starts."""

    step: str
    reason: str


@dataclass(frozen=True, slots=True)
class SlotsChanged(Event):
    """The slots of a pool from now on, by name. One that is missing and works goes when it has done so."""

    slot_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ContextChanged(Event):
    """What agents that start from now on are told by this name; None: nothing any more."""

    key: str
    content: JsonValue = None


@dataclass(frozen=True, slots=True)
class StepOpened(Event):
    """`when` held; with `foreach`, what it came to (a JSON list) and how many items that are."""

    step: str
    items: Stored | None = None
    count: int = 1


@dataclass(frozen=True, slots=True)
class StepClosed(Event):
    """A step ended without a task: skipped, cancelled, or failed before its tasks could be made."""

    step: str
    status: Literal["skipped", "cancelled", "failed"]
    reason: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class AttemptStarted(Event):
    """Written before the process exists. `tree` is the state of the place, where it is under git. `budget_usd`: what the attempt may
    spend of a budget; held back until it has ended."""

    task: str
    number: int
    kind: AttemptKind = "normal"
    slot: str | None = None
    agent: str | None = None
    model: str | None = None
    log: str = ""
    tree: str | None = None
    session_id: str | None = None
    budget_usd: float | None = None


@dataclass(frozen=True, slots=True)
class AttemptFinished(Event):
    """How an attempt ended. `error_kind` is None for success. `interrupted`: the coordinator died, the attempt is lost.
    `cost_usd` is None where it is unknown: `cost_at_least_usd` is then what is known of it, where anything is. `nested_usd`: what
    runs have spent that were started inside of it.
    Tokens are None where unknown; `cached_tokens` are those of the input that came from a cache, and count among it.
    `fault`: what the agent's process did, where that may be the slot's and not the task's. `denied`: the tools that the agent was refused."""

    task: str
    number: int
    error_kind: str | None = None
    error: str = ""
    reason: str = ""
    exit_code: int | None = None
    signal: int | None = None
    output: Stored | None = None
    value: Stored | None = None
    variables: Stored | None = None
    cost_usd: float | None = None
    turns: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    session_id: str | None = None
    model: str | None = None
    tree: str | None = None
    state: str = ""
    resets_at: float | None = None
    interrupted: bool = False
    changed_files: tuple[str, ...] | None = None
    commit: str | None = None
    artifacts: tuple[str, ...] = ()
    cost_at_least_usd: float | None = None
    nested_usd: float | None = None
    fault: Fault = ""
    denied: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SlotQuarantined(Event):
    """On this slot the agent does not work: until then its tasks go to others. `last`: there is no other, so it goes on."""

    slot: str
    reason: str
    until: float
    last: bool = False


@dataclass(frozen=True, slots=True)
class AgentParked(Event):
    """The account of an agent is at its usage limit: none of its attempts starts before `until` (seconds since the epoch). `named`:
    the agent said so itself; else it is asked again then."""

    agent: str
    until: float
    named: bool = False


@dataclass(frozen=True, slots=True)
class RetryScheduled(Event):
    """The next attempt of a task may start at `not_before` (seconds since the epoch). `free`: it costs no retry."""

    task: str
    kind: AttemptKind
    not_before: float
    reason: str
    free: bool = False


@dataclass(frozen=True, slots=True)
class TaskClosed(Event):
    """A task that will have no further attempt, and did not succeed. `error`: why, where no attempt says it."""

    task: str
    status: Literal["failed", "skipped", "cancelled"]
    reason: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class RoundStarted(Event):
    """The steps within a task begin: a group's, a sub-workflow's with its `arguments` (a JSON object), or a loop's next round."""

    task: str
    number: int = 1
    arguments: Stored | None = None


@dataclass(frozen=True, slots=True)
class RoundFinished(Event):
    """All steps of a round have ended. `again`: the loop goes on. `state` names what the round has left behind."""

    task: str
    number: int
    status: Literal["success", "failed", "cancelled"]
    again: bool = False
    reason: str = ""
    error: str = ""
    output: Stored | None = None
    value: Stored | None = None
    variables: Stored | None = None
    state: str = ""


@dataclass(frozen=True, slots=True)
class ApprovalRequested(Event):
    """A person is asked: the task waits, however long, and over restarts."""

    task: str
    question: Stored


@dataclass(frozen=True, slots=True)
class ApprovalAnswered(Event):
    """What a person said. The answer is the task's output."""

    task: str
    approved: bool
    output: Stored | None = None
    value: Stored | None = None
    variables: Stored | None = None
    reason: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class EndReached(Event):
    """A step of kind `end` ends the run, or the sub-workflow, that it belongs to."""

    task: str
    status: Literal["success", "failed"]
    reason: str


@dataclass(frozen=True, slots=True)
class DecisionNeeded(Event):
    """A task with effects outside may have happened when the coordinator died: a person decides."""

    task: str


@dataclass(frozen=True, slots=True)
class Decided(Event):
    task: str
    choice: Choice


@dataclass(frozen=True, slots=True)
class ResultsTaken(Event):
    """All that is recorded before this was done by another run. Its `steps` are not done again; of those named in `partly` what
    has not succeeded is, but for the steps within that are `known`, by their ids, to have ended badly."""

    run: str
    steps: tuple[str, ...] = ()
    partly: tuple[str, ...] = ()
    known: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlaceCommitted(Event):
    """`task`: the item in whose own place it was; the run's where it is empty."""

    commit: str
    tasks: tuple[str, ...]
    changed_files: tuple[str, ...] | None = None
    task: str = ""


@dataclass(frozen=True, slots=True)
class PlaceMerged(Event):
    """What an item has done in its own place was merged into the one that it came from, whose branch is at `commit` then. Or it could
    not be: `reason` says why, `error` with all that was printed, `conflicts` names the files that both have changed since, `onto` the
    commit that it was to be merged with. `into`: the item whose own place it came from; the run's where it is empty."""

    task: str
    commit: str | None = None
    into: str = ""
    reason: str = ""
    error: str = ""
    conflicts: tuple[str, ...] = ()
    onto: str = ""


@dataclass(frozen=True, slots=True)
class PlaceClosed(Event):
    """What is left of a place. `task`: the item whose own it was; the run's where it is empty."""

    branch: str | None = None
    directory: str | None = None
    commit: str | None = None
    note: str = ""
    task: str = ""


@dataclass(frozen=True, slots=True)
class RunStopping(Event):
    """No further step starts and running ones are stopped; `at_once`: the steps of `finally` too. `frame` names the
    sub-workflow that is stopped, where it is not the whole run."""

    cause: StopCause
    reason: str
    at_once: bool = False
    frame: str = ""


@dataclass(frozen=True, slots=True)
class RunWaiting(Event):
    """Nothing can go on but by a person, or when a usage limit is over. The coordinator stays or leaves."""

    reason: str


@dataclass(frozen=True, slots=True)
class RunResumed(Event):
    """Another coordinator goes on, whose processes carry `mark`. `reopen`: what had failed or was cancelled or skipped
    for it runs again. `budget_usd`: the budget of the whole run from now on, where it is another."""

    reopen: bool = False
    mark: str = ""
    budget_usd: float | None = None


@dataclass(frozen=True, slots=True)
class TurnAwaited(Event):
    """Other runs of the concurrency group are `ahead`, the first of them at work."""

    group: str
    ahead: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TurnCame(Event):
    """Nobody is ahead any more: the run begins, or goes on."""


@dataclass(frozen=True, slots=True)
class RunFinished(Event):
    status: Literal["success", "failed", "cancelled"]
    reason: str = ""
    outputs: Stored | None = None


@dataclass(frozen=True, slots=True)
class Notified(Event):
    """The command of `notify` with that number (from 0) is told that the run has this status. Written before it is started, so that it
    is never told twice of the same: `about` names what has come to pass."""

    command: int
    status: str
    about: str


@dataclass(frozen=True, slots=True)
class Noted(Event):
    """A warning for people that belongs to the run."""

    text: str
    task: str | None = None


_TYPES: dict[str, type[Event]] = {kind.__name__: kind for kind in Event.__subclasses__()}
_FIELDS: dict[type[Event], tuple[tuple[str, object], ...]] = {
    kind: tuple((field.name, field.default) for field in fields(kind)) for kind in _TYPES.values()
}


class UnknownEvent(ValueError):
    """The journal holds what this program does not know: a newer program wrote it, or it is damaged."""


def to_json(event: Event) -> dict[str, JsonValue]:
    """The event's fields as plain JSON data, without those at their default."""
    data = {}
    for name, default in _FIELDS[type(event)]:
        value = getattr(event, name)
        if value is default or (default is not MISSING and value == default and type(value) is type(default)):
            continue
        data[name] = _stored_to_json(value) if isinstance(value, Stored) else value
    return data


def from_json(kind: str, data: dict[str, JsonValue]) -> Event:
    """The event that `to_json` was made from. Raises UnknownEvent."""
    event_type = _TYPES.get(kind)
    if event_type is None:
        raise UnknownEvent(kind)
    try:
        for name in _CONVERTED[event_type]:
            value = data.get(name)
            if value is not None:
                data[name] = Stored(**value) if name in _STORED else tuple(value)
        return event_type(**data)
    except (TypeError, AttributeError) as error:
        raise UnknownEvent(f"{kind}: {error}") from None


_STORED = frozenset({"items", "output", "value", "variables", "outputs", "arguments", "question"})
_TUPLES = frozenset(
    {"tags", "slot_names", "denied", "artifacts", "tasks", "changed_files", "secrets", "steps", "partly", "known", "ahead", "conflicts"}
)
_CONVERTED = {kind: tuple(name for name, _ in names if name in _STORED | _TUPLES) for kind, names in _FIELDS.items()}


def _stored_to_json(stored: Stored) -> dict[str, JsonValue]:
    if stored.file is None:
        return {"text": stored.text}
    return {"file": stored.file, "bytes": stored.bytes}
