"""`schemas/events.schema.json` is what the classes of `events.py` say, and every event fits it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from cpool_flow import events
from cpool_flow.event_schema import event_schema
from golden import check_golden

SCHEMA = Path(__file__).resolve().parents[2] / "schemas" / "events.schema.json"
TEXT = events.Stored(text="hello")
FILE = events.Stored(file="outputs/one.txt", bytes=70_000)

EVENTS = (
    events.RunCreated("r-1", "calm-owl", "review", "/p/review.yaml", "/p", "r-1-ab", 4, "none", tags=("a", "b"), timeout_seconds=60.0),
    events.StepOpened("review", TEXT, 3),
    events.AttemptStarted("review[0]", 1, slot="slot-1", agent="claude"),
    events.AttemptFinished("review[0]", 1, output=TEXT, value=FILE, cost_usd=0.25, changed_files=("a.py",)),
    events.AttemptFinished("review[0]", 1, error_kind="failed", error="no", exit_code=3),
    events.RunFinished("success", outputs=FILE),
)


def test_the_shipped_schema_is_the_one_that_the_classes_make() -> None:
    check_golden(SCHEMA, json.dumps(event_schema(), indent=2) + "\n")


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(event_schema())


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_as_it_is_shown_fits_the_schema(event: events.Event) -> None:
    shown = {"seq": 1, "type": type(event).__name__, "at": "2025-01-01T00:00:00.000Z", **events.to_json(event)}
    assert list(Draft202012Validator(event_schema()).iter_errors(json.loads(json.dumps(shown)))) == []


def test_a_field_that_no_event_has_does_not_fit() -> None:
    shown = {"seq": 1, "type": "RunWaiting", "at": "2025-01-01T00:00:00.000Z", "reason": "x", "more": 1}
    assert list(Draft202012Validator(event_schema()).iter_errors(shown))
