"""Tables as texts that were read before: what a generation of content is made of.

Owns only the look of a directory (`place / "levels.toml"`); never opens a file. Used by `tables`
where the content comes from a bundle instead of a disk.
"""

from collections.abc import Mapping


class TableFile:
    """One file: its name and its text."""

    def __init__(self, name: str, text: str | None) -> None:
        self.name = name
        self._text = text

    def read_text(self, encoding: str) -> str:
        """The text. Raises `FileNotFoundError` where there is none."""
        if self._text is None:
            raise FileNotFoundError(f"there is no {self.name}")
        return self._text

    def __str__(self) -> str:
        return self.name


class TableTexts:
    """All files by name."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts
        self._asked: set[str] = set()

    def __truediv__(self, name: str) -> TableFile:
        self._asked.add(name)
        return TableFile(name, self._texts.get(name))

    def unasked(self) -> list[str]:
        """Files that nobody looked at so far."""
        return sorted(self._texts.keys() - self._asked)
