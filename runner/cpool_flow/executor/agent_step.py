"""One attempt of an agent task: a `prompt:`, a `skill:`, or a recovery. The verdict is the adapter's and the output's.

Knows how an agent's process is run and watched; not its flags or events (`agents/`).
"""

from __future__ import annotations

import time
from dataclasses import replace

from cpool_flow import settings
from cpool_flow.agents.protocol import AgentRequest, AgentResult, Ending
from cpool_flow.executor import Assignment
from cpool_flow.executor.agent_lines import Tell
from cpool_flow.executor.agent_process import AgentProcess
from cpool_flow.executor.context import RunContext
from cpool_flow.executor.cost import priced
from cpool_flow.executor.logs import TAIL_BYTES, Log, collect, spools, tail
from cpool_flow.executor.outcome import Outcome, seconds_text, with_output
from cpool_flow.executor.warm_slots import WarmSlots
from cpool_flow.executor.work import Ended, How, Work
from cpool_flow.inputs import copy_path, own_file
from cpool_flow.model import DEFAULT_AGENT_IDLE_TIMEOUT_SECONDS, AgentConfig, ErrorKind
from cpool_flow.outputs import BadOutput, read_output
from cpool_flow.process import ProcessNotStarted
from cpool_flow.values import unwrap

NAME_CHARACTERS = 200
REASON_CHARACTERS = 300


async def run_agent(assignment: Assignment, context: RunContext, work: Work, warm: WarmSlots) -> Outcome:
    """Give one task to the agent. Raises RenderError, InvalidInput, OperationFailed."""
    request = request_of(assignment, context)
    adapter = context.inputs.adapter(request.config.agent or "claude")
    before = await context.recorder.look() if context.recorder else None
    spool_out, spool_err = spools(assignment.log, assignment.slot)
    with Log(spool_out, context.masker) as log, Log(spool_err, context.masker) as errors:
        process = AgentProcess(adapter, request, assignment.slot, _idle_seconds(assignment), work, log, errors, _tell(assignment, context))
        try:
            ran = await process.run(warm)
        except ProcessNotStarted as error:
            return Outcome("errored", str(error), fault="not started", cost_usd=None if work.began else 0.0)
    result = _priced(ran.reader.finish(_ending(ran.ended, tail(spool_err))), assignment, context, request)
    collect(assignment.log, assignment.slot)
    for server in result.failed_servers:
        name = _name(context.masker.mask(server))
        context.remark(f"`{assignment.task}`: the MCP server `{name}` did not start, and its agent went on without it")
    if context.recorder and before:
        await context.recorder.exchange(assignment, request, _judged(result, ran.ended), before)
    if ran.warm is not None and assignment.slot is not None:
        await warm.give_back(assignment.slot, ran.warm, result.kind is None)
    return _outcome(result, ran.ended, assignment, context, work, request)


def _tell(assignment: Assignment, context: RunContext) -> Tell | None:
    """Hands on what an agent says while it works, to who looks on."""
    overhear, mask = context.overhear, context.masker.mask
    return None if overhear is None else lambda said: overhear(assignment.task, assignment.number, mask(said))


def _judged(result: AgentResult, ended: Ended) -> AgentResult:
    """The result, where it was we who ended it before it was whole."""
    kinds: dict[How, ErrorKind] = {"cancelled": "cancelled", "timeout": "timeout"}
    return result if result.kind is None or ended.how not in kinds else replace(result, kind=kinds[ended.how])


def _priced(result: AgentResult, assignment: Assignment, context: RunContext, request: AgentRequest) -> AgentResult:
    agent = request.config.agent or "claude"
    return priced(result, agent, request.config.model, context.inputs.pool.file, assignment.tokens_before)


def _ending(ended: Ended, stderr: str) -> Ending:
    return Ending(exit_code=ended.exit.code, signal=ended.exit.signal, stderr=stderr, now=time.time(), ended_by_us=ended.ended_by_us)


def _outcome(result: AgentResult, ended: Ended, assignment: Assignment, context: RunContext, work: Work, request: AgentRequest) -> Outcome:
    mask = context.masker.mask
    answer = mask(result.answer)
    outcome = Outcome(
        exit_code=ended.exit.code,
        signal=ended.exit.signal,
        cost_usd=None if result.cost_at_least else result.cost_usd,
        cost_at_least_usd=result.cost_usd if result.cost_at_least else None,
        turns=result.turns,
        input_tokens=result.input_tokens,
        output_tokens=result.output_tokens,
        cached_tokens=result.cached_tokens,
        session_id=_name(mask(result.session_id or assignment.session_id)),
        model=_name(mask(result.model or request.config.model or "")),
        resets_at=result.resets_at,
        answer=answer,
        denied=tuple(dict.fromkeys(name for tool in result.denials if (name := _name(mask(tool))))),
    )
    if result.kind is None:  # also where it was stopped after its whole result
        return read_answer(outcome, answer, assignment, context)
    if ended.how == "cancelled":
        return outcome.failed("cancelled", work.stopped or "cancelled")
    if ended.how == "timeout":
        return outcome.failed("timeout", f"did not end within {seconds_text(assignment.timeout_seconds)}")
    if ended.how == "idle" and result.kind == "timeout":  # else the agent's adapter knows better what it waited for
        hung = replace(outcome, fault="hung")
        return hung.failed("timeout", f"was silent for {seconds_text(_idle_seconds(assignment))} (`idle_timeout`)")
    kept = replace(outcome, output=context.folder.keep(answer, f"{assignment.log.stem}.txt")) if answer else outcome
    if result.kind == "lost":
        kept = replace(kept, fault="died")
    reason, rest = _reason_and_tail(mask(result.error) or result.kind)
    return kept.failed(result.kind, reason, rest or _end_of(answer, reason))


def _idle_seconds(assignment: Assignment) -> float:
    return assignment.step.idle_timeout_seconds or DEFAULT_AGENT_IDLE_TIMEOUT_SECONDS


def _name(text: str) -> str | None:
    """A name that an agent gave itself, as the journal keeps it."""
    return text[:NAME_CHARACTERS] or None


def _reason_and_tail(error: str) -> tuple[str, str]:
    """The first line of an error, and the end of what that leaves out."""
    reason, _, rest = error.partition("\n")
    if len(reason) > REASON_CHARACTERS:
        reason, rest = f"{reason[: REASON_CHARACTERS - 1]}…", error
    return reason, _end_of(rest)


def _end_of(text: str, told: str = "") -> str:
    """The last 4 kB of a text, nothing of one that was told already."""
    return "" if text in told else text.encode("utf-8", "replace")[-TAIL_BYTES:].decode("utf-8", "ignore")


def read_answer(outcome: Outcome, answer: str, assignment: Assignment, context: RunContext) -> Outcome:
    """The answer as the step says to read it. The recovery of a `run` step, or of a merge, answers nobody: its text is only kept."""
    step = assignment.step.step
    if not step.is_agent or assignment.kind == "merge":
        return outcome
    try:
        read = read_output(
            answer, step.output, answer=True, schema=context.copy(assignment).schema_of(step), variables=step.output_vars or {}
        )
    except BadOutput as error:
        kept = replace(outcome, output=context.folder.keep(answer, f"{assignment.log.stem}.txt"))
        return kept.failed("bad_output", str(error), _end_of(answer, str(error)))
    return with_output(outcome, read, assignment, context)


# ---- the request --------------------------------------------------------------------------------------------


def request_of(assignment: Assignment, context: RunContext) -> AgentRequest:
    """What an attempt asks of its agent. Raises RenderError, InvalidInput."""
    step, scope = assignment.step.step, assignment.scope
    config, script_name = _config(assignment, context)
    schema = context.copy(assignment).schema_of(step) if step.is_agent and assignment.kind != "merge" else None
    files = context.folder.handed
    shared = unwrap(scope["context"])
    assert isinstance(shared, dict)
    shared = {**context.shared, **shared}
    files.mkdir(mode=0o700, exist_ok=True)
    return AgentRequest(
        prompt=_prompt(assignment, context),
        config=config,
        directory=context.directory(step, scope),
        files=str(files),
        session_id=assignment.session_id,
        resume=assignment.resume,
        budget_usd=assignment.budget_usd,
        price=context.inputs.pool.file.price(config.agent or "claude", config.model),
        environment=context.public_environment,
        step_environment=context.step_variables(assignment),
        system_prompt=settings.system_prompt(shared, config, context.asked_slot(assignment)),
        schema=schema.document if schema else None,
        allow_denials=bool(step.allow_denials),
        step=assignment.step.name,
        task=assignment.task,
        attempt=assignment.number,
        item=assignment.item,
        round_number=int(str(scope.get("iteration", 1))),
        script_name=script_name,
    )


def _prompt(assignment: Assignment, context: RunContext) -> str:
    step, scope = assignment.step.step, assignment.scope
    if assignment.kind != "normal":
        return context.text(step.recovery_prompt or "", scope)
    if step.prompt is not None:
        return step.prompt if assignment.step.literal else context.text(step.prompt, scope)
    copy, name = context.copy(assignment), step.skill or ""
    text = copy.parsed_skills[name].render(context.values(step.with_ or {}, scope), context)
    return f"Base directory for this skill: {_skill_folder(assignment, context)}\n\n{text}" if name in copy.skill_files else text


def _skill_folder(assignment: Assignment, context: RunContext) -> str | None:
    """Where the run's copies are of what stands beside the skill's text."""
    name = context.copy(assignment).skill_files.get(assignment.step.step.skill or "")
    return None if name is None else str(own_file(context.folder, name))


def _config(assignment: Assignment, context: RunContext) -> tuple[AgentConfig, str]:
    """The layers merged by the one rule, then their texts rendered; and what the file of answers is called there. In `cpool.yaml` there is
    no template, so nothing of it changes."""
    merged = context.inputs.settings_of(assignment.step, context.asked_slot(assignment))
    agent = assignment.agent or assignment.step.agent or "claude"
    config = merged.config
    if agent != assignment.step.agent:
        config = config.model_copy(update=dict.fromkeys(settings.OF_ONE_AGENT))
    values = config.model_dump(exclude_none=True)
    if not assignment.step.literal:
        values = context.values(values, assignment.scope)
    script_name = str(values.get("script", ""))
    for key in ("script", "recording"):
        copy = context.inputs.pool if key in merged.pooled else context.copy(assignment)
        if values.get(key) in copy.files:
            values[key] = str(copy_path(context.folder, copy, values[key]))
    if context.inputs.recording is not None:
        values["recording"] = str(own_file(context.folder, context.inputs.recording))
    folder = _skill_folder(assignment, context)
    if folder is not None and context.inputs.adapter(agent).capabilities.reads_only_added:
        values["add_dirs"] = [*values.get("add_dirs", ()), folder]
    return AgentConfig.model_validate({**values, "agent": agent}), script_name
