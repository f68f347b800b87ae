"""Helpers for web frameworks: submit in a request, answer 202, and tell how the run is."""
