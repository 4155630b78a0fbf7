"""What a pool raises beside `InvalidInput` (what was asked for is wrong) and `OperationFailed` (the disk, git). All are `FlowError`."""

from __future__ import annotations

from cpool_flow.errors import FlowError
from cpool_flow.spending import dollars


class PoolIsClosed(FlowError):
    """Work was given to a pool that takes none: it was not entered yet, it drains, or it has ended."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the pool takes no work: {why}")


class BudgetExhausted(FlowError):
    """Nothing is left of the pool's budget. Amounts are US dollars."""

    def __init__(self, spent_usd: float, limit_usd: float) -> None:
        super().__init__(f"the pool's budget of {dollars(limit_usd)} is used up: {dollars(spent_usd)} spent")
        self.spent_usd = spent_usd
        self.limit_usd = limit_usd


class UnknownTask(FlowError):
    """The pool has no task of this id."""

    def __init__(self, task_id: str, hint: str | None = None) -> None:
        super().__init__(f"the pool has no task `{task_id}`{f', {hint}' if hint else ''}")
        self.task_id = task_id
