"""Texts of usage limits, and when they say that the limit ends."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpool_flow.agents.limits import names_limit, reset_time

# A Tuesday, 18:00 in Berlin.
NOW = datetime(2026, 11, 24, 17, 0, tzinfo=UTC).timestamp()


def ends(text: str, zone: str = "UTC") -> str | None:
    moment = reset_time(text, NOW, ZoneInfo(zone))
    return None if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Claude AI usage limit reached|1762952400", "2025-11-12 13:00:00"),
        ("Claude usage limit reached. Your limit will reset at 3pm (America/Santiago).", "2026-11-24 18:00:00"),
        ("5-hour limit reached ∙ resets 1am", "2026-11-25 01:00:00"),
        ("Session limit reached ∙ resets 9:30pm", "2026-11-24 21:30:00"),
        ("Weekly limit reached · resets 10am (Asia/Seoul) · /upgrade for more", "2026-11-25 01:00:00"),
        ("Opus weekly limit reached", None),
        ("You've hit your limit · resets 11pm (America/Anchorage)", "2026-11-25 08:00:00"),
        ("You've hit your limit · resets Feb 16, 11am (Europe/Berlin)", "2027-02-16 10:00:00"),
        ("You've hit your session limit · resets 8:30pm (Asia/Tokyo)", "2026-11-25 11:30:00"),
        ("You've hit your 5-hour limit · resets 6:18pm (Europe/Berlin)", "2026-11-24 17:18:00"),
        ("You’ve hit your weekly limit • resets Nov 26, 4:18pm (Europe/Berlin)", "2026-11-26 15:18:00"),
        ("You're out of extra usage · resets May 2, 2pm (Asia/Jerusalem)", "2027-05-02 11:00:00"),
        ("You’re out of usage credits", None),
        ("You’ve hit your monthly spend limit.", None),
        ("You've reached your Fable 5 limit.", None),
        ("You've hit your usage limit. Upgrade to Pro (…) or try again in 5 days 22 hours 11 minutes.", "2026-11-30 15:11:00"),
        ("You've hit your usage limit. Upgrade to Pro (https://x.test/pro) or wait for limits to reset (every 5h and every week.).", None),
        ("You've hit your usage limit. Try again in 3 days.", "2026-11-27 17:00:00"),
        ("You've hit your usage limit. Try again in 3 days 4 hours.", "2026-11-27 21:00:00"),
        ("You've hit your usage limit. Try again in 1 minute.", "2026-11-24 17:01:00"),
        ("You’ve hit your usage limit. Visit … or try again at Nov 25th, 2026 6:00 AM.", "2026-11-25 06:00:00"),
        ("You’ve hit your usage limit. Upgrade to Pro (…) or try again at Dec 1st, 2026 12:05 AM.", "2026-12-01 00:05:00"),
        ("You’ve hit your usage limit. Try again at Mar 2nd, 2027 11:59 PM.", "2027-03-02 23:59:00"),
        ("You’ve hit your usage limit. Try again at 6:00 AM.", "2026-11-25 06:00:00"),
        ("You've hit your weekly limit · resets in 3 days", "2026-11-27 17:00:00"),
        ("You've hit your weekly limit · resets Nov 26 at 4pm", "2026-11-26 16:00:00"),
        ("Claude usage limit reached. Your limit will reset at 12am (Etc/GMT+5).", "2026-11-25 05:00:00"),
        ("rate limit exceeded: Please try again in 1.898s.", "2026-11-24 17:00:01"),
        ("exceeded retry limit, last status: 429 Too Many Requests", None),
        ("Quota exceeded. Check your plan and billing details.", None),
        ("You have exhausted your capacity on this model. Your quota will reset after 8h44m7s.", "2026-11-25 01:44:07"),
        ("You have exhausted your daily quota on this model.", None),
        ("You have exhausted your capacity on this model. Your quota will reset after 44m.", "2026-11-24 17:44:00"),
        ("You have exhausted your capacity on this model. Your quota will reset after 7s.", "2026-11-24 17:00:07"),
        ("Resource exhausted. Please try again later.", None),
        ("Rate limit reached for gpt-5 in organization org-x. Please try again in 250ms.", None),
        ("Rate limit reached for gpt-5 in organization org-x. Please try again in 6m0s.", "2026-11-24 17:06:00"),
        ("Usage limit reached, resets at 19:30 (Europe/Berlin)", "2026-11-24 18:30:00"),
        ("Usage limit reached, resets at 3:30 UTC", "2026-11-25 03:30:00"),
        ("Usage limit reached, resets 6pm UTC", "2026-11-24 18:00:00"),
        ("Usage limit reached, resets on December 1, 3pm", "2026-12-01 15:00:00"),
        ("Usage limit reached, resets Dec 1, 2027, 3pm", "2027-12-01 15:00:00"),
        ("Usage limit reached, try again after 2026-12-01T15:00:00+01:00", "2026-12-01 14:00:00"),
        ("Usage limit reached, resets at 2026-12-01T15:00Z", "2026-12-01 15:00:00"),
        ("Usage limit reached, retry after 120 seconds", "2026-11-24 17:02:00"),
        ("Usage limit reached, try again in about 2 hours", "2026-11-24 19:00:00"),
        ("Resource has been exhausted (e.g. check quota).", None),
        ('{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}', None),
    ],
)
def test_a_limit_is_known_by_its_text_and_names_its_end(text: str, moment: str | None) -> None:
    assert names_limit(text)
    assert ends(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        "Server is temporarily limiting requests (not your usage limit)",
        "API Error: 529 Overloaded. This is a server-side issue, usually temporary — try again in a moment.",
        'API Error (529 {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}})',
        "API Error: Repeated 529 Overloaded errors",
        "Invalid API key · Please run /login",
        "the array index is over its limit",
        "write error: Disk quota exceeded",
    ],
)
def test_other_errors_are_no_limits(text: str) -> None:
    assert not names_limit(text)
    assert ends(text) is None


def test_a_clock_time_without_a_zone_is_in_that_of_the_process() -> None:
    assert ends("resets 9pm", "Europe/Berlin") == "2026-11-24 20:00:00"
    assert ends("resets 5am", "Europe/Berlin") == "2026-11-25 04:00:00"


def test_noon_and_midnight() -> None:
    assert ends("resets 12am") == "2026-11-25 00:00:00"
    assert ends("resets 12pm") == "2026-11-25 12:00:00"


def test_a_limit_that_has_just_ended_does_not_come_back_a_day_or_a_year_later() -> None:
    late = NOW + 30
    assert reset_time("resets 5pm (UTC)", late) == NOW
    assert reset_time("resets Nov 24, 5pm (UTC)", late) == NOW
    assert reset_time("resets 5pm (UTC)", NOW + 600) == NOW + 86_400
    assert reset_time("resets Nov 24, 5pm (UTC)", NOW + 3600) == NOW


@pytest.mark.parametrize(
    "text",
    [
        "resets Feb 31, 1pm",
        "resets 25pm",
        "resets 0am",
        "resets Abc 3, 1pm",
        "resets 3pm (Not/AZone)",
        "resets 3pm (../../x)",
        "resets 25:00",
        "resets 3",
        "resets Marmalade 3, 1pm",
    ],
)
def test_a_time_that_does_not_exist_is_no_time(text: str) -> None:
    assert ends(text) is None


def test_a_zone_that_is_named_without_brackets_goes_before_that_of_the_process() -> None:
    assert ends("resets 6pm UTC", "Asia/Tokyo") == "2026-11-24 18:00:00"


def test_a_time_that_the_change_of_clocks_leaves_out_or_repeats_is_a_time() -> None:
    spring = datetime(2027, 3, 27, 22, tzinfo=UTC).timestamp()
    autumn = datetime(2027, 10, 30, 22, tzinfo=UTC).timestamp()
    assert reset_time("resets 2:30am (Europe/Berlin)", spring) == datetime(2027, 3, 28, 1, 30, tzinfo=UTC).timestamp()
    assert reset_time("resets 2:30am (Europe/Berlin)", autumn) == datetime(2027, 10, 31, 0, 30, tzinfo=UTC).timestamp()


def test_a_leap_day_is_the_next_one() -> None:
    assert ends("resets Feb 29, 1pm") == "2028-02-29 13:00:00"


@given(st.text(alphabet="0123456789 :.,|/()apmdhsreset tryagin JFeb", max_size=60), st.floats(0, 4e9))
def test_no_text_breaks_it(text: str, now: float) -> None:
    for words in (text, f"resets {text}", f"try again in {text}", f"limit reached|{text}"):
        assert reset_time(words, now) is None or names_limit(words) in (True, False)
