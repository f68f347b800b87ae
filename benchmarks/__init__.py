"""Measurements of jobctl beside what the machine and other programs do; see README.md."""
