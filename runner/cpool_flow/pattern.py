"""Regular expressions of JSON Schema, matched in bounded time: the text may come from an agent, and `re` can take for ever.

Knows the ECMA-262 syntax less look-around, back references, flags and `\\p`: what is left is a state machine that is walked
once over the text (Thompson), with the transitions seen so far kept. `\\d`, `\\w` and `\\s` are ASCII; `$` is the end of the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from cpool_flow.dataclass import dataclass

MAX_INSTRUCTIONS = 10_000
MAX_DEPTH = 50
MAX_KEPT = 10_000


class PatternError(ValueError):
    """The pattern is no regular expression, or one that we do not take. The message says why, with the offset."""


class TooMuchWork(Exception):
    """The work that was allowed is done."""


class Work:
    """How much may still be done, in units of about a fifth of a microsecond. `spend` raises TooMuchWork."""

    def __init__(self, units: int) -> None:
        self.units = units

    def spend(self, units: int) -> None:
        self.units -= units
        if self.units < 0:
            raise TooMuchWork


class Pattern:
    """A compiled pattern. Raises PatternError."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._program: _Fragment = [*_Parser(source).whole(), _Match()]
        self._kept: dict[tuple[frozenset[int], str, str], tuple[bool, frozenset[int]]] = {}

    def search(self, text: str, work: Work) -> bool:
        """Whether the pattern matches somewhere in `text`. Raises TooMuchWork."""
        work.spend(len(text))
        states: frozenset[int] = frozenset()
        before = ""
        for character in (*text, ""):
            key = (states, before, character)
            found = self._kept.get(key)
            if found is None:
                found = self._step(*key, work)
                if len(self._kept) > MAX_KEPT:
                    self._kept.clear()
                self._kept[key] = found
            matched, states = found
            if matched:
                return True
            before = _kind(character)
        return False

    def _step(self, states: frozenset[int], before: str, character: str, work: Work) -> tuple[bool, frozenset[int]]:
        """Whether the end is reached in front of `character` ("" is the end of the text), and the states behind it."""
        todo, seen, after = [0, *states], set[int](), set[int]()
        while todo:
            at = todo.pop()
            if at in seen:
                continue
            seen.add(at)
            match self._program[at]:
                case _One(accepts):
                    if character and accepts(character):
                        after.add(at + 1)
                case _Split(ways):
                    todo += [at + way for way in ways]
                case _Assert(holds):
                    if holds(before, _kind(character)):
                        todo.append(at + 1)
                case _Match():
                    return True, frozenset()
        work.spend(len(seen))
        return False, frozenset(after)


def _kind(character: str) -> str:
    """ "" at an end of the text, else whether the character belongs to a word: `w` or `-`."""
    return "" if not character else "w" if character == "_" or (character.isascii() and character.isalnum()) else "-"


# ---- the program: jumps are relative, so that fragments are put together by adding them ----


@dataclass(frozen=True, slots=True)
class _One:
    accepts: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class _Split:
    ways: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Assert:
    holds: Callable[[str, str], bool]


@dataclass(frozen=True, slots=True)
class _Match:
    pass


_Fragment = list[_One | _Split | _Assert | _Match]

_ASSERTIONS: dict[str, Callable[[str, str], bool]] = {
    "^": lambda before, after: before == "",
    "$": lambda before, after: after == "",
    r"\b": lambda before, after: (before == "w") != (after == "w"),
    r"\B": lambda before, after: (before == "w") == (after == "w"),
}
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
_QUANTIFIER = re.compile(r"(?:([*+?])|\{([0-9]{1,6})(,([0-9]{1,6})?)?\})\??")
_CODE_POINT = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|u\{([0-9a-fA-F]{1,6})\}")
_GROUP = re.compile(r"\((?:\?:|\?P?<[A-Za-z_]\w*>)?(?!\?)")


class _Parser:
    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0
        self.depth = 0

    def whole(self) -> _Fragment:
        fragment = self.alternatives()
        if self.at < len(self.source):
            raise self.error("a `)` that closes nothing")
        return fragment

    def alternatives(self) -> _Fragment:
        fragment = self.sequence()
        while self.peek() == "|":
            self.at += 1
            other = self.sequence()
            fragment = self.checked([_Split((1, len(fragment) + 2)), *fragment, _Split((len(other) + 1,)), *other])
        return fragment

    def sequence(self) -> _Fragment:
        fragment: _Fragment = []
        while self.peek() not in ("", "|", ")"):
            fragment = self.checked(fragment + self.repeated())
        return fragment

    def repeated(self) -> _Fragment:
        if _QUANTIFIER.match(self.source, self.at):
            raise self.error("nothing to repeat")
        atom = self.atom()
        found = _QUANTIFIER.match(self.source, self.at)
        if not found:
            return atom
        self.at = found.end()
        sign, least, comma, most = found.groups()
        low = int(least) if least else 1 if sign == "+" else 0
        high = None if sign in ("*", "+") or (comma and not most) else 1 if sign else int(most or least)
        return self.times(atom, low, high)

    def times(self, atom: _Fragment, low: int, high: int | None) -> _Fragment:
        if high is not None and high < low:
            raise self.error("a repetition whose most is below its least")
        if (len(atom) + 1) * (max(low, high or 0) + 1) > MAX_INSTRUCTIONS:
            raise self.error("a repetition that is too large (say it with `minLength` and `maxLength`)")
        optional: _Fragment = [_Split((1, len(atom) + 1)), *atom]
        loop: _Fragment = [_Split((1, len(atom) + 2)), *atom, _Split((-len(atom) - 1,))]
        return atom * low + (loop if high is None else optional * (high - low))

    def atom(self) -> _Fragment:
        character = self.peek()
        if character == "(":
            return self.group()
        if character == "[":
            return [_One(self.character_class())]
        self.at += 1
        if character in "^$":
            return [_Assert(_ASSERTIONS[character])]
        if character == ".":
            return [_One(lambda given: given not in "\n\r\u2028\u2029")]
        if character != "\\":
            return [_One(character.__eq__)]
        if self.peek() in ("b", "B"):
            self.at += 1
            return [_Assert(_ASSERTIONS[f"\\{self.source[self.at - 1]}"])]
        return [_One(_one_of(self.escape()))]

    def group(self) -> _Fragment:
        found = _GROUP.match(self.source, self.at)
        if not found:
            raise self.error("look-around and flags are not taken here (for look-around, say it with `allOf` or `not`)")
        self.at = found.end()
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error("groups nested too deeply")
        fragment = self.alternatives()
        if self.peek() != ")":
            raise self.error("a `(` that is never closed")
        self.at += 1
        self.depth -= 1
        return fragment

    def character_class(self) -> Callable[[str], bool]:
        self.at += 1
        negated = self.peek() == "^"
        self.at += negated
        members = ""
        while self.peek() != "]":
            if not self.peek():
                raise self.error("a `[` that is never closed")
            members += self.class_member()
        self.at += 1
        if not members:
            return lambda given: negated
        return _one_of(members, negated)

    def class_member(self) -> str:
        first = self.class_character()
        if not self.source.startswith("-", self.at) or self.source.startswith("-]", self.at):
            return first
        self.at += 1
        last = self.class_character()
        if not (first.startswith(r"\U") and last.startswith(r"\U")):
            return rf"{first}\-{last}"
        if first > last:
            raise self.error("a range that ends before it begins")
        return f"{first}-{last}"

    def class_character(self) -> str:
        character = self.peek()
        if not character:
            raise self.error("a `[` that is never closed")
        self.at += 1
        if character != "\\":
            return _code(ord(character))
        if self.peek() == "b":
            self.at += 1
            return _code(8)
        return self.escape()

    def escape(self) -> str:
        """What stands behind a backslash, as a member of a class of `re`."""
        character = self.peek()
        found = _CODE_POINT.match(self.source, self.at)
        if found and int(found[1] or found[2] or found[3], 16) <= 0x10FFFF:
            self.at = found.end()
            return _code(int(found[1] or found[2] or found[3], 16))
        self.at += 1
        if character in tuple("dDwWsS"):
            return f"\\{character}"
        if character in _CONTROLS and not self.peek().isdigit():
            return _code(ord(_CONTROLS[character]))
        if not character or character.isalnum():
            self.at -= 1
            raise self.error(f"`\\{character}` is not taken here")
        return _code(ord(character))

    def peek(self) -> str:
        return self.source[self.at : self.at + 1]

    def checked(self, fragment: _Fragment) -> _Fragment:
        if len(fragment) > MAX_INSTRUCTIONS:
            raise self.error("the pattern is too large")
        return fragment

    def error(self, reason: str) -> PatternError:
        return PatternError(f"{reason} (character {self.at + 1})")


def _one_of(members: str, negated: bool = False) -> Callable[[str], bool]:
    compiled = re.compile(f"[{'^' if negated else ''}{members}]", re.ASCII)
    return lambda given: compiled.match(given) is not None


def _code(point: int) -> str:
    return rf"\U{point:08x}"
