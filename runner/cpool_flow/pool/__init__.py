"""The pool of agents as a Python API: `async with Pool(slots=4) as pool: result = await pool.run("…")`. `docs/python.md` is its manual.

A pool is one long run: each piece of work is a step that is added to it by an event. The rules of the engine are those of a workflow.
"""

from cpool_flow.pool.errors import BudgetExhausted, PoolIsClosed, UnknownTask
from cpool_flow.pool.function_agent import Answer, Call
from cpool_flow.pool.pool import Pool
from cpool_flow.pool.result import TaskFailed, TaskResult
from cpool_flow.pool.status import DrainSummary, PoolStatus, SlotStatus
from cpool_flow.pool.sync import SyncPool, SyncTask
from cpool_flow.pool.task import PoolEvent, Task, TaskGroup
from cpool_flow.pool.task_progress import TaskProgress
from cpool_flow.pool.workflow import Workflow

__all__ = [
    "Answer",
    "BudgetExhausted",
    "Call",
    "DrainSummary",
    "Pool",
    "PoolEvent",
    "PoolIsClosed",
    "PoolStatus",
    "SlotStatus",
    "SyncPool",
    "SyncTask",
    "Task",
    "TaskFailed",
    "TaskGroup",
    "TaskProgress",
    "TaskResult",
    "UnknownTask",
    "Workflow",
]
