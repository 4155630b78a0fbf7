"""The place where a run's steps work: the directory itself (`none`), or a git worktree of the run's own (`worktree`).

Nobody's checkout is touched, and work is on a branch before its directory goes. Its modules are imported one by one: a run in place
needs few of them.
"""
