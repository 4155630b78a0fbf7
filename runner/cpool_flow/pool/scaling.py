"""Which slots a pool has after it was made larger or smaller. Decides nothing about work."""

from __future__ import annotations

from cpool_flow.dataclass import dataclass
from cpool_flow.errors import InvalidInput
from cpool_flow.slots import UNNAMED
from cpool_flow.state import State


@dataclass(frozen=True)
class Rescaled:
    """`names`: the slots from now on; `leaving`: those that go."""

    names: tuple[str, ...]
    leaving: tuple[str, ...] = ()


def rescaled(state: State, bounds: tuple[int, int], *, up: int | None, down: int | None, to: int | None) -> Rescaled:
    """The slots after a change. Idle ones go first, of those the last. Raises InvalidInput."""
    given = [value for value in (up, down, to) if value is not None]
    if len(given) != 1 or isinstance(given[0], bool) or not isinstance(given[0], int) or given[0] < 0:
        raise InvalidInput("`scale` takes one of `up`, `down` and `to`, a number that is not below zero")
    now = len(state.slot_order)
    wanted = now + (up or 0) - (down or 0) if to is None else to
    low, most = bounds
    if wanted > most:
        raise InvalidInput(f"{wanted} slots exceeds max_slots ({most})")
    if wanted < low:
        raise InvalidInput(f"{wanted} slots is below min_slots ({low})")
    return _more(state, wanted - now) if wanted >= now else _fewer(state, now - wanted)


def _more(state: State, count: int) -> Rescaled:
    taken = {*state.slot_order, *state.slots}  # one that still works must have gone before another gets its name
    free = (name for number in range(1, len(taken) + count + 1) if (name := f"{UNNAMED}{number}") not in taken)
    return Rescaled((*state.slot_order, *(next(free) for _ in range(count))))


def _fewer(state: State, count: int) -> Rescaled:
    unnamed = [name for name in state.slot_order if name.startswith(UNNAMED)]
    if count > len(unnamed):
        raise InvalidInput(f"only {len(unnamed)} of the slots may go: those with a name of their own stay")
    going = sorted(unnamed, key=lambda name: (name in state.slots, -unnamed.index(name)))[:count]
    return Rescaled(tuple(name for name in state.slot_order if name not in going), tuple(going))
