"""Every operator code has a page, every page a code, and every page says what mends it.

Owns the comparison; the pages are those that `mmo-cluster explain` prints.
"""

import ast
import re
from pathlib import Path

from tests.house.tree import ROOT, nodes, parsed, python_files, short

from mmo.cli.explain import read_pages

CODE = re.compile(r"E\d{4}")
HEADING = re.compile(r"^# (E\d{4}) ", re.M)
PAGE_WORDS_MIN = 15


def codes_in(path: Path) -> set[str]:
    """Operator codes that a source names as whole texts."""
    return {
        node.value
        for node in nodes(parsed(path))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and CODE.fullmatch(node.value)
    }


def test_every_code_that_is_raised_has_a_page() -> None:
    raised = {code: short(p) for p in python_files("python/mmo") for code in codes_in(p)}
    missing = {code: where for code, where in raised.items() if code not in read_pages()}
    assert raised and not missing, missing


def test_every_page_has_a_code_that_is_raised() -> None:
    raised = {code for path in python_files("python/mmo") for code in codes_in(path)}
    assert set(read_pages()) <= raised, set(read_pages()) - raised


def test_every_code_has_one_page() -> None:
    pages = (ROOT / "python/mmo/cli/pages").glob("*.md")
    headings = [code for page in pages for code in HEADING.findall(page.read_text("utf-8"))]
    twice = sorted({code for code in headings if headings.count(code) > 1})
    assert headings and not twice, twice


def test_every_page_says_enough_to_mend_it() -> None:
    short_ones = [c for c, text in read_pages().items() if len(text.split()) < PAGE_WORDS_MIN]
    assert not short_ones, short_ones


def test_a_code_in_a_source_is_seen(tmp_path: Path) -> None:
    source = tmp_path / "a.py"
    source.write_text('raise OperatorError("E0123", "see E0999")\n', encoding="utf-8")
    assert codes_in(source) == {"E0123"}
