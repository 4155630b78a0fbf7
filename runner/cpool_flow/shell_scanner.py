"""Reads literal shell text and follows which constructs are open.

Reads what bash and POSIX sh (dash) read alike. Where they differ, or where the reading is not certain, it stops:
the text after that place is `lost`, and no value can be proved there. It leans on one fact: both shells read from
left to right and run nothing after a syntax error, so only text that is valid so far has to be followed rightly.
Knows nothing of values but the marks that `shell.py` leaves in the words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from enum import Enum, auto

from cpool_flow import shell_hazards, shell_words
from cpool_flow.shell_frames import WORDS, Frame, HereDocument, Kind, Position, Redirect, Unprovable
from cpool_flow.shell_words import VALUE

DEEPEST = 100

RUN = re.compile(r"[^ \t\n'\"\\$`;&|<>()]+")
BLANKS = re.compile(r"[ \t]+")
SINGLE_QUOTED = re.compile(r"'[^']*'")
DOUBLE_QUOTED = re.compile(r'"[^"\\$`]*"')
DOUBLE_RUN = re.compile(r'[^"\\$`]+')
ANSI_RUN = re.compile(r"(?:[^'\\]|\\[^'])+")
PARAMETER_RUN = re.compile(r"[^}'\"\\$`{<>]+")
PARAMETER_START = re.compile(r"[A-Za-z0-9_@*#?$!-]")
# Quotes within "${…}" are read in two ways; these end at the same place in both.
QUOTED_IN_QUOTED = re.compile(r"'[^'\"\\$`{}\n]*'|\"(?:[^'\"\\$`{}\n]|\$[A-Za-z_][A-Za-z0-9_]*)*\"")
ARITHMETIC_RUN = re.compile(r"[^()$`'\"\\]+")
ARITHMETIC_COMMAND_RUN = re.compile(r"[A-Za-z0-9_ \t\n+\-*/%=!>&|?:,~^.;]+")
BACKTICK_RUN = re.compile(r"[^`\\]+")
BODY_RUN = re.compile(r"[^\\$`\n]+")
LINE = re.compile(r"[^\n]+")
DOLLAR = re.compile(r"\$(?:\(\(?|\{|\[|[A-Za-z_][A-Za-z0-9_]*|[0-9@*#?$!-]|\\\n?|['\"])?")
OPERATOR = re.compile(r"&>>|&>|&&|&|\|\||\|&|\||;;&|;;|;&|;|<<<|<<-|<<|<>|<&|<\(|<|>>|>\||>&|>\(|>|\(|\)")
PARENTHESES = re.compile(r"\([ \t]*\)")
PARENTHESES_BEGUN = re.compile(r"\([ \t]*\Z")
GROUP = re.compile(r"\((?:[^()'\"\\$`<>;&\n]|\([^()'\"\\$`<>;&\n]*\))*\)")
DELIMITER = re.compile(
    r"[ \t]*(?:'(?P<single>[^'\n]*)'|\"(?P<double>[^\"\\$`\n]*)\"|\\(?P<escaped>[A-Za-z0-9_.-]+)|(?P<plain>[A-Za-z0-9_.!%+,/:@-]+))(?=[ \t\n;&|<>()]|\Z)"
)
DELIMITER_BEGUN = re.compile(r"[ \t]*(?:'[^'\n]*|\"[^\"\\$`\n]*|\\)?\Z")

# Words after `-…` or between two operands of [[ ]] that take a value as text.
TEXT_BEFORE = frozenset({"[[", "!", "=", "==", "!=", "=~", "-nt", "-ot", "-ef", *(f"-{letter}" for letter in "abcdefghknprsuwxzGLNOS")})
TEXT_AFTER = frozenset({"=", "==", "!=", "=~", "-nt", "-ot", "-ef", "]]"})


class Follows(Enum):
    """What comes after the text in hand."""

    TEXT = auto()
    VALUE = auto()
    END = auto()


class Lost(Exception):
    """What follows cannot be proved. `args[0]` is the reason."""


class Scanner:
    """Takes one piece of text. `frames`, `pending` (the start of a token that the text has cut off) and `lost` are the result."""

    def __init__(self, frames: Iterable[Frame], text: str, follows: Follows) -> None:
        self.frames = [frame.copy() for frame in frames]
        self.pending = ""
        self.lost: str | None = None
        self._text = text
        self._size = len(text)
        self._at = 0
        self._follows = follows
        self._top = self.frames[-1]

    def run(self) -> None:
        """Read the whole text. Raises Unprovable where the text gives a value before it another meaning."""
        try:
            while self._at < self._size:
                READERS[self._top.kind](self)
        except Lost as lost:
            self._lose(str(lost))

    # Words and what ends them

    def words(self) -> None:
        match = RUN.match(self._text, self._at)
        if match is None:
            BREAKS[self._text[self._at]](self)
        elif self._top.word is None and self._text[self._at] == "#":
            self._comment()
        else:
            self._at = match.end()
            self._grow(match.group())

    def _grow(self, part: str) -> None:
        frame = self._top
        frame.word = word = shell_words.grown(frame.word, part)
        if frame.position in NAMING and shell_words.names_variable_by_value(word) and not shell_words.ASSIGNMENT.match(word):
            raise self._unprovable("a value cannot name a variable", back=len(part))
        if len(word) > shell_words.LONGEST_WORD:
            raise Lost(f"a word longer than {shell_words.LONGEST_WORD} characters")

    def _comment(self) -> None:
        if self._top.kind is Kind.CONDITION:
            raise Lost("`#` in `[[ ]]`")
        self._push(Kind.COMMENT)

    def blank(self) -> None:
        self._end_word()
        match = BLANKS.match(self._text, self._at)
        assert match is not None
        self._at = match.end()

    def newline(self) -> None:
        self._end_word()
        frame = self._top
        if frame.redirect is not None:
            raise Lost("a redirection without a word")
        if any(outer.heredocs for outer in self.frames[:-1]):
            raise Lost("a new line within another construct before the text of a here-document")
        self._end_command()
        if frame.kind is Kind.CONDITION:
            frame.previous = frame.previous if VALUE in frame.previous else "\n"
        elif frame.position not in ACROSS_LINES:
            frame.position = Position.START
        self._at += 1
        if frame.heredocs:
            documents, frame.heredocs = frame.heredocs, ()
            self._push(Kind.HERE_DOCUMENT).heredocs = documents

    def backslash(self) -> None:
        following = self._text[self._at + 1 : self._at + 2]
        if following == "\n":
            self._continuation()
        elif self._skip_escaped():
            self._opaque()

    def _continuation(self) -> None:
        """A line that goes on in the next one. In the middle of a word that may be reserved, or name something, it is not certain."""
        frame = self._top
        end = self._at + 2
        if end == self._size and self._follows is Follows.TEXT:
            return self._wait(self._at)
        if frame.word is not None and frame.position not in PLAIN and self._text[end : end + 1] not in ("", " ", "\t", "\n"):
            raise Lost("a line continuation in the middle of a word")
        self._at = end

    def single_quote(self) -> None:
        self._quoted(SINGLE_QUOTED, Kind.SINGLE)

    def double_quote(self) -> None:
        self._quoted(DOUBLE_QUOTED, Kind.DOUBLE)

    def _quoted(self, whole: re.Pattern[str], kind: Kind) -> None:
        self._opaque()
        match = whole.match(self._text, self._at)
        if match is not None:
            self._pass(match)
        else:
            self._at += 1
            self._push(kind)

    def backtick(self) -> None:
        self._opaque()
        self._at += 1
        self._push(Kind.BACKTICKS)

    def dollar(self) -> None:
        match = DOLLAR.match(self._text, self._at)
        assert match is not None
        token, end = match.group(), match.end()
        if end == self._size and self._follows is not Follows.END:
            if self._follows is Follows.TEXT:
                return self._wait(self._at)
            if token == "$":
                raise self._unprovable("a value right after `$`")
        self._opaque()
        DOLLARS.get(token[1:], Scanner._parameter_or_literal)(self, token, end)

    def _parameter_or_literal(self, token: str, end: int) -> None:
        self._at = end

    def _dollar_quote(self, token: str, end: int) -> None:
        if self._top.kind not in WORDS:
            self._at += 1
        else:
            self._at = end
            self._push(Kind.ANSI if token == "$'" else Kind.LOCALE)

    def _dollar_backslash(self, token: str, end: int) -> None:
        if token == "$\\\n":
            raise Lost("`$` before a line continuation")
        self._at += 1

    def _dollar_bracket(self, token: str, end: int) -> None:
        raise Lost("`$[`, which only bash reads as arithmetic")

    def _dollar_brace(self, token: str, end: int) -> None:
        if end < self._size and not PARAMETER_START.match(self._text, end):
            raise Lost("`${` without a name")
        quoted = self._top.kind not in WORDS and (self._top.kind is not Kind.PARAMETER or self._top.quoted)
        self._at = min(end + 1, self._size)
        self._push(Kind.PARAMETER).quoted = quoted

    def _dollar_parenthesis(self, token: str, end: int) -> None:
        self._at = end
        self._push(Kind.SUBSTITUTION if token == "$(" else Kind.ARITHMETIC)

    # Operators

    def operator(self) -> None:
        match = OPERATOR.match(self._text, self._at)
        assert match is not None
        token, end = match.group(), match.end()
        if token != ")" and self._may_go_on(end):
            return self._wait(self._at)
        OPERATORS[token](self, token, end)

    def _may_go_on(self, end: int) -> bool:
        """Whether the operator that ends here may be the start of a longer one. Raises Lost where a continued line makes it uncertain."""
        if self._text[end : end + 1] == "\\":
            after = self._text[end + 1 : end + 3]
            if after[:1] == "\n" and after[1:] and after[1] in "<>|&;()-\\":
                raise Lost("an operator before a line continuation")
            return len(after) < 2 and after in ("", "\n") and self._follows is Follows.TEXT
        return end == self._size and self._follows is Follows.TEXT

    def separator(self, token: str, end: int) -> None:
        frame = self._top
        if frame.kind is Kind.CONDITION and frame.previous == "=~" and frame.word is not None and token[0] == "|":
            self._at += 1
            return self._grow("|")
        self._end_word()
        frame = self._top
        if frame.redirect is not None:
            raise Lost("a redirection without a word")
        if frame.kind is Kind.CONDITION and token in ("&&", "||"):
            frame.previous = token
        elif frame.position is Position.PATTERNS and token == "|":
            pass
        elif frame.position in BETWEEN_COMMANDS or (frame.position in (Position.FOR_IN, Position.FOR_WORDS) and token == ";"):
            self._end_command()
            frame.position = Position.START
        else:
            raise Lost(f"`{token}` here")
        self._at = end

    def clause_end(self, token: str, end: int) -> None:
        self._end_word()
        frame = self._top
        if frame.kind is not Kind.CASE or frame.position not in BETWEEN_COMMANDS or frame.redirect is not None:
            raise Lost(f"`{token}` outside a clause of `case`")
        self._end_command()
        frame.position = Position.PATTERN
        self._at = end

    def redirection(self, token: str, end: int) -> None:
        frame = self._top
        self._drop_descriptor()
        if frame.kind is Kind.CONDITION and token in "<>":
            self._end_word()
            frame.previous = token
        else:
            self._end_word_before_redirection(token)
            self._top.redirect = REDIRECTS.get(token, Redirect.TARGET)
            if token[0] == "&":
                self._top.position = Position.SPLIT
        self._at = end

    def here_document(self, token: str, end: int) -> None:
        match = DELIMITER.match(self._text, end)
        if match is None and not DELIMITER_BEGUN.match(self._text, end):
            raise Lost("the end word of a here-document")
        if match is None or match.end() == self._size:
            if self._follows is Follows.TEXT:
                return self._wait(self._at)
            if self._follows is Follows.VALUE:
                raise self._unprovable("a value in the end word of a here-document")
        if match is None:
            raise Lost("a here-document without an end word")
        self._drop_descriptor()
        self._end_word_before_redirection(token)
        plain = match.group("plain")
        delimiter = plain if plain is not None else match.group("single") or match.group("double") or match.group("escaped") or ""
        frame = self._top
        frame.heredocs += (HereDocument(delimiter, strips_tabs=token == "<<-", quoted=plain is None),)
        if frame.position is Position.START:
            frame.position = Position.PREFIX
        self._at = match.end()

    def _end_word_before_redirection(self, token: str) -> None:
        self._end_word()
        frame = self._top
        if frame.redirect is not None or frame.position not in REDIRECTED:
            raise Lost(f"`{token}` here")

    def _drop_descriptor(self) -> None:
        """`2` in `2>file` is no word."""
        word = self._top.word
        if word is None:
            return
        if shell_words.is_descriptor_with_value(word):
            raise self._unprovable("a value right before a redirection reads like the number of a descriptor: put a blank between them")
        if shell_words.DESCRIPTOR_VARIABLE.fullmatch(word):
            raise Lost("`{name}` before a redirection")
        if word.isascii() and word.isdigit():
            self._top.word = None

    def process_substitution(self, token: str, end: int) -> None:
        if self._top.position in (Position.PATTERN, Position.PATTERNS):
            raise Lost(f"`{token}` in a pattern")
        self._opaque()
        self._at = end
        self._push(Kind.PROCESS)

    def open_parenthesis(self, token: str, end: int) -> None:
        frame = self._top
        if frame.kind is Kind.CONDITION:
            return self._open_in_condition(end)
        if frame.word is not None and frame.position in RESERVING and frame.word in RESERVED:
            self._end_word()
            frame = self._top
        if frame.redirect is not None:
            raise Lost("`(` after a redirection")
        if frame.word is not None:
            self._open_in_word(frame, frame.word, end)
        else:
            self._open_between_words(frame, end)

    def _open_in_word(self, frame: Frame, word: str, end: int) -> None:
        if shell_words.ARRAY_NAME.fullmatch(word):
            self._opaque()
            self._at = end
            self._push(Kind.ARRAY).position = Position.ELEMENTS
        elif frame.position is Position.START and shell_words.FUNCTION_NAME.fullmatch(word):
            self._function()
        elif VALUE in word:
            raise self._unprovable("`(` right after a value")
        else:
            raise Lost("`(` in a word")

    def _open_between_words(self, frame: Frame, end: int) -> None:
        double = self._text[end : end + 1] == "("
        if frame.position is Position.FOR_NAME and double:
            frame.position = Position.START
            self._at = end + 1
            self._push(Kind.ARITHMETIC)
        elif frame.position is Position.PATTERN:
            frame.position = Position.PATTERNS
            self._at = end
        elif frame.position is Position.NAMED or (frame.position is Position.FUNCTION_BODY and PARENTHESES.match(self._text, self._at)):
            self._function()
        elif frame.position in RESERVING:
            frame.position = Position.AFTER
            self._at = end + double
            inner = self._push(Kind.ARITHMETIC_COMMAND if double else Kind.SUBSHELL)
            if not double:
                inner.heredocs, frame.heredocs = frame.heredocs, ()
        else:
            raise Lost("`(` here")

    def _function(self) -> None:
        """`( )` after the name of a function; its body is a command."""
        match = PARENTHESES.match(self._text, self._at)
        if match is None:
            if PARENTHESES_BEGUN.match(self._text, self._at) and self._follows is Follows.TEXT:
                return self._wait(self._at)
            raise Lost("`(` after a word")
        if VALUE in (self._top.word or ""):
            raise self._unprovable("a value cannot name a function")
        self._top.word = None
        self._top.position = Position.START
        self._at = match.end()

    def _open_in_condition(self, end: int) -> None:
        frame = self._top
        if frame.word is None and frame.previous != "=~":
            frame.previous = "("
            self._at = end
            return
        match = GROUP.match(self._text, self._at)
        if match is None:
            raise Lost("`(` in a pattern")
        self._opaque()
        self._at = match.end()

    def close_parenthesis(self, token: str, end: int) -> None:
        self._end_word()
        frame = self._top
        if frame.redirect is not None:
            raise Lost("a redirection without a word")
        self._at = end
        if frame.kind is Kind.CONDITION:
            frame.previous = ")"
        elif frame.kind is Kind.CASE and frame.position in (Position.PATTERN, Position.PATTERNS):
            frame.position = Position.START
        elif frame.kind in CLOSED_BY_PARENTHESIS:
            self._end_command()
            if frame.kind is Kind.SUBSHELL:
                self.frames[-2].heredocs = frame.heredocs
            elif frame.heredocs:
                raise Lost("a here-document whose text begins after its construct")
            self._pop()
        else:
            raise Lost("`)` here")

    # The grammar of commands

    def _end_word(self) -> None:
        frame = self._top
        word = frame.word
        if word is None:
            return
        if "[" in word and frame.position in INDEXING and (shell_words.in_index(word) or (frame.kind is Kind.ARRAY and word.count("[") > word.count("]"))):
            raise Lost("a blank in an array index")
        frame.word = None
        if frame.redirect is not None:
            frame.redirect = None
            if frame.position is Position.START:
                frame.position = Position.PREFIX
        else:
            WORD_ENDS[frame.position](self, frame, word)

    def _end_command(self) -> None:
        frame = self._top
        if frame.heredocs and frame.watch is not None and frame.watch.reads_program:
            why = "the command of this here-document runs its text as a program"
            frame.heredocs = tuple(HereDocument(d.delimiter, d.strips_tabs, d.quoted, why) for d in frame.heredocs)
        frame.watch = None

    def start(self, frame: Frame, word: str) -> None:
        reserved = RESERVED.get(word)
        if reserved is None:
            self.prefix(frame, word)
        else:
            reserved(self, frame)

    def prefix(self, frame: Frame, word: str) -> None:
        if shell_words.ASSIGNMENT.match(word):
            frame.position = Position.PREFIX
        elif word == "alias":
            raise Lost("`alias`, which may change how the text after it is read")
        else:
            frame.position = Position.NAMED
            frame.watch = shell_hazards.begin(word)

    def argument(self, frame: Frame, word: str) -> None:
        frame.position = Position.ARGUMENTS
        frame.watch = shell_hazards.follow(frame.watch, word)

    def after(self, frame: Frame, word: str) -> None:
        if word not in CLOSING:
            raise Lost("a word after a compound command")
        RESERVED[word](self, frame)

    def split(self, frame: Frame, word: str) -> None:
        raise Lost("a word after `&>file`, which is a command of its own in sh")

    def for_name(self, frame: Frame, word: str) -> None:
        if not shell_words.NAME.fullmatch(word):
            raise Lost("the variable of `for`")
        frame.position = Position.FOR_IN

    def for_in(self, frame: Frame, word: str) -> None:
        if word not in ("in", "do"):
            raise Lost("`for` without `in`")
        frame.position = Position.FOR_WORDS if word == "in" else Position.START

    def case_word(self, frame: Frame, word: str) -> None:
        frame.position = Position.CASE_IN

    def case_in(self, frame: Frame, word: str) -> None:
        if word != "in":
            raise Lost("`case` without `in`")
        frame.position = Position.AFTER
        clauses = self._push(Kind.CASE)
        clauses.position = Position.PATTERN
        clauses.heredocs, frame.heredocs = frame.heredocs, ()

    def pattern(self, frame: Frame, word: str) -> None:
        if word == "esac":
            self.esac(frame)
        else:
            frame.position = Position.PATTERNS

    def patterns(self, frame: Frame, word: str) -> None:
        if word == "esac":
            raise Lost("`esac` in a pattern")

    def function_name(self, frame: Frame, word: str) -> None:
        if not shell_words.FUNCTION_NAME.fullmatch(word):
            raise Lost("the name of a function")
        frame.position = Position.FUNCTION_BODY

    def unchanged(self, frame: Frame, word: str) -> None:
        """A word in a list of words."""

    def operand(self, frame: Frame, word: str) -> None:
        if word != "]]" and VALUE in frame.previous and word not in TEXT_AFTER:
            raise self._unprovable(f"a value before `{word}` in `[[ ]]`" if word.isprintable() else "a value in `[[ ]]`", back=len(word))
        frame.previous = word
        if word == "]]":
            self._pop()

    def command_follows(self, frame: Frame) -> None:
        frame.position = Position.START

    def command_ends(self, frame: Frame) -> None:
        frame.position = Position.AFTER

    def esac(self, frame: Frame) -> None:
        if frame.kind is not Kind.CASE:
            raise Lost("`esac` without `case`")
        self.frames[-2].heredocs = frame.heredocs
        self._pop()

    def condition(self, frame: Frame) -> None:
        frame.position = Position.AFTER
        inner = self._push(Kind.CONDITION)
        inner.position = Position.TEST
        inner.previous = "[["

    def coproc(self, frame: Frame) -> None:
        raise Lost("`coproc`")

    # Quotes, expansions, comments

    def single(self) -> None:
        end = self._text.find("'", self._at)
        self._cross(self._at, end if end >= 0 else self._size)
        self._at = self._size if end < 0 else end + 1
        if end >= 0:
            self._pop()

    def double(self) -> None:
        match = DOUBLE_RUN.match(self._text, self._at)
        if match is not None:
            return self._pass(match)
        IN_DOUBLE[self._text[self._at]](self)

    def close(self) -> None:
        self._at += 1
        self._pop()

    def escaped(self) -> None:
        self._skip_escaped()

    def ansi(self) -> None:
        """`$'…'` in bash, `$` and `'…'` in sh: the same end, unless a quote is escaped."""
        match = ANSI_RUN.match(self._text, self._at)
        if match is not None:
            return self._pass(match)
        if self._text[self._at] == "'":
            return self.close()
        if self._at + 1 == self._size:
            return self._wait(self._at)
        raise Lost("`\\'` in `$'…'`")

    def parameter(self) -> None:
        match = PARAMETER_RUN.match(self._text, self._at)
        if match is not None:
            return self._pass(match)
        IN_PARAMETER[self._text[self._at]](self)

    def quote_in_parameter(self) -> None:
        if self._top.quoted:
            match = QUOTED_IN_QUOTED.match(self._text, self._at)
            if match is None:
                raise Lost('quotes in `"${…}"`')
            return self._pass(match)
        self._at += 1
        self._push(Kind.SINGLE if self._text[self._at - 1] == "'" else Kind.DOUBLE)

    def angle_in_parameter(self) -> None:
        if self._at + 1 == self._size and self._follows is Follows.TEXT:
            return self._wait(self._at)
        if self._text[self._at + 1 : self._at + 2] == "(":
            raise Lost("`<(` in `${…}`")
        self._at += 1

    def brace_in_parameter(self) -> None:
        raise Lost("`{` in `${…}`")

    def arithmetic(self) -> None:
        command = self._top.kind is Kind.ARITHMETIC_COMMAND
        match = (ARITHMETIC_COMMAND_RUN if command else ARITHMETIC_RUN).match(self._text, self._at)
        if match is not None:
            return self._pass(match)
        reader = IN_ARITHMETIC.get(self._text[self._at])
        if reader is None and not (command and self._text[self._at] == "<"):
            raise Lost("quotes or other marks in arithmetic")
        (reader or Scanner.less_in_command)(self)

    def less_in_command(self) -> None:
        """`((a<<1))` is a here-document in sh."""
        if self._at + 1 == self._size and self._follows is Follows.TEXT:
            return self._wait(self._at)
        if self._text[self._at + 1 : self._at + 2] == "<":
            raise Lost("`<<` in `(( ))`")
        self._at += 1

    def open_in_arithmetic(self) -> None:
        self._top.depth += 1
        self._at += 1

    def close_in_arithmetic(self) -> None:
        if self._top.depth:
            self._top.depth -= 1
            self._at += 1
        elif self._at + 1 == self._size and self._follows is Follows.TEXT:
            self._wait(self._at)
        elif self._text[self._at + 1 : self._at + 2] == ")":
            self._at += 2
            self._pop()
        else:
            raise Lost("`((` that is no arithmetic")

    def backticks(self) -> None:
        match = BACKTICK_RUN.match(self._text, self._at)
        if match is not None:
            self._pass(match)
        elif self._text[self._at] == "`":
            self.close()
        else:
            self._skip_escaped()

    def comment(self) -> None:
        match = LINE.match(self._text, self._at)
        self._at = match.end() if match else self._at
        if self._at < self._size:
            self._pop()

    def here_text(self) -> None:
        frame = self._top
        if frame.line_start and self._ends_here_document(frame.heredocs[0]):
            return
        match = (LINE if frame.heredocs[0].quoted else BODY_RUN).match(self._text, self._at)
        if match is not None:
            self._at = match.end()
        else:
            IN_HERE_DOCUMENT[self._text[self._at]](self)

    def _ends_here_document(self, document: HereDocument) -> bool:
        """At the start of a line: take it if it is the end word. True also where more text is needed to know."""
        end = self._text.find("\n", self._at)
        line = self._text[self._at : end if end >= 0 else self._size]
        bare = line.lstrip("\t") if document.strips_tabs else line
        if end < 0 and self._follows is Follows.TEXT and document.delimiter.startswith(bare):
            self._wait(self._at)
            return True
        if bare == document.delimiter and (end >= 0 or self._follows is Follows.END):
            self._at = end + 1 if end >= 0 else self._size
            self._next_here_document()
            return True
        if bare.startswith(document.delimiter + ")"):
            raise Lost("`)` right after the end word of a here-document")
        self._top.line_start = False
        return False

    def _next_here_document(self) -> None:
        self._top.heredocs = self._top.heredocs[1:]
        if not self._top.heredocs:
            self._pop()

    def line_end(self) -> None:
        self._at += 1
        self._top.line_start = True

    def backslash_in_here_document(self) -> None:
        if self._text[self._at + 1 : self._at + 2] == "\n":
            raise Lost("a line continuation in a here-document")
        self._skip_escaped()

    # Common to all

    def _pass(self, match: re.Match[str]) -> None:
        self._cross(match.start(), match.end())
        self._at = match.end()

    def _cross(self, start: int, end: int) -> None:
        """Text within a construct. Shells differ on a new line there while a here-document is to come or open."""
        if self._text.find("\n", start, end) >= 0 and any(frame.heredocs for frame in self.frames):
            raise Lost("a new line within another construct before the end of a here-document")

    def _skip_escaped(self) -> bool:
        """Pass a backslash and the character after it; False where the text ends between them."""
        if self._at + 1 < self._size:
            self._cross(self._at + 1, self._at + 2)
            self._at += 2
            return True
        if self._follows is Follows.VALUE:
            raise self._unprovable("a value right after a backslash")
        self._wait(self._at)
        return False

    def _opaque(self) -> None:
        if self._top.kind in WORDS:
            self._top.word = shell_words.with_opaque(self._top.word)

    def _push(self, kind: Kind) -> Frame:
        if len(self.frames) >= DEEPEST:
            raise Lost(f"more than {DEEPEST} constructs within each other")
        self._top = Frame(kind)
        self.frames.append(self._top)
        return self._top

    def _pop(self) -> None:
        self.frames.pop()
        self._top = self.frames[-1]

    def _wait(self, start: int) -> None:
        self.pending = self._text[start:]
        self._at = self._size

    def _lose(self, reason: str) -> None:
        """Nothing after this is known; a value whose meaning still depends on it cannot stay."""
        if any(frame.kind is Kind.CONDITION and (VALUE in frame.previous or VALUE in (frame.word or "")) for frame in self.frames):
            raise self._unprovable(f"a value in `[[ ]]` with {reason}")
        self.lost = reason
        self._at = self._size

    def _unprovable(self, reason: str, back: int = 0) -> Unprovable:
        return Unprovable(reason, max(0, self._at - back))


Reader = Callable[[Scanner], None]

READERS: dict[Kind, Reader] = {
    **dict.fromkeys(WORDS, Scanner.words),
    Kind.SINGLE: Scanner.single,
    Kind.DOUBLE: Scanner.double,
    Kind.LOCALE: Scanner.double,
    Kind.ANSI: Scanner.ansi,
    Kind.PARAMETER: Scanner.parameter,
    Kind.ARITHMETIC: Scanner.arithmetic,
    Kind.ARITHMETIC_COMMAND: Scanner.arithmetic,
    Kind.BACKTICKS: Scanner.backticks,
    Kind.COMMENT: Scanner.comment,
    Kind.HERE_DOCUMENT: Scanner.here_text,
}
BREAKS: dict[str, Reader] = {
    " ": Scanner.blank,
    "\t": Scanner.blank,
    "\n": Scanner.newline,
    "\\": Scanner.backslash,
    "'": Scanner.single_quote,
    '"': Scanner.double_quote,
    "`": Scanner.backtick,
    "$": Scanner.dollar,
    **dict.fromkeys(";&|<>()", Scanner.operator),
}
IN_DOUBLE: dict[str, Reader] = {'"': Scanner.close, "\\": Scanner.escaped, "$": Scanner.dollar, "`": Scanner.backtick}
IN_PARAMETER: dict[str, Reader] = {
    "}": Scanner.close,
    "\\": Scanner.escaped,
    "$": Scanner.dollar,
    "`": Scanner.backtick,
    **dict.fromkeys("'\"", Scanner.quote_in_parameter),
    **dict.fromkeys("<>", Scanner.angle_in_parameter),
    "{": Scanner.brace_in_parameter,
}
IN_ARITHMETIC: dict[str, Reader] = {
    "(": Scanner.open_in_arithmetic,
    ")": Scanner.close_in_arithmetic,
    "$": Scanner.dollar,
    "`": Scanner.backtick,
}
IN_HERE_DOCUMENT: dict[str, Reader] = {
    "\n": Scanner.line_end,
    "\\": Scanner.backslash_in_here_document,
    "$": Scanner.dollar,
    "`": Scanner.backtick,
}
DOLLARS: dict[str, Callable[[Scanner, str, int], None]] = {
    "(": Scanner._dollar_parenthesis,
    "((": Scanner._dollar_parenthesis,
    "{": Scanner._dollar_brace,
    "[": Scanner._dollar_bracket,
    **dict.fromkeys("'\"", Scanner._dollar_quote),
    **dict.fromkeys(("\\", "\\\n"), Scanner._dollar_backslash),
}
OPERATORS: dict[str, Callable[[Scanner, str, int], None]] = {
    **dict.fromkeys("; & && || | |&".split(), Scanner.separator),
    **dict.fromkeys(";; ;& ;;&".split(), Scanner.clause_end),
    **dict.fromkeys("&> &>> <> <& < >> >| >& > <<<".split(), Scanner.redirection),
    **dict.fromkeys("<< <<-".split(), Scanner.here_document),
    **dict.fromkeys("<( >(".split(), Scanner.process_substitution),
    "(": Scanner.open_parenthesis,
    ")": Scanner.close_parenthesis,
}
REDIRECTS = {"<&": Redirect.DUPLICATE, ">&": Redirect.DUPLICATE, "<<<": Redirect.HERE_STRING}

WordEnd = Callable[[Scanner, Frame, str], None]
WORD_ENDS: dict[Position, WordEnd] = {
    Position.START: Scanner.start,
    Position.PREFIX: Scanner.prefix,
    Position.NAMED: Scanner.argument,
    Position.ARGUMENTS: Scanner.argument,
    Position.AFTER: Scanner.after,
    Position.SPLIT: Scanner.split,
    Position.FOR_NAME: Scanner.for_name,
    Position.FOR_IN: Scanner.for_in,
    Position.FOR_WORDS: Scanner.unchanged,
    Position.CASE_WORD: Scanner.case_word,
    Position.CASE_IN: Scanner.case_in,
    Position.PATTERN: Scanner.pattern,
    Position.PATTERNS: Scanner.patterns,
    Position.FUNCTION_NAME: Scanner.function_name,
    Position.FUNCTION_BODY: Scanner.start,
    Position.ELEMENTS: Scanner.unchanged,
    Position.TEST: Scanner.operand,
}


def _expect(position: Position) -> Callable[[Scanner, Frame], None]:
    def reserved(scanner: Scanner, frame: Frame) -> None:
        frame.position = position

    return reserved


# `-p` and `--` are the options of `time`, after which a command still begins.
RESERVED: dict[str, Callable[[Scanner, Frame], None]] = {
    **dict.fromkeys("if then elif else while until do { ! time -p --".split(), Scanner.command_follows),
    **dict.fromkeys("fi done }".split(), Scanner.command_ends),
    **dict.fromkeys("for select".split(), _expect(Position.FOR_NAME)),
    "case": _expect(Position.CASE_WORD),
    "function": _expect(Position.FUNCTION_NAME),
    "esac": Scanner.esac,
    "[[": Scanner.condition,
    "coproc": Scanner.coproc,
}
CLOSING = frozenset("then elif else fi do done } esac".split())

NAMING = frozenset({Position.START, Position.PREFIX})
INDEXING = frozenset({*NAMING, Position.ELEMENTS})
RESERVING = frozenset({Position.START, Position.FUNCTION_BODY})
PLAIN = frozenset({Position.NAMED, Position.ARGUMENTS, Position.FOR_WORDS, Position.ELEMENTS})
BETWEEN_COMMANDS = frozenset({Position.START, Position.PREFIX, Position.NAMED, Position.ARGUMENTS, Position.AFTER, Position.SPLIT})
REDIRECTED = BETWEEN_COMMANDS
ACROSS_LINES = frozenset({Position.FOR_IN, Position.CASE_IN, Position.FUNCTION_BODY, Position.PATTERN, Position.ELEMENTS, Position.TEST})
CLOSED_BY_PARENTHESIS = frozenset({Kind.SUBSTITUTION, Kind.PROCESS, Kind.SUBSHELL, Kind.ARRAY})
