"""`explain CODE`: the page of an operator code.

Owns finding and printing; the pages are Markdown files in `pages/`, one a code. Called by the
operator; works without a cluster.
"""

from importlib import resources
from typing import Annotated

import typer

from mmo.cli import terminal
from mmo.cli.options import HOME, ConfigOption, HomeOption, JsonOption
from mmo.cli.rim import OK
from mmo.errors import OperatorError


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(explain)


def explain(
    code: Annotated[str, typer.Argument(help="Such as E0201; nothing lists all.")] = "",
    home: HomeOption = HOME,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """What a code means, why it happens and what mends it."""
    pages = read_pages()
    if not code:
        titles = {name: text.splitlines()[0].lstrip("# ") for name, text in pages.items()}
        if json:
            terminal.print_json(titles)
        else:
            for title in titles.values():
                print(title)
        return OK
    name = code.strip().upper()
    if name not in pages:
        raise OperatorError("E0714", f"no page for {code!r}", "mmo-cluster explain lists all")
    if json:
        terminal.print_json({"code": name, "text": pages[name]})
    else:
        print(pages[name].strip())
    return OK


def read_pages() -> dict[str, str]:
    """Code -> page, in the order of the codes."""
    directory = resources.files("mmo.cli").joinpath("pages")
    pages: dict[str, str] = {}
    for file in sorted(directory.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".md"):
            for page in file.read_text(encoding="utf-8").split("\n# ")[0:]:
                text = "# " + page.removeprefix("# ")
                pages[text.split(maxsplit=2)[1]] = text.strip() + "\n"
    return dict(sorted(pages.items()))
