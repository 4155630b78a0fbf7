"""An agent that is a Python function: `Pool(agent=function)`. For tests of your own code, and for models that have no command line.

It runs in the loop of the pool and gets the same rules as any agent: slots, time limit, budget, retries, verdicts.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field
from functools import partial
from typing import Any, get_args

from cpool_flow.agents.json_lines import count, dollars, number, plain
from cpool_flow.agents.verdict import empty
from cpool_flow.dataclass import dataclass
from cpool_flow.executor import Assignment
from cpool_flow.executor.agent_step import read_answer, request_of
from cpool_flow.executor.context import RunContext
from cpool_flow.executor.local import LocalSlots, Rooms
from cpool_flow.executor.outcome import Outcome, seconds_text
from cpool_flow.executor.work import Work
from cpool_flow.model import ErrorKind
from cpool_flow.pool.function_call import until_ended

KINDS = frozenset(get_args(ErrorKind))


@dataclass(frozen=True)
class Call:
    """What the function is called with. `schema`: the JSON Schema that its answer must fit. `budget_usd`: what it may spend, None where
    nothing limits it. `attempt` counts from 1. `say` tells who looks on what it does."""

    prompt: str
    task: str
    attempt: int
    system_prompt: str | None
    directory: str
    settings: Mapping[str, Any]
    schema: Any = None
    budget_usd: float | None = None
    say: Callable[[str], None] = field(default=lambda text: _check_text(text), repr=False, compare=False)


def _check_text(text: str) -> None:
    if not isinstance(text, str):
        raise TypeError(f"`say` takes a text, not {type(text).__name__}")


@dataclass(frozen=True)
class Answer:
    """What it may return in place of a text. `error_kind` (`failed`, `overloaded`, `rate_limited`, `permission_denied`, …) makes it a
    failure of that kind. `cost_usd` None: not known. `resets_at`: when a usage limit is over (seconds since the epoch)."""

    text: str = ""
    cost_usd: float | None = 0.0
    turns: int | None = None
    error_kind: str | None = None
    error: str = ""
    denied_tools: tuple[str, ...] = ()
    model: str | None = None
    resets_at: float | None = None


AgentFunction = Callable[[Call], Awaitable[str | Answer]]


class FunctionSlots(LocalSlots):
    """Slots whose agent tasks are calls of one function; commands are processes as ever."""

    def __init__(self, context: RunContext, function: AgentFunction, rooms: Rooms | None = None) -> None:
        super().__init__(context, rooms)
        self._function = function

    async def _work(self, assignment: Assignment, context: RunContext, work: Work) -> Outcome:
        if not assignment.step.step.is_agent and assignment.kind == "normal":
            return await super()._work(assignment, context, work)
        return await self._called(assignment, context, work)

    async def _called(self, assignment: Assignment, context: RunContext, work: Work) -> Outcome:
        begun = work.not_begun()
        if begun is not None:
            return Outcome(begun.how, work.stopped or begun.how, cost_usd=0.0)
        request = request_of(assignment, context)
        settings = request.config.model_dump(exclude_none=True, exclude={"agent"})
        call = Call(
            request.prompt,
            request.task,
            request.attempt,
            request.system_prompt,
            request.directory,
            settings,
            request.schema,
            request.budget_usd,
            partial(self._say, assignment.task, assignment.number),
        )
        calling = asyncio.ensure_future(self._answer(call))
        stopped = await until_ended(calling, work)
        if stopped is not None:
            reason = work.stopped or f"did not end within {seconds_text(assignment.timeout_seconds)}"
            return Outcome(stopped, reason, cost_usd=_told_cost(calling))
        if calling.cancelled():
            return Outcome("cancelled", work.stopped or "the agent's function was cancelled")
        error = calling.exception()
        if error is not None:  # whatever a function of others raises is a failure of its task, not of the pool
            return Outcome("failed", self._context.masker.mask(f"the agent's function raised {type(error).__name__}: {error}"))
        answer = calling.result()
        return self._judged(Answer(answer) if isinstance(answer, str) else answer, assignment)

    async def _answer(self, call: Call) -> object:
        """In a coroutine of ours, so that what is no coroutine function fails its task like one that raises."""
        answer = self._function(call)
        if not inspect.isawaitable(answer):
            raise TypeError(f"it returned {type(answer).__name__} and nothing to await: write `async def`")
        return await answer

    def _say(self, task: str, number: int, text: str) -> None:
        _check_text(text)
        if self._context.overhear is not None and text:
            self._context.overhear(task, number, self._context.masker.mask(text))

    def _judged(self, answer: object, assignment: Assignment) -> Outcome:
        if not isinstance(answer, Answer):
            return Outcome("invalid", f"the agent's function returned {type(answer).__name__}, and not a text or an `Answer`")
        flaw = _flaw(answer)
        if flaw:
            return Outcome("invalid", f"the agent's function returned {flaw}", cost_usd=dollars(answer.cost_usd))
        mask = self._context.masker.mask
        text = mask(plain(answer.text))
        outcome = Outcome(
            cost_usd=dollars(answer.cost_usd),  # what is no amount of money is not known
            turns=answer.turns,
            session_id=assignment.session_id,
            model=answer.model,
            resets_at=answer.resets_at,
            answer=text,
            denied=tuple(map(mask, answer.denied_tools)),
        )
        kind = answer.error_kind
        if kind is None and answer.denied_tools and not assignment.step.step.allow_denials:
            kind = "permission_denied"
        if kind is None:
            blank = empty(text, 1, assignment.step.step.output_schema is not None)
            return outcome.failed(*blank) if blank is not None else read_answer(outcome, text, assignment, self._context)
        denied = ", ".join(f"`{tool}`" for tool in outcome.denied)
        reason = mask(answer.error) or (f"the agent was refused a tool that it asked for: {denied}" if denied else kind)
        return outcome.failed(kind, reason)


def _told_cost(calling: asyncio.Future[object]) -> float | None:
    """What a function that was cancelled says that it has spent, if it says so."""
    answered = calling.done() and not calling.cancelled() and calling.exception() is None
    answer = calling.result() if answered else None
    return dollars(answer.cost_usd) if isinstance(answer, Answer) else None


def _flaw(answer: Answer) -> str:
    """What is wrong with its fields: the function is somebody's, and nothing of it may reach the journal that is not what it should be."""
    kind, reset = answer.error_kind, answer.resets_at
    if kind is not None and kind not in KINDS:
        return f"the error kind `{str(kind)[:80]}`, which there is not"
    if reset is not None and number(reset, 1e11) is None:
        return f"`resets_at` {str(reset)[:80]}, which is no time in seconds since the epoch"
    texts = {"text": answer.text, "error": answer.error, "model": answer.model or ""}
    wrong = next((name for name, value in texts.items() if not isinstance(value, str)), None)
    if wrong is not None:
        return f"`{wrong}` that is no text"
    if answer.turns is not None and count(answer.turns) != answer.turns:
        return "`turns` that is no whole number"
    tools = answer.denied_tools
    return (
        ""
        if isinstance(tools, (tuple, list)) and all(isinstance(tool, str) for tool in tools)
        else "`denied_tools` that is no list of texts"
    )
