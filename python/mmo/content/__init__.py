"""Tables from data files: every number that a designer may change, checked before it is used."""

from mmo.content.tables import Content, data_directory, load_content

__all__ = ["Content", "data_directory", "load_content"]
