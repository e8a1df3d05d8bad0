"""Fixtures of the unit tests."""

from mmo.testing.plugin import world

__all__ = ["world"]
