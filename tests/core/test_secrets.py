from __future__ import annotations

import base64
import html
import json
import shlex
import time
from collections.abc import Mapping
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import cases
from cpool_flow.errors import InvalidInput
from cpool_flow.secrets import Masker, check_secrets

TOKEN = "tok_5f2c9a71e0b84d36"
ODD = "p@ss w0rd$\"'\\&<>%é"


def masked(value: str, text: str) -> str:
    return Masker({"TOKEN": value}).mask(text)


@pytest.mark.parametrize(
    "form",
    [
        ODD,
        json.dumps(ODD)[1:-1],
        json.dumps(ODD, ensure_ascii=False)[1:-1],
        json.dumps(json.dumps(ODD))[3:-3],
        json.dumps(ODD)[1:-1].replace("u00e9", "u00E9"),
        quote(ODD, safe=""),
        quote(ODD),
        quote_plus(ODD),
        "p%40ss%20w0rd%24%22%27%5c%26%3c%3e%25%c3%a9",
        "p%40ss%20w0rd%24%22'%5C%26%3C%3E%25%C3%A9",  # encodeURIComponent
        shlex.quote(ODD),
        "'" + ODD.replace("'", "'\\''") + "'",  # bash -x
        repr(ODD),
        html.escape(ODD),
        html.escape(ODD, quote=False),
        ODD.replace("'", "''"),
        ODD.replace('"', '""'),
        base64.b64encode(ODD.encode()).decode(),
        base64.b64encode(ODD.encode()).decode().rstrip("="),
        base64.urlsafe_b64encode(ODD.encode()).decode(),
    ],
)
def test_every_form_of_a_secret_is_covered(form: str) -> None:
    assert masked(ODD, f"a {form} b").strip("ab \"'") == "***"


@pytest.mark.parametrize("before", ["", "x", "xy", "xyz", "user:"])
@pytest.mark.parametrize("after", ["", "\n", "0", "00"])
def test_of_base64_of_a_longer_text_at_most_two_characters_of_the_secret_stay(before: str, after: str) -> None:
    text = base64.b64encode(f"{before}{TOKEN}{after}".encode()).decode()
    shown = masked(TOKEN, text)
    assert "***" in shown
    assert len(shown) - 3 <= len(base64.b64encode(f"{before}{after}".encode())) + 4


def test_base64_that_a_tool_has_broken_into_lines_is_covered() -> None:
    secret = "".join(f"{number:04}" for number in range(60))
    assert masked(secret, base64.encodebytes(secret.encode()).decode()).replace("***", "").strip("\n=") in ("", "OQ")


def test_each_line_of_a_secret_is_covered_but_no_scrap_of_a_line() -> None:
    secret = "-----BEGIN-----\r\n  l2_bbbbbbbb\nxy\n-----END-----\n"
    assert masked("ab\ncd\n", "x ab\ncd y") == "x *** y"
    assert masked(secret, "only l2_bbbbbbbb here, and xy") == "only *** here, and xy"


def test_a_line_of_a_secret_is_covered_as_base64_too() -> None:
    secret = "first_aaaaaaaa\nsecond_bbbbbbbb\n"
    for line in (b"second_bbbbbbbb", b"second_bbbbbbbb\n", b"second_bbbbbbbb and more"):
        shown = masked(secret, base64.b64encode(line).decode())
        assert shown.startswith("***")
        assert "c2Vjb25k" not in shown


def test_a_secret_is_no_pattern_and_its_cover_no_template() -> None:
    assert masked("a.b*c[d](e)\\f", "a.b*c[d](e)\\f and aXb") == "*** and aXb"
    assert masked("\\1\\g<0>$&", "x\\1\\g<0>$&y") == "x***y"


def test_nothing_is_left_of_a_secret_that_begins_with_or_overlaps_another() -> None:
    mask = Masker({"A": "hunter2-long", "B": "hunter2", "C": "longer"}).mask
    assert mask("hunter2-long hunter2 hunter2-longer") == "*** *** ***"
    assert masked("abab", "ababab") == "***"


def test_a_tail_is_cut_after_masking() -> None:
    mask = Masker({"TOKEN": TOKEN})
    assert mask.tail(TOKEN + "y" * 4090, 4096) == "***" + "y" * 4090
    assert mask.tail("é" * 10, 5) == "éé"
    assert mask.tail("short", 100) == "short"
    assert mask.tail("short", 0) == ""


def test_without_secrets_nothing_changes() -> None:
    nothing = Masker({})
    assert not nothing
    assert nothing.mask("text") == "text"
    assert nothing.mask_bytes(b"\xff") == b"\xff"
    assert nothing.stream().feed(b"abc") == b"abc"


def test_bytes_that_are_no_text_pass_and_hide_nothing() -> None:
    mask = Masker({"TOKEN": TOKEN, "RAW": b"caf\xe9-secret".decode("utf-8", "surrogateescape")})
    assert mask
    assert mask.mask_bytes(b"\xff\xfe" + TOKEN.encode() + b"\xff caf\xe9-secret") == b"\xff\xfe***\xff ***"


def test_what_cannot_be_the_beginning_of_a_secret_is_not_held_back() -> None:
    stream = Masker({"TOKEN": TOKEN}).stream()
    assert stream.feed(b"progress 1%\r") == b"progress 1%\r"
    assert stream.feed(b"> tok_5f2") == b"> "
    assert stream.feed(b"c9a71e0b84d3") == b""
    assert stream.feed(b"7 tok") == b"tok_5f2c9a71e0b84d37 "
    assert stream.flush() == b"tok"
    assert stream.flush() == b""
    assert stream.feed(TOKEN.encode()) == b"***"


def test_a_secret_inside_of_one_that_is_still_open_waits_for_it() -> None:
    stream = Masker({"OUTER": "xx-ab12-cd", "INNER": "ab12"}).stream()
    assert stream.feed(b"xx-ab12-") == b""
    assert stream.feed(b"cd") == b"***"
    assert stream.feed(b"xx-ab12-") + stream.flush() == b"xx-***-"


def test_a_secret_that_fills_a_gigabyte_of_chunks_is_one_run_in_flat_memory() -> None:
    stream = Masker({"TOKEN": "abab"}).stream()
    assert stream.feed(b"ababa") == b"***"
    assert all(stream.feed(b"ba") == b"" for _ in range(1000))
    assert stream.feed(b"b!") == b"!"
    assert stream.flush() == b""


def test_the_time_to_mask_grows_with_the_length_only() -> None:
    mask = Masker({"TOKEN": TOKEN, "ODD": ODD})
    text = b"2024-01-01 INFO tok_5f2c the quick brown fox jumps over a p@ss\n" * 1000

    def seconds(copies: int) -> float:
        stream, began = mask.stream(), time.process_time()
        for _ in range(copies):
            stream.feed(text)
        return time.process_time() - began

    assert min(seconds(80) for _ in range(3)) < 30 * max(min(seconds(8) for _ in range(3)), 0.001)


@pytest.mark.parametrize(
    ("value", "why"),
    [(None, "not set"), ("", "empty"), ("7", "shorter than 4"), ("abc", "shorter than 4"), ("     ", "shorter than 4")],
)
def test_a_missing_empty_or_short_secret_is_refused_by_name(value: str | None, why: str) -> None:
    environ = {} if value is None else {"PIN": value}
    with pytest.raises(InvalidInput, match=why) as refused:
        check_secrets(["GOOD", "PIN"], {"GOOD": "long-enough", **environ})
    assert len(refused.value.problems) == 1
    assert "`PIN`" in str(refused.value)
    assert "long-enough" not in str(refused.value)


def test_all_that_is_wrong_with_the_secrets_is_said_at_once() -> None:
    with pytest.raises(InvalidInput) as refused:
        check_secrets(["A", "B", "C"], {"B": "", "C": "x"})
    assert len(refused.value.problems) == 3


def test_good_secrets_come_with_their_values() -> None:
    assert check_secrets(["A"], {"A": "four", "B": "else"}) == {"A": "four"}


def hostile_cases() -> list[object]:
    rows = cases("hostile/secrets.json")["cases"]
    return [pytest.param(row, id=row["id"]) for row in rows]


@pytest.mark.parametrize("case", hostile_cases())
def test_the_shared_hostile_secrets_do_not_appear(case: Mapping[str, object]) -> None:
    secrets = {name: value for name, value in case["secrets"].items() if value is not None}  # type: ignore[attr-defined]
    if case.get("level") == "error at start":
        with pytest.raises(InvalidInput):
            check_secrets(case["secrets"], secrets)  # type: ignore[arg-type]
        return
    writes = [case["text"]] if isinstance(case["text"], str) else case["text"]
    around = bytes.fromhex(str(case.get("around_hex", "")))
    data = around + b"".join(str(write).encode() for write in writes) + around  # type: ignore[attr-defined]
    masker = Masker(check_secrets(secrets, secrets))
    stream = masker.stream()
    streamed = stream.feed(around) + b"".join(stream.feed(str(write).encode()) for write in writes) + stream.feed(around) + stream.flush()  # type: ignore[attr-defined]
    shown = [masker.mask_bytes(data), streamed, masker.tail(data.decode("utf-8", "replace"), 4096).encode()]
    for forbidden in case["must_not_appear"]:  # type: ignore[attr-defined]
        assert not any(forbidden.encode() in text for text in shown)


# The cover itself is left out: a secret that holds `***` can be made up by what was masked before it.
characters = st.sampled_from("abAB01 /+-_=%\\\"'\n\té€𝄞") | st.characters(exclude_characters="*", exclude_categories=["Cs"])
secret_texts = st.text(characters, min_size=4, max_size=24).filter(lambda text: len(text.strip()) >= 4)
narrow = st.text("ab", min_size=4, max_size=8)
several = st.dictionaries(st.sampled_from("ABC"), secret_texts | narrow, min_size=1)


@settings(deadline=None)
@given(several, st.data())
def test_a_stream_masks_as_the_whole_is_masked_however_it_is_cut(secrets: dict[str, str], data: st.DataObject) -> None:
    masker = Masker(secrets)
    forms = [form.encode() for form in masker.forms]
    pieces = st.sampled_from(forms) | st.sampled_from(forms).flatmap(lambda form: st.integers(0, len(form)).map(lambda end: form[:end]))
    text = b"".join(data.draw(st.lists(pieces | st.binary(max_size=4) | st.text("ab", max_size=6).map(str.encode), max_size=8)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=10)))
    stream = masker.stream()
    chunks = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert b"".join(map(stream.feed, chunks)) + stream.flush() == masker.mask_bytes(text)


@settings(deadline=None)
@given(several, st.data())
def test_no_form_of_a_secret_is_left_and_a_mask_changes_nothing_a_second_time(secrets: dict[str, str], data: st.DataObject) -> None:
    masker = Masker(secrets)
    text = "".join(data.draw(st.lists(st.sampled_from(masker.forms) | st.text(characters, max_size=6) | narrow, max_size=8)))
    shown = masker.mask(text)
    assert not [form for form in masker.forms if form in shown]
    assert masker.mask(shown) == shown
    assert masker.mask_bytes(text.encode()).decode() == shown
    tail = masker.tail(text, 20)
    assert shown.endswith(tail)


@settings(deadline=None)
@given(secret_texts, st.text(characters, max_size=9), st.text(characters, max_size=9))
def test_whoever_writes_it_the_secret_is_covered(secret: str, before: str, after: str) -> None:
    masker = Masker({"S": secret})
    raw = secret.encode()
    for form in (
        secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], quote(secret), quote(secret, safe=""), quote_plus(secret),
        shlex.quote(secret)[1:-1] if shlex.quote(secret)[0] == "'" else secret,
        base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode().rstrip("="),
    ):  # fmt: skip
        assert form not in masker.mask(before + form + after)


def test_data_is_masked_by_its_texts_so_that_it_stays_data() -> None:
    masker = Masker({"A": 'a", "b', "B": "true", "C": "1234", "D": TOKEN})
    value = [{TOKEN: 1}, True, None, "is true", 1234, 12345.5, 7, {"k": ['say a", "b']}]
    assert masker.mask_value(value) == [{"***": 1}, True, None, "is ***", "***", "***5.5", 7, {"k": ["say ***"]}]
    assert masker.shows(value)
    assert not masker.shows([True, None, 7])
    assert not Masker({}).shows(value)


def test_where_words_are_spared_only_a_secret_that_is_no_word_is_masked() -> None:
    masker = Masker({"PASSWORD": "postgres", "TOKEN": TOKEN}, spare_words=True)
    assert masker.mask(f"psql -U postgres {TOKEN}") == "psql -U postgres ***"
