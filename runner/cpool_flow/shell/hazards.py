"""Which commands parse an argument once more: the reason for a warning at a value that the shell itself passes on safely.

Follows the words of one simple command. Knows nothing of quoting; a word it cannot read (quoted, expanded) is no name.
Warnings only: it errs on both sides, so no safety rests on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from cpool_flow.dataclass import dataclass
from cpool_flow.shell.words import OPAQUE, VALUE


class Watch(Protocol):
    """A command whose words matter. `None` in place of a watch: no word so far matters."""

    @property
    def reads_program(self) -> bool:
        """Whether the command would take its standard input for a program."""
        ...

    def after(self, word: str) -> Watch | None:
        """The watch once `word` has been read."""
        ...

    def danger(self, word: str | None) -> str | None:
        """The warning for a value that stands after the part `word` of the next word."""
        ...


def begin(name: str) -> Watch | None:
    """The watch for the command `name`, the first word of a simple command."""
    if OPAQUE in name or VALUE in name:
        return Interpreter("a command that is only known at run time", "ce", runs_input=False)
    plain = name.rpartition("/")[2] if "/" in name else name
    make = COMMANDS.get(plain)
    if make is None and plain.startswith("python") and _PYTHON.fullmatch(plain):
        make = COMMANDS["python"]
    return make(plain) if make else None


def follow(watch: Watch | None, word: str) -> Watch | None:
    """The watch after one more word of the command."""
    if watch is not None:
        return watch.after(word)
    # `docker exec box sh -c …`, and all others that take a command as their last arguments.
    return begin(word) if word in SHELLS or ("/" in word and word.rpartition("/")[2] in SHELLS) else None


def assignment_danger(word: str) -> str | None:
    """The warning for a value given to a variable that programs parse or obey."""
    name = word.partition("=")[0].rstrip("+")
    return f"`{name}` is read by programs as code or as a place to load code from" if name in OBEYED_VARIABLES else None


@dataclass(frozen=True, slots=True)
class Everything:
    """A command to which each argument is code, or a name."""

    name: str
    why: str
    reads_program: bool = False

    def after(self, word: str) -> Watch | None:
        return self

    def danger(self, word: str | None) -> str | None:
        return f"`{self.name}` {self.why}"


@dataclass(frozen=True, slots=True)
class Let:
    """`let`: each argument is arithmetic. The scanner refuses values here."""

    reads_program: bool = False

    def after(self, word: str) -> Watch | None:
        return self

    def danger(self, word: str | None) -> str | None:
        return "`let` evaluates this value"


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A command that takes a program after one of `options`; its other operands are data."""

    name: str
    options: str
    operands_end: bool = True
    runs_input: bool = True
    program_next: bool = False
    skip: bool = False

    @property
    def reads_program(self) -> bool:
        return self.runs_input

    def after(self, word: str) -> Watch | None:
        if self.program_next:
            return None
        if self.skip:
            return replace(self, skip=False)
        if word in PROGRAM_OPTIONS or self._takes_program(word):
            return replace(self, program_next=True, runs_input=False)
        if word.startswith(("-", "+")):
            return replace(self, skip=word[-1] in "oO" and self.name in SHELLS)
        return None if self.operands_end and word != OPAQUE else self

    def danger(self, word: str | None) -> str | None:
        glued = word is not None and self._takes_program(word[:2]) and self.name not in SHELLS
        return f"{_quoted(self.name)} parses this value as a program" if self.program_next or glued else None

    def _takes_program(self, word: str) -> bool:
        return _CLUSTER.fullmatch(word) is not None and any(option in word for option in self.options)


@dataclass(frozen=True, slots=True)
class FirstOperand:
    """awk, sed, jq: the first operand is a program, unless an option has brought one."""

    name: str
    takes: dict[str, int]
    brings: frozenset[str]
    skip: int = 0
    program_next: bool = False
    brought: bool = False
    reads_program: bool = False

    def after(self, word: str) -> Watch | None:
        if self.skip:
            return replace(self, skip=self.skip - 1)
        if self.program_next:
            return replace(self, program_next=False)
        if word in self.brings:
            return replace(self, program_next=True, brought=True)
        if word in self.takes:
            return replace(self, skip=self.takes[word], brought=self.brought or word in FILE_OPTIONS)
        return self if word.startswith("-") or self.brought else None

    def danger(self, word: str | None) -> str | None:
        if self.skip or (word is not None and word.startswith("-") and not word.startswith(("-e", "--expression="))):
            return None
        return f"`{self.name}` parses this value as part of its program" if self.program_next or not self.brought else None


@dataclass(frozen=True, slots=True)
class Declaration:
    """`declare` and its kin: a name is evaluated, and with some options the value of an assignment as well."""

    name: str
    evaluates: bool = False
    reads_program: bool = False

    def after(self, word: str) -> Watch | None:
        return replace(self, evaluates=self.evaluates or (word[:1] in "-+" and any(option in word for option in "iaAn")))

    def danger(self, word: str | None) -> str | None:
        if self.evaluates or word is None or "=" not in word:
            return f"`{self.name}` evaluates this value as a variable's name"
        return assignment_danger(word)


@dataclass(frozen=True, slots=True)
class Printf:
    """`printf -v NAME`, and its format."""

    name_next: bool = False
    reads_program: bool = False

    def after(self, word: str) -> Watch | None:
        if word == "-v":
            return replace(self, name_next=True)
        return Printf() if self.name_next or word == "--" else None

    def danger(self, word: str | None) -> str | None:
        if self.name_next or (word is not None and word.startswith("-v")):
            return "`printf -v` evaluates this value as a variable's name"
        return "`printf` reads this value as its format: write `printf %s` before it" if word is None else None


@dataclass(frozen=True, slots=True)
class Test:
    """`[` and `test`: `-v` evaluates an array index."""

    unary: bool = False
    reads_program: bool = False

    def after(self, word: str) -> Watch | None:
        return Test(unary=word in ("-v", "-R") or word == VALUE)

    def danger(self, word: str | None) -> str | None:
        return "`[ -v ]` evaluates this value as a variable's name" if self.unary else None


@dataclass(frozen=True, slots=True)
class Wrapper:
    """A command that runs the command given by its arguments, after its options and as many `operands`. `takes`: options that have an
    argument. `first`: the next word is the command, as far as that is known."""

    name: str
    takes: frozenset[str] = frozenset()
    operands: int = 0
    first: bool = True
    skip: bool = False
    reads_program: bool = False

    def after(self, word: str) -> Watch | None:
        if self.name == "command" and word in ("-v", "-V"):
            return None
        if self.skip:
            return replace(self, skip=False)
        found = None if OPAQUE in word or VALUE in word or word in SOURCING else begin(word)
        if found is not None:
            return found
        if word.startswith("-") or "=" in word:
            return replace(self, skip=word in self.takes)
        return replace(self, operands=self.operands - 1) if self.operands else replace(self, first=False)

    def danger(self, word: str | None) -> str | None:
        here = self.first and not self.operands and not self.skip
        return f"`{self.name}` runs this value as a command" if here and not _is_option(word) else None


@dataclass(frozen=True, slots=True)
class Find:
    """`find`: a command stands after `-exec` and its kin."""

    reads_program: bool = False

    def after(self, word: str) -> Watch | None:
        return Wrapper("find -exec") if word in ("-exec", "-execdir", "-ok", "-okdir") else self

    def danger(self, word: str | None) -> str | None:
        return None


def _is_option(word: str | None) -> bool:
    return word is not None and (word.startswith("-") or "=" in word)


def _quoted(name: str) -> str:
    return name if " " in name else f"`{name}`"


def _everything(why: str, reads_program: bool = False) -> Callable[[str], Watch]:
    return lambda name: Everything(name, why, reads_program)


def _interpreter(options: str, operands_end: bool = True, runs_input: bool = True) -> Callable[[str], Watch]:
    return lambda name: Interpreter(name, options, operands_end, runs_input)


def _first_operand(takes: dict[str, int], brings: frozenset[str]) -> Callable[[str], Watch]:
    return lambda name: FirstOperand(name, takes, brings)


def _wrapper(takes: str = "", operands: int = 0, first: bool = True) -> Callable[[str], Watch]:
    return lambda name: Wrapper(name, frozenset(takes.split()), operands, first)


def _each(names: str, make: Callable[[str], Watch]) -> dict[str, Callable[[str], Watch]]:
    return dict.fromkeys(names.split(), make)


_PYTHON = re.compile(r"python[0-9.]*")
_CLUSTER = re.compile(r"-[A-Za-z]+")
SHELLS = frozenset("sh bash dash zsh ksh mksh ash fish busybox".split())
SOURCING = frozenset({"source", "."})  # by the shell itself: no other command can
PROGRAM_OPTIONS = frozenset({"--eval", "--command", "--execute", "--print"})
FILE_OPTIONS = frozenset({"-f", "--file", "--from-file"})
OBEYED_VARIABLES = frozenset(
    "PS4 PROMPT_COMMAND BASH_ENV ENV IFS PATH SHELLOPTS BASHOPTS LD_PRELOAD LD_LIBRARY_PATH DYLD_INSERT_LIBRARIES PYTHONSTARTUP PYTHONPATH "
    "PERL5OPT PERL5LIB RUBYOPT NODE_OPTIONS GIT_SSH_COMMAND GIT_EDITOR GIT_PAGER EDITOR VISUAL PAGER".split()
)
_JQ = {"--arg": 2, "--argjson": 2, "--slurpfile": 2, "--rawfile": 2, "--indent": 1, "-L": 1, "-f": 1, "--from-file": 1}

COMMANDS: dict[str, Callable[[str], Watch]] = {
    **_each("eval", _everything("parses this value as shell text")),
    **_each("trap watch", _everything("parses this value as shell text later")),
    **_each("ssh", _everything("hands this value to a shell of the other machine, which parses it", reads_program=True)),
    **_each(" ".join(sorted(SOURCING)), _everything("runs the file that this value names")),
    **_each("read unset mapfile readarray getopts", _everything("evaluates this value as a variable's name")),
    **_each("complete compgen", _everything("expands this value")),
    **_each(" ".join(sorted(SHELLS)), _interpreter("c")),
    **_each("python", _interpreter("c")),
    **_each("perl", _interpreter("eE")),
    **_each("ruby lua Rscript", _interpreter("e")),
    **_each("node nodejs", _interpreter("ep")),
    **_each("php", _interpreter("r")),
    **_each("su script flock", _interpreter("c", operands_end=False, runs_input=False)),
    **_each("psql", _interpreter("c", operands_end=False)),
    **_each("mysql mariadb", _interpreter("e", operands_end=False)),
    **_each("awk gawk mawk nawk", _first_operand({"-v": 1, "-F": 1, "-f": 1, "--file": 1}, frozenset({"-e", "--source"}))),
    **_each("sed gsed", _first_operand({"-f": 1, "--file": 1, "-l": 1}, frozenset({"-e", "--expression"}))),
    **_each("jq yq", _first_operand(_JQ, frozenset())),
    **_each("declare typeset local export readonly", Declaration),
    "printf": lambda name: Printf(),
    "let": lambda name: Let(),
    "test": lambda name: Test(),
    "[": lambda name: Test(),
    "find": lambda name: Find(),
    "timeout": _wrapper("-s -k --signal --kill-after", operands=1),
    "chroot": _wrapper(operands=1),
    "xargs": _wrapper("-I -n -P -L -d -E -s -a"),
    "env": _wrapper("-u -C"),
    "nice": _wrapper("-n"),
    "stdbuf": _wrapper("-i -o -e"),
    **_each("sudo doas", _wrapper("-u -g -h -p -C -D")),
    "exec": _wrapper("-a"),
    "strace": _wrapper("-e -o -p -s -u"),
    **_each("nohup command builtin setsid npx", _wrapper()),
    **_each("docker podman kubectl parallel uv", _wrapper(first=False)),
}
