"""A run as people hand it on: Markdown, JSON, and one HTML file. Pure: everything is made from one `Report`, which `reported.py` reads.

Knows no disk, no clock, no terminal. Texts of agents and commands are data: nothing in them becomes markup, script or a link.
"""
