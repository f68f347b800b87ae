"""What runs inside the venv of each participant: copied there, the standard library only."""
