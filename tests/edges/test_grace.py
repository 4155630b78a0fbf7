"""How long what is stopped has to end by itself."""

from __future__ import annotations

from signal import SIGINT, SIGTERM

import pytest

from cpool_flow.executor.work import Ladder, within


@pytest.mark.parametrize(
    ("ladder", "shortened"),
    [
        (((SIGTERM, 10.0),), ((SIGTERM, 5.0),)),
        (((SIGINT, 2.0), (SIGTERM, 2.0)), ((SIGINT, 2.0), (SIGTERM, 2.0))),
        (((SIGINT, 8.0), (SIGTERM, 2.0)), ((SIGINT, 4.0), (SIGTERM, 1.0))),
        ((), ()),
    ],
)
def test_all_signals_together_take_no_longer_than_the_grace(ladder: Ladder, shortened: Ladder) -> None:
    assert within(ladder, 5.0) == shortened
