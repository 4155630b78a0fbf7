"""An agent CLI that nobody has written an adapter for, as `agents:` of `cpool.yaml` describes it: frozen objects.

Knows the shape only; what cannot be meant is `pool_rules.py`, how it is started and read `agents/own.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from cpool_flow.capabilities import ALL_KEYS, Capabilities
from cpool_flow.model import WHOLE, FilledListOf, ListOf, Model, NonEmpty, Text, Variable

if TYPE_CHECKING:
    from typing import Optional as Maybe
else:
    from cpool_flow.model import Maybe

# Where a value goes in the words of an option, and the prompt in those of the command.
VALUE, PROMPT = "{}", "{prompt}"

Option = Literal[
    "model", "fallback_model", "effort", "permission_mode", "max_turns", "max_budget_usd", "system_prompt", "replace_system_prompt",
    "allowed_tools", "disallowed_tools", "mcp_servers", "add_dirs", "settings", "output_schema", "resume", "fork",
]  # fmt: skip
Outcome = Literal[
    "success", "failed", "bad_output", "timeout", "rate_limited", "overloaded", "auth", "permission_denied", "max_turns", "budget",
    "cancelled", "lost", "invalid", "errored",
]  # fmt: skip
Code = Annotated[int, Field(ge=0, le=255), WHOLE]
Words = ListOf[Text]


class Found(Model, defer_build=True):
    """Where a value stands in lines of JSON."""

    event: Maybe[NonEmpty] = Field(None, description="Only in lines of this event.")
    path: NonEmpty = Field(description="Dot path into the line: `a.b[0].c`.")
    all: bool = Field(
        False, description="Join the texts, or add up the numbers, of all that are found (default false: the last one holds)."
    )


class OwnAgent(Model, defer_build=True):
    """One agent."""

    command: FilledListOf[Text] = Field(description="The program and its arguments, executed without a shell.")
    prompt: Literal["stdin", "argument", "file"] = Field(
        "stdin",
        description="How it takes the prompt: on its standard input (default), or as an argument, or as the path of a file, in place of"
        " `{prompt}` in `command`, else as the last word.",
    )
    options: dict[Option, Words | dict[NonEmpty, Words]] = Field(
        {}, description="Words for a key of `config`, `{}` in place of its value; or by its value, words for each."
    )
    output: Literal["text", "last_line", "json", "json_lines"] = Field("text", description="What its standard output is (default `text`).")
    event_key: NonEmpty = Field("type", description="Which key of a line of JSON names its event (default `type`).")
    answer: Maybe[NonEmpty | Found] = Field(None, description="Where the answer stands in JSON: a path, or for lines a place.")
    cost_usd: Maybe[NonEmpty | Found] = Field(None, description="Where its cost in US dollars stands.")
    input_tokens: Maybe[NonEmpty | Found] = Field(None, description="Where the tokens stand that the model read.")
    output_tokens: Maybe[NonEmpty | Found] = Field(None, description="Where the tokens stand that the model wrote.")
    session_id: Maybe[NonEmpty | Found] = Field(None, description="Where the id of its session stands.")
    error: Maybe[NonEmpty | Found] = Field(None, description="Where the text of an error stands; one that is there is a failure.")
    exit_codes: dict[Outcome, Code | FilledListOf[Code]] = Field(
        {}, description="Exit codes that mean this kind of failure, or `success` (default: 0 is success, any other `failed`)."
    )
    credentials: ListOf[Variable] = Field((), description="Environment variables that it is handed; their values are masked everywhere.")
    install: Maybe[NonEmpty] = Field(None, description="What to say where the program is missing: how to get it.")

    @property
    def places(self) -> Mapping[str, NonEmpty | Found]:
        """Where each value stands, of those that are named."""
        names = ("answer", "cost_usd", "input_tokens", "output_tokens", "session_id", "error")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    @property
    def capabilities(self) -> Capabilities:
        """What a step may ask of it. Instructions go before the prompt where it has no option for them."""
        options = self.options
        return Capabilities(
            keys=frozenset({"system_prompt", *(ALL_KEYS & options.keys())}),
            values={key: frozenset(words) for key, words in options.items() if isinstance(words, dict)},
            resume="resume" in options,
            fork="fork" in options,
            schema="output_schema" in options,
            cost=self.cost_usd is not None,
            tokens=self.input_tokens is not None and self.output_tokens is not None,
        )

    def kind_of(self, code: int | None) -> Outcome | None:
        """What an exit code was said to mean."""
        for kind, codes in self.exit_codes.items():
            if code in (codes if isinstance(codes, tuple) else (codes,)):
                return kind
        return None
