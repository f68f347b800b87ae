"""Use cases shared by the command line and the Python API: submit, inspect, revoke, wait, tail."""
