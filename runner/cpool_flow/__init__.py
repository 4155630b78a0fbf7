"""cpool-flow: a declarative workflow runner for AI coding agents.

`Pool` and `Workflow` are its Python API. They are imported when they are asked for (types: `__init__.pyi`): who only wants the version
does not pay for them.
"""

from importlib import import_module

__version__ = "0.1.0"

__all__ = ["Pool", "Workflow", "__version__"]


def __getattr__(name: str) -> object:
    if name in ("Pool", "Workflow"):
        return getattr(import_module("cpool_flow.pool"), name)
    raise AttributeError(f"module `cpool_flow` has no attribute `{name}`")
