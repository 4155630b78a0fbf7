"""The live view of a run: a tree of its steps that is drawn again and again at the bottom of a terminal.

`tree` and `picture` are pure: what a run looks like at a moment, on a screen of a size. `area` is the terminal, `words` the last lines of
the logs, `progress` joins them. The only importer of rich, and itself imported only where there is a terminal.
"""
