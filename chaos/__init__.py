"""Plays faults against real daemons and a real store, and counts what ran by another way.

``python -m chaos --list`` shows the faults; docs/explanation/chaos.md says how to read a report.
Not part of the installed package.
"""
