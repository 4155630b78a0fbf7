"""Secrets: which are required, and every form of them replaced by `***` wherever something is written.

Knows values, not places: who writes calls it. It finds a secret as it is, line by line, and as base64, URLs, JSON, HTML, shells and
Python write it; not when it is encrypted, compressed, in hexadecimal, otherwise normalised (NFC, NFD), or encoded to base64 twice.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import AnyStr, Generic
from urllib.parse import quote_from_bytes

from cpool_flow.errors import InvalidInput, Problem
from cpool_flow.json_value import JsonValue

COVER = "***"
SHORTEST = 4
_SHORTEST_CUT = 6  # of base64 whose ends depend on the text around it
_BASE64_LINES = (64, 76)
_UNRESERVED = ("", "/", "!'()*", ";,/?:@&=+$!*'()#")  # of urllib, encodeURIComponent, encodeURI
_COVER_BYTES = COVER.encode()


def check_secrets(names: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """The values of the named environment variables. Raises InvalidInput that names all that are missing, empty or too short."""
    problems = []
    values = {}
    for name in names:
        value = environ.get(name)
        if value is None:
            problems.append(Problem(f"secret `{name}` is not set in the environment", help=f"export {name}=…"))
        elif not value:
            problems.append(Problem(f"secret `{name}` is set but empty", help=f"export {name}=…"))
        elif len(value.strip()) < SHORTEST:
            problems.append(Problem(f"secret `{name}` is shorter than {SHORTEST} characters: to mask it would shred all output"))
        else:
            values[name] = value
    if problems:
        raise InvalidInput(problems)
    return values


def present_secrets(names: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """The values of those of the named environment variables that are set and long enough to be masked."""
    return {name: environ[name] for name in names if len(environ.get(name, "").strip()) >= SHORTEST}


class Masker:
    """Covers the values: each run of text that forms of them fill, by one `***`. False when there are none.

    What is masked once stays as it is (unless a secret holds the `***` itself). `spare_words`: for text that its author has
    published himself, in which a password such as `postgres` is a word like any other.
    """

    def __init__(self, values: Mapping[str, str], *, spare_words: bool = False) -> None:
        forms = {form for value in values.values() for form in _forms(value) if len(form) >= SHORTEST}
        if spare_words:
            forms = {form for form in forms if not form.isalpha()}
        self._text = _Forms(forms)
        self._bytes = _Forms({_bytes(form) for form in forms})

    def __bool__(self) -> bool:
        return bool(self._text.all)

    @property
    def forms(self) -> list[str]:
        """All that is looked for, the shortest first."""
        return self._text.all

    def mask(self, text: str) -> str:
        return text if not self else "".join(_outside(text, self._text.spans(text), COVER))

    def mask_value(self, value: JsonValue) -> JsonValue:
        """JSON data with every text in it masked, keys too. A number that shows a secret becomes text."""
        if not self:
            return value
        if isinstance(value, str):
            return self.mask(value)
        if isinstance(value, dict):
            return {self.mask(key): self.mask_value(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.mask_value(item) for item in value]
        if value is None or isinstance(value, bool):
            return value
        text = json.dumps(value)
        masked = self.mask(text)
        return value if masked == text else masked

    def shows(self, value: JsonValue) -> bool:
        """Whether a secret is anywhere in the data."""
        return bool(self) and self.mask_value(value) != value

    def mask_bytes(self, data: bytes) -> bytes:
        return b"".join(_outside(data, self._bytes.spans(data), _COVER_BYTES))

    def tail(self, text: str, limit_bytes: int) -> str:
        """The end of the masked text, at most so many bytes of UTF-8: cut after masking, so no half of a secret is left."""
        data = self.mask(text).encode("utf-8", "replace")
        return data[max(0, len(data) - limit_bytes) :].decode("utf-8", "ignore")

    def stream(self) -> MaskedStream:
        return MaskedStream(self._bytes)


class MaskedStream:
    """Masks what comes in chunks, as `mask_bytes` masks the whole.

    Holds back only an end that may be the beginning of a secret: `flush` gives it when no more comes.
    """

    def __init__(self, forms: _Forms[bytes]) -> None:
        self._forms = forms
        self._held = b""
        self._covered = 0  # so much of what is held belongs to a run whose `***` is out already

    def feed(self, chunk: bytes) -> bytes:
        data = self._held + chunk
        return self._give(data, self._forms.open_end(data))

    def flush(self) -> bytes:
        return self._give(self._held, len(self._held))

    def _give(self, data: bytes, limit: int) -> bytes:
        spans = self._forms.spans(data, self._covered)
        begun = spans.pop(0)[1] if self._covered else 0
        ready = [span for span in spans if span[0] < limit]
        end = ready[-1][1] if ready else begun
        given = b"".join(_outside(data[: max(limit, end)], ready, _COVER_BYTES, begun))
        self._held, self._covered = data[limit:], max(0, end - limit)
        return given


class _Forms(Generic[AnyStr]):
    """What to look for."""

    def __init__(self, forms: Iterable[AnyStr]) -> None:
        self.all: list[AnyStr] = sorted(forms, key=len)
        self._enough: list[AnyStr] = []  # where none of these is, none is
        for form in self.all:
            if not any(shorter in form for shorter in self._enough):
                self._enough.append(form)
        self._by_first: dict[AnyStr, list[AnyStr]] = {}
        for form in self.all:
            self._by_first.setdefault(form[:1], []).append(form)

    def spans(self, data: AnyStr, covered: int = 0) -> list[tuple[int, int]]:
        """The runs that forms fill, overlapping ones as one; the first is what was covered before."""
        found = [(0, covered)] if covered else []
        if any(form in data for form in self._enough):
            found += sorted(place for form in self.all for place in _places(data, form))
        runs: list[tuple[int, int]] = []
        for start, end in found:
            if runs and start < runs[-1][1]:
                runs[-1] = (runs[-1][0], max(end, runs[-1][1]))
            else:
                runs.append((start, end))
        return runs

    def open_end(self, data: AnyStr) -> int:
        """Where the first end of the data begins that more data could make a form; its length where there is none."""
        longest = len(self.all[-1]) if self.all else 0
        for position in range(max(0, len(data) - longest + 1), len(data)):
            if candidates := self._by_first.get(data[position : position + 1]):
                end = data[position:]
                if any(len(end) < len(form) and form.startswith(end) for form in candidates):
                    return position
        return len(data)


def _places(data: AnyStr, form: AnyStr) -> Iterator[tuple[int, int]]:
    place = data.find(form)
    while place >= 0:
        yield place, place + len(form)
        place = data.find(form, place + 1)


def _outside(data: AnyStr, spans: Iterable[tuple[int, int]], cover: AnyStr, position: int = 0) -> Iterator[AnyStr]:
    for start, end in spans:
        yield data[position:start]
        yield cover
        position = end
    yield data[position:]


def _forms(value: str) -> set[str]:
    """Every way in which the value is likely to be written."""
    lines = {line.strip() for line in value.splitlines()}
    parts = {value, value.strip()} | lines
    written = {form for part in parts if len(part) >= SHORTEST for form in _written(part)}
    encoded = {form for part in (value, value.strip()) for form in _base64(_bytes(part), range(3))}
    encoded |= {form for line in lines if len(line) >= SHORTEST for form in _base64(_bytes(line), range(1))}
    return written | {form for each in written for form in _json(each)} | encoded


def _written(text: str) -> Iterator[str]:
    import html

    yield text
    yield from _json(text)
    yield repr(text)[1:-1]
    yield text.replace("'", "'\\''")  # sh, bash -x
    yield text.replace("'", "'\"'\"'")  # shlex
    yield text.replace("'", "''")  # SQL
    yield text.replace('"', '""')  # CSV
    yield html.escape(text, quote=False)
    for apostrophe in ("'", "&#x27;", "&#39;", "&apos;"):
        yield html.escape(text).replace("&#x27;", apostrophe)
    yield re.sub(r"([^\w@%+=:,./\n-])", r"\\\1", text)  # printf %q
    for safe in _UNRESERVED:
        encoded = quote_from_bytes(_bytes(text), safe)
        for form in (encoded, encoded.replace("%20", "+")):
            yield form
            yield re.sub("%..", lambda code: code[0].lower(), form)


def _json(text: str) -> Iterator[str]:
    for ascii_only in (True, False):
        escaped = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield escaped
        yield escaped.replace("/", "\\/")
        yield re.sub("[<>&']", lambda character: f"\\u{ord(character[0]):04x}", escaped)
        yield re.sub(r"\\u....", lambda code: "\\u" + code[0][2:].upper(), escaped)


def _base64(raw: bytes, befores: Iterable[int]) -> Iterator[str]:
    """Encoded by itself, and what never changes of it inside of a longer text, by how many bytes stand before it (modulo 3)."""
    for alphabet in (None, b"-_"):
        alone = base64.b64encode(raw, alphabet).decode()
        yield alone
        yield alone.rstrip("=")
        for before in befores:
            encoded = base64.b64encode(b"\0" * before + raw, alphabet).decode()
            whole = (before + len(raw)) * 8 // 6  # characters that no following byte changes
            cut = encoded[-(-before * 8 // 6) : whole]
            if len(cut) >= _SHORTEST_CUT:
                yield cut
            if before == 0:
                lines = (cut[place : place + width] for width in _BASE64_LINES for place in range(0, len(cut), width))
                yield from (line for line in lines if len(line) >= _SHORTEST_CUT)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
