"""How a table that contradicts another is told. Called by every file of this room."""

from mmo.errors import ContentError


def contradiction(file: str, row: str, why: str) -> ContentError:
    """E0603 naming file and row."""
    return ContentError("E0603", f"{file}: {row}: {why}", f"mend that row of {file}")
