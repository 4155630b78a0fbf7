"""cpool-flow: a declarative workflow runner for AI coding agents."""

__version__ = "0.1.0"
