"""An account: what a run, or a sub-workflow of it, has spent, and what its running attempts may still spend. US dollars.

Folded from events, so that it can be told of any run from its journal alone. What may be spent next is `budget.py`. Pure.
"""

from __future__ import annotations

from dataclasses import field

from cpool_flow import events
from cpool_flow.dataclass import dataclass

DAY_SECONDS = 86_400
# The agent that does again what was recorded, and spends nothing.
REPLAY = "replay"
# Attempts that did not come to the point at which an agent says what it has spent: stopped, or refused by the server.
CUT_SHORT = frozenset({"lost", "cancelled", "timeout", "rate_limited", "overloaded", "auth", "invalid"})
# How a reason names the budget of the run, and not that of a day or of a run around it.
OWN_BUDGET = "the run's budget"
# Tokens are weighed as most price lists have it, a token of fresh input being 1. As long as nobody has told a price, that one costs so
# many US dollars.
OUTPUT_WEIGHT, CACHED_WEIGHT = 5.0, 0.1
GUESSED_USD = 3e-6


@dataclass(slots=True)
class Spending:
    """`spent_usd` is what counts against the limit: all that is known, and of an agent that ended without telling its cost all that it
    was allowed to spend (unless `allow_unpriced`), or where it was cut short what its tokens so far come to. `complete`: every cost is
    known. `told`: by agent, the dollars and the weight of the tokens of attempts that told both."""

    limit_usd: float | None = None
    allow_unpriced: bool = False
    spent_usd: float = 0.0
    known_usd: float = 0.0
    complete: bool = True
    # Spent in each calendar day (UTC), by its number since the epoch.
    by_day: dict[int, float] = field(default_factory=dict)
    running: dict[str, events.AttemptStarted] = field(default_factory=dict)
    told: dict[str, tuple[float, float]] = field(default_factory=dict)

    def apply(self, event: events.Event, at: float) -> None:
        """Take in a fact that was recorded at `at` (seconds since the epoch)."""
        match event:
            case events.AttemptStarted():
                self.running[event.task] = event
            case events.AttemptFinished():
                self._settle(event, at)
            case events.RunCreated():
                self.limit_usd, self.allow_unpriced = event.budget_usd, event.allow_unpriced
            case events.RunResumed() if event.budget_usd is not None:
                self.limit_usd = event.budget_usd

    @property
    def held_usd(self) -> float:
        """What the attempts that run now may spend."""
        return sum(started.budget_usd or 0.0 for started in self.running.values())

    @property
    def assumed_usd(self) -> float:
        """How much of `spent_usd` nobody has reported."""
        return max(0.0, self.spent_usd - self.known_usd)

    def spent_on(self, day: int) -> float:
        """What was spent in a calendar day."""
        return self.by_day.get(day, 0.0)

    def renew(self) -> None:
        """Begin anew with nothing spent."""
        self.spent_usd = self.known_usd = 0.0

    def forget(self) -> None:
        """All of it so far was paid for by another run."""
        self.renew()
        self.complete = True
        self.by_day.clear()

    def _settle(self, finished: events.AttemptFinished, at: float) -> None:
        started = self.running.pop(finished.task)
        known = finished.cost_usd if finished.cost_usd is not None else finished.cost_at_least_usd or 0.0
        unknown = finished.cost_usd is None and started.agent is not None
        spent = max(known, self._assumed(started, finished)) if unknown else known
        self._learn(started, finished)
        if started.agent == REPLAY:  # what it reports was spent when it was recorded
            spent = 0.0
        self.complete = self.complete and not unknown
        # Runs inside of this one count in a day by their own journals.
        inside = finished.nested_usd or 0.0
        self.known_usd += known + inside
        self.spent_usd += spent + inside
        day = int(at // DAY_SECONDS)
        self.by_day[day] = self.by_day.get(day, 0.0) + spent

    def _assumed(self, started: events.AttemptStarted, finished: events.AttemptFinished) -> float:
        """What an attempt counts with that does not tell its cost. Where it was cut short, all that it was allowed would be far too much."""
        allowed = started.budget_usd or 0.0
        if self.allow_unpriced:
            return 0.0
        if finished.error_kind not in CUT_SHORT:
            return allowed
        if finished.cost_at_least_usd is not None:  # there is a price
            return 0.0
        usd, weight = self.told.get(started.agent or "", (0.0, 0.0))
        seen = _weight(finished) * (usd / weight if weight else GUESSED_USD)
        return min(seen, allowed) if started.budget_usd is not None else seen

    def _learn(self, started: events.AttemptStarted, finished: events.AttemptFinished) -> None:
        weight = _weight(finished)
        if started.agent is not None and finished.cost_usd is not None and weight:
            usd, before = self.told.get(started.agent, (0.0, 0.0))
            self.told[started.agent] = usd + finished.cost_usd, before + weight


def _weight(finished: events.AttemptFinished) -> float:
    """How dear the tokens of an attempt are, against one of fresh input."""
    cached = finished.cached_tokens or 0
    fresh = max(0, (finished.input_tokens or 0) - cached)
    return fresh + CACHED_WEIGHT * cached + OUTPUT_WEIGHT * (finished.output_tokens or 0)


def dollars(usd: float) -> str:
    """An amount as people write it: `$0.84`, `$0.0031`."""
    return f"${usd:.2f}" if usd == 0 or usd >= 0.01 else f"${usd:.6f}".rstrip("0").rstrip(".")
