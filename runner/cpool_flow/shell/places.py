"""Where in shell text a value stands, and the reference that is safe there. Knows nothing of templates, and never sees a value.

A value is put into an environment variable; the script gets only a reference to it. The shell parses the reference,
not what it expands to, so a value stays text wherever the result of an expansion is not read once more. `place` is a
list of the places of which that is proved, for bash (3.2 and later) and for POSIX sh (dash) alike:

* a word of a command, of `for … in`, after `case`, a pattern of `case`, an assigned text, an element of an array, a
  here-string, the file of a redirection: `"${V}"`, also glued to other parts of the word;
* single quotes: `'"${V}"'` (they are closed and opened again); double quotes: `${V}`;
* the text of a here-document whose end word is not quoted: `${V}`; a comment: `${V}`;
* each of these also within `$( )`, `<( )`, `( )`, functions and compound commands, where quoting starts anew;
* an operand of `[[ ]]` beside an operator that compares text or asks for a file.

All else raises Unprovable, because the result is read again (arithmetic, array indexes, `[[ -eq ]]`, `[[ -v ]]`), is not
expanded (`$'…'`, quoted here-documents), or because shells differ (`${…}`, back-ticks, `{a,…}`, `~…`, text after `&>`).

Sources: POSIX.1-2024 XCU 2.2 Quoting, 2.3 Token Recognition, 2.6 Word Expansions, 2.7 Redirection, 2.10 Shell Grammar;
Bash Reference Manual 3.1 Shell Syntax, 3.2.5 Compound Commands, 3.5 Shell Expansions, 6.4 Conditional Expressions.

The author of the script is trusted: what the script does with a value later (`eval "$x"`, `declare -i`, `${!x}`), and
text that changes the grammar elsewhere (a sourced file with aliases), is not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum

from cpool_flow.dataclass import dataclass
from cpool_flow.shell import conditions, hazards, words
from cpool_flow.shell.commands import NAMING
from cpool_flow.shell.frames import WORDS, Frame, Kind, Position, Redirect, Unprovable
from cpool_flow.shell.scan import Reading, scan
from cpool_flow.shell.scanner import Follows

MOST_READINGS = 8


class Place(Enum):
    """A kind of place where a value is proved to be safe."""

    WORD = "outside quotes"
    SINGLE = "in single quotes"
    DOUBLE = "in double quotes"
    HERE_DOCUMENT = "in a here-document"
    COMMENT = "in a comment"


@dataclass(frozen=True, slots=True)
class State:
    """What the shell would make of the next character. Several readings stand for the branches of a template that met here."""

    readings: tuple[Reading, ...]


START = State((Reading((Frame(Kind.SCRIPT),)),))


def advance(state: State, text: str) -> State:
    """The state after the literal `text`. Raises Unprovable where it changes what a value before it means."""
    if not text:
        return state
    return _state(scan(reading, text, Follows.TEXT) for reading in state.readings)


def place(state: State) -> Place:
    """The place of a value that stands here. Raises Unprovable, without an offset, where none is proved."""
    return _place(_before_value(state))


def reference(state: State, variable: str) -> tuple[str, State]:
    """The text that puts the value of the environment variable `variable` here, and the state after it. Raises Unprovable."""
    state = _before_value(state)
    text = REFERENCES[_place(state)].replace("NAME", variable)
    return text, _state(_marked(reading, words.with_value) for reading in state.readings)


def vouched(state: State) -> State:
    """The state after text that is not known, of which the author says that it keeps the shell's state (`| raw`)."""
    try:
        return _state(_marked(reading, words.with_opaque) for reading in _before_value(state).readings)
    except Unprovable as error:
        return _state([Reading((), lost=error.reason)])


def hazard(state: State) -> str | None:
    """The warning for a value that stands here: it is the command, a file to write, or will be parsed by something else."""
    try:
        return next(filter(None, map(_danger, _before_value(state).readings)), None)
    except Unprovable:
        return None


def join(first: State, second: State) -> State:
    """The state where two branches of a template meet; both readings are followed from here.

    Raises Unprovable where they are not within the same constructs. The state after a loop is the join of the states
    before and after its body, repeated from there until it no longer changes.
    """
    if first == second:
        return first
    merged = _state((*first.readings, *second.readings))
    if len({_nesting(reading) for reading in merged.readings}) > 1:
        raise Unprovable("a template block that does not end in the shell state in which it began")
    if len(merged.readings) > MOST_READINGS:
        raise Unprovable("more template branches in one shell command than can be followed")
    return merged


def finish(state: State) -> None:
    """Raises Unprovable where a script that holds values ends within quotes or another construct."""
    for reading in state.readings:
        frames = scan(reading, "", Follows.END).frames
        still_open = frames[1:-1] if frames and frames[-1].kind is Kind.COMMENT else frames[1:]
        if still_open:
            raise Unprovable(f"the script ends inside {still_open[-1].kind}")


REFERENCES = {
    Place.WORD: '"${NAME}"',
    Place.SINGLE: "'\"${NAME}\"'",
    Place.DOUBLE: "${NAME}",
    Place.HERE_DOCUMENT: "${NAME}",
    Place.COMMENT: "${NAME}",
}
PLACES = {
    **dict.fromkeys(WORDS, Place.WORD),
    Kind.SINGLE: Place.SINGLE,
    Kind.DOUBLE: Place.DOUBLE,
    Kind.HERE_DOCUMENT: Place.HERE_DOCUMENT,
    Kind.COMMENT: Place.COMMENT,
}
# Within these, at any depth, the result of an expansion is read again, or shells differ.
REFUSED = {
    Kind.ARITHMETIC: "a value inside `$(( ))` is evaluated as arithmetic, which can run commands",
    Kind.ARITHMETIC_COMMAND: "a value inside `(( ))` is evaluated as arithmetic, which can run commands",
    Kind.PARAMETER: "a value inside `${ }`",
    Kind.BACKTICKS: "a value inside back-ticks: write `$( )` instead",
    Kind.ANSI: "a value inside `$'…'`, which expands nothing",
    Kind.LOCALE: 'a value inside `$"…"`, which is translated',
}
NOT_A_VALUE = {
    Position.AFTER: "a value after a compound command",
    Position.SPLIT: "a value after `&>file`, which is a command of its own in sh: write `>file 2>&1`",
    Position.FOR_NAME: "a value cannot name the variable of `for`",
    Position.FOR_IN: "a value where `in` belongs",
    Position.CASE_IN: "a value where `in` belongs",
    Position.FUNCTION_NAME: "a value cannot name a function",
    Position.FUNCTION_BODY: "a value where the body of a function belongs",
}


def _state(readings: Iterable[Reading]) -> State:
    """Without repetitions; one reading that is lost makes the state lost."""
    distinct: list[Reading] = []
    for reading in readings:
        if reading.lost is not None:
            return State((reading,))
        if reading not in distinct:
            distinct.append(reading)
    return State(tuple(distinct))


def _before_value(state: State) -> State:
    """The state in which a token that was cut off has ended, because a quoted reference follows."""
    if all(not reading.pending for reading in state.readings):
        return state
    try:
        return _state(scan(reading, "", Follows.VALUE) for reading in state.readings)
    except Unprovable as error:
        raise Unprovable(error.reason) from None


def _place(state: State) -> Place:
    places = {_proved(reading) for reading in state.readings}
    if len(places) > 1:
        raise Unprovable("a value that is quoted in one branch of a template block and not in the other")
    return places.pop()


def _proved(reading: Reading) -> Place:
    if reading.lost is not None:
        raise Unprovable(f"a value after {reading.lost}: what comes after that is not read alike by all shells")
    top = reading.frames[-1]
    if top.kind is Kind.COMMENT:
        return Place.COMMENT
    for frame in reading.frames:
        reason = REFUSED.get(frame.kind)
        if reason is None and frame.kind in WORDS and (frame is top or frame.word is not None):
            reason = _refused_in_word(frame)
        if reason is not None:
            raise Unprovable(reason)
    if top.kind is Kind.HERE_DOCUMENT and top.heredocs[0].quoted:
        raise Unprovable(f"a value in a here-document with a quoted end word, which expands nothing: write `<<{top.heredocs[0].delimiter}`")
    return PLACES[top.kind]


def _refused_in_word(frame: Frame) -> str | None:
    word = frame.word or ""
    if frame.redirect is Redirect.DUPLICATE:
        return "a value right after `>&` or `<&` may be the number of a descriptor or a file: write `>file 2>&1`"
    if frame.redirect is None and frame.position in NOT_A_VALUE:
        return NOT_A_VALUE[frame.position]
    if words.in_braces(word):
        return "a value inside `{…}`, which bash expands and sh does not: quote the braces"
    if words.in_tilde(word):
        return "a value right after `~`: no user's home is looked up then"
    if (frame.position in NAMING and words.in_index(word)) or (frame.kind is Kind.ARRAY and words.in_element_index(word)):
        return "a value in an array index is evaluated as arithmetic, which can run commands"
    if isinstance(frame.watch, hazards.Let):
        return "`let` evaluates this value as arithmetic, which can run commands"
    if frame.kind is Kind.CONDITION:
        return conditions.refusal(frame.previous, word)
    return None


def _marked(reading: Reading, mark: Callable[[str | None], str]) -> Reading:
    """The reading after a value or other unknown text: each word that it is a part of is marked."""
    if reading.lost is not None:
        return reading
    frames = [frame.copy() for frame in reading.frames]
    top = frames[-1]
    top.line_start = False
    if top.kind is not Kind.COMMENT:
        for frame in frames:
            if frame.kind in WORDS and (frame is top or frame.word is not None):
                frame.word = mark(frame.word)
    return Reading(tuple(frames))


def _danger(reading: Reading) -> str | None:
    """Looks from the value outwards: what `$( )` prints is in turn an argument."""
    if reading.lost is not None or reading.frames[-1].kind is Kind.COMMENT:
        return None
    top = reading.frames[-1]
    program = top.heredocs[0].program if top.kind is Kind.HERE_DOCUMENT else None
    parts = (_danger_in_word(frame) for frame in reversed(reading.frames) if frame is top or frame.word is not None)
    return program or next(filter(None, parts), None)


def _danger_in_word(frame: Frame) -> str | None:
    if frame.kind not in WORDS:
        return None
    if frame.redirect is Redirect.TARGET:
        return "this value names the file of a redirection"
    if frame.redirect is Redirect.HERE_STRING:
        return "the command runs this value as a program" if frame.watch is not None and frame.watch.reads_program else None
    if frame.position in NAMING:
        assigns = frame.word is not None and words.ASSIGNMENT.match(frame.word)
        return hazards.assignment_danger(frame.word or "") if assigns else "this value is the command that runs"
    return frame.watch.danger(frame.word) if frame.watch is not None else None


def _nesting(reading: Reading) -> tuple[object, ...]:
    """What readings that meet must have in common. Text that was cut off counts only if it may open something."""
    opens = reading.pending if any(mark in reading.pending for mark in ("$", "\\", "(", "<<")) else ""
    return (opens, *((frame.kind, frame.heredocs, frame.depth, frame.quoted) for frame in reading.frames))
