"""Processes and stores on one machine: spawn, watch, stop. Called by `cli` and by tests."""
