"""The Python API: what ``from jobctl import …`` gives; see docs/how-to/python-api.md."""
