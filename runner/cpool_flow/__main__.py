"""`python -m cpool_flow` is `cpool-flow`."""

from cpool_flow.cli.main import entry

entry()
