"""The options that every command takes, and what they lead to.

Owns `--home`, `--config`, `--json` and `--yes`. Reads the configuration when asked. Called by the
command groups.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmo.cluster.home import ClusterFile, Home
from mmo.errors import OperatorError

if TYPE_CHECKING:
    from mmo.config.load import Loaded

HomeOption = Annotated[
    Path, typer.Option("--home", help="Where the cluster lives.", envvar="MMO_HOME")
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="A TOML file that overlays the defaults.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]

HOME = Path(".mmo")


def open_home(directory: Path) -> tuple[Home, ClusterFile]:
    """The home of a cluster that was started. Raises `OperatorError` E0701 when there is none."""
    home = Home(directory)
    file = home.read()
    if file is None:
        raise OperatorError("E0701", f"no cluster in {home.directory}", "mmo-cluster start")
    return home, file


def load(config: Path | None, home: Path) -> "Loaded":
    """The configuration of `--config`; without it, that by which the home's cluster runs, or ran
    last."""
    return _loaded(config_text(config) or config_in_use(home))


def load_next(config: Path | None, home: Path) -> "Loaded":
    """The configuration of a start: of `--config`; without it, the file of the home's last start as
    it is now."""
    return _loaded(effective_text(config, home))


def effective_text(config: Path | None, home: Path) -> str:
    """The file of `--config`; without it, that of the home's last start; empty for none."""
    file = Home(home).read() if config is None else None
    return config_text(config) or (file.config_file if file is not None else "")


def config_in_use(home: Path) -> str:
    """The file by which the home's cluster runs, or ran last; empty for none."""
    place = Home(home)
    return place.config_in_use(place.read())


def _loaded(text: str) -> "Loaded":
    from mmo.config.load import load_config

    return load_config(Path(text) if text else None)


def refuse_config(config: Path | None) -> None:
    """For a command whose clusters have a configuration of their own: to take another one and not
    heed it would prove the wrong thing."""
    if config is not None:
        raise typer.BadParameter("--config: it configures the clusters that it starts itself")


def config_text(config: Path | None) -> str:
    """The file as other processes are told it: absolute, empty for none."""
    return str(config.absolute()) if config is not None else ""
