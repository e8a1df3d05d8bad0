"""Fixtures of the unit tests."""

from mmo.testing.plugin import simulation, world

__all__ = ["simulation", "world"]
