"""A person at the terminal, asked for the approvals of a run that is followed there. Nobody at a terminal: nobody is asked.

Reads lines beside the loop of the coordinator, so that the run goes on meanwhile and Ctrl-C means what it always means.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from cpool_flow import approval
from cpool_flow.coordinator import Say
from cpool_flow.errors import printable
from cpool_flow.inputs import Inputs
from cpool_flow.outputs import BadOutput
from cpool_flow.run_folder import RunFolder
from cpool_flow.state import State
from cpool_flow.tasks import StepState, Task

HOW = "y [ANSWER] to approve, n [REASON] to reject"


class Screen(Protocol):
    """What is shown at the terminal meanwhile. Between `take` and `give` it leaves the terminal to the question."""

    def take(self) -> None: ...

    def give(self) -> None: ...

    def say(self, text: str) -> None: ...


class Person:
    """Asks one question at a time, the oldest first."""

    def __init__(self, folder: RunFolder, inputs: Inputs, screen: Screen) -> None:
        self._screen = screen
        self._folder = folder
        self._copies = inputs.copies
        self._steps: Mapping[str, StepState] = {}
        self._say: Say | None = None
        self._open: dict[str, Task] = {}
        self._asked: str | None = None
        self._typed = b""
        self._gone = False  # nothing more is read
        self._at_prompt = False  # the cursor stands behind a question

    @contextmanager
    def listen(self, say: Say) -> Iterator[None]:
        """While this holds, lines from the terminal are answers."""
        self._say = say
        loop = asyncio.get_running_loop()
        loop.add_reader(sys.stdin.fileno(), self._read, loop)
        try:
            yield
        finally:
            loop.remove_reader(sys.stdin.fileno())

    def follow(self, state: State) -> None:
        """Ask what is open and has not been asked yet."""
        self._open, self._steps = dict(state.approvals), state.steps
        if self._asked not in self._open:
            if self._at_prompt:  # the answer came from elsewhere, or is not awaited any more
                print(file=sys.stderr, flush=True)
            self._asked, self._at_prompt = None, False
            self._ask()

    def _ask(self) -> None:
        if not self._open or self._gone:
            self._screen.give()
            return
        self._screen.take()
        self._asked = next(iter(self._open))
        left = self._open[self._asked].asked
        question = self._folder.load(left) if left is not None else ""
        text = "\n".join(f"  {printable(line)}" for line in question.strip().split("\n"))
        self._prompt(f"{printable(self._asked)} asks:\n{text}\n")

    def _prompt(self, text: str = "") -> None:
        print(f"{text}{HOW}: ", end="", file=sys.stderr, flush=True)
        self._at_prompt = True

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        data = os.read(sys.stdin.fileno(), 65536)
        if not data:
            loop.remove_reader(sys.stdin.fileno())
            self._gone = True
            self._screen.say(f"nothing more is read here: answer with cpool-flow approve {self._folder.run_id} STEP")
            self._screen.give()
            return
        *lines, self._typed = (self._typed + data).split(b"\n")
        for line in lines:
            self._at_prompt = False
            self._answer(line.decode("utf-8", "replace").strip())

    def _answer(self, line: str) -> None:
        said = read_line(line)
        if self._asked is None or self._say is None:
            self._screen.say("nothing is asked")
        elif said is None:
            self._prompt()
        elif wrong := self._wrong(self._open[self._asked], said):
            self._prompt(f"{printable(wrong)}\n")
        else:
            self._say(self._asked, said)

    def _wrong(self, task: Task, said: Mapping[str, str]) -> str:
        """What is wrong with an answer; empty where it is one."""
        step = self._steps[task.step].plan
        try:
            if "answer" in said:
                approval.read_answer(said["answer"], step.step, self._copies[step.source])
        except BadOutput as error:
            return f"that is not what `{task.id}` asks for: {error}"
        return ""


def nobody(say: Say) -> AbstractContextManager[None]:
    """Nobody sits at the terminal."""
    return nullcontext()


def read_line(line: str) -> Mapping[str, str] | None:
    """What a line means; None where it means nothing. Enter alone is no answer."""
    word, _, rest = line.partition(" ")
    if word.lower() in ("y", "yes"):
        return {"answer": rest.strip(), "by": "terminal"}
    if word.lower() in ("n", "no"):
        return {"reject": "yes", "reason": rest.strip(), "by": "terminal"}
    return None
