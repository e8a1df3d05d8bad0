"""Read the configuration: `default.toml`, then the operator's file, then the environment.

Owns the overlay, where each value came from, the relations between values and the redacted print.
Never holds a default and never reads a secret. Called by `cli` and by the supervisor, which hand
values down.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec

from mmo.config import Config, NodeEntry
from mmo.errors import ConfigError

ENVIRONMENT_PREFIX = "MMO__"

Tree = dict[str, Any]
Relation = tuple[str, bool]  # what must hold, in words, and whether it does


class Loaded(msgspec.Struct, frozen=True):
    """A checked configuration, the tree it came from, and the origin of each value by its path.
    `overlay`: what the operator's file said, the game's folder absolute."""

    config: Config
    tree: Tree
    origins: dict[str, str]  # "net.idle_ms" -> "default.toml", a file name or a variable name
    overlay: Tree = {}

    def for_node(self, entry: NodeEntry) -> Config:
        """The configuration as one node sees it: with the `override` tables of its entry."""
        if not entry.override:
            return self.config
        tree = _copied(self.tree)
        for section, values in entry.override.items():
            if section in ("cluster", "nodes") or section not in tree:
                raise ConfigError(
                    "E0102",
                    f"nodes.{entry.name}.override.{section} cannot be overridden by a node",
                    "override one of: " + ", ".join(sorted(set(tree) - {"cluster", "nodes"})),
                )
            tree[section] = _overlaid(tree[section], values)
        config = _converted(tree, {}, f"nodes.{entry.name}.override")
        check_relations(config)
        return config


def load_config(file: Path | None = None, environment: Mapping[str, str] | None = None) -> Loaded:
    """Overlay, convert and check. Raises `ConfigError` (E0101..E0108) naming file and key."""
    text = resources.files("mmo").joinpath("default.toml").read_text(encoding="utf-8")
    tree: Tree = tomllib.loads(text)
    origins = {path: "default.toml" for path, _ in _leaves(tree)}
    overlay: Tree = {}
    if file is not None:
        overlay = _read(file)
        _refuse_unknown(tree, overlay, str(file))
        overlay = _game_placed(overlay, file)
        tree = _overlaid(tree, overlay)
        origins.update({path: str(file) for path, _ in _leaves(overlay)})
    for name, text in sorted((os.environ if environment is None else environment).items()):
        if name.startswith(ENVIRONMENT_PREFIX):
            path = _set_from_environment(tree, name, text)
            origins[path] = name
    config = _converted(tree, origins, "")
    check_relations(config)
    return Loaded(config, tree, origins, overlay)


def node_entry(config: Config, role: str, number: int) -> NodeEntry:
    """The entry of a server number. Raises `ConfigError` E0106 when missing or of another role."""
    for entry in config.nodes:
        if entry.number == number:
            if entry.role != role:
                raise ConfigError(
                    "E0106",
                    f"server number {number} is {entry.name}, a {entry.role}, not a {role}",
                    f"mmo-cluster run {entry.role} --number {number}",
                )
            return entry
    raise ConfigError(
        "E0106",
        f"no server with number {number} in [[nodes]]",
        f'add [[nodes]] name = "{role}-{number}" role = "{role}" number = {number}',
    )


def redacted(loaded: Loaded) -> dict[str, tuple[Any, str]]:
    """Path -> (value, origin), in the order of the file. Secrets are files: only paths show."""
    return {
        path: (value, loaded.origins.get(path, "default.toml"))
        for path, value in _leaves(loaded.tree)
    }


def check_relations(config: Config) -> None:
    """Raise `ConfigError` E0104 for values that contradict each other, E0105 for duplicates, E0107
    for a production profile that would run on development secrets."""
    for name, holds in (*_net_relations(config), *_other_relations(config)):
        if not holds:
            raise ConfigError("E0104", f"the configuration must keep {name}", "change one of them")
    _check_nodes(config)
    if config.cluster.profile == "production":
        _check_production(config)


def _net_relations(config: Config) -> tuple[Relation, ...]:
    net = config.net
    return (
        ("net.ring_bytes >= 4 + net.frame_bytes_max", net.ring_bytes >= 4 + net.frame_bytes_max),
        (
            "net.frame_unproved_bytes_max <= net.frame_bytes_max",
            net.frame_unproved_bytes_max <= net.frame_bytes_max,
        ),
        (
            "net.inbound_low_water < net.inbound_high_water",
            net.inbound_low_water < net.inbound_high_water,
        ),
        (
            "net.inbound_high_water <= net.inbound_events_max",
            net.inbound_high_water <= net.inbound_events_max,
        ),
        (
            "net.connections_unproved_max <= net.connections_max",
            net.connections_unproved_max <= net.connections_max,
        ),
        ("net.frame_ms <= net.idle_ms", net.frame_ms <= net.idle_ms),
        ("net.bytes_burst_max >= net.frame_bytes_max", net.bytes_burst_max >= net.frame_bytes_max),
        (
            "net.outbox_bytes_max >= net.frame_bytes_max",
            net.outbox_bytes_max >= net.frame_bytes_max,
        ),
        (
            "net.tls_certificate_file and net.tls_key_file are set together",
            bool(net.tls_certificate_file) == bool(net.tls_key_file),
        ),
        (
            "token.token_bytes_max + 6 <= net.frame_unproved_bytes_max",
            config.token.token_bytes_max + 6 <= net.frame_unproved_bytes_max,
        ),
    )


def _other_relations(config: Config) -> tuple[Relation, ...]:
    links, node, supervisor = config.links, config.node, config.supervisor
    return (
        (
            "cluster.advertised_host or cluster.host an address that clients can dial, not"
            " all addresses of a machine",
            not _is_any(config.cluster.told_host),
        ),
        (
            "cluster.link_host an address that servers can dial, not all addresses of a machine",
            not _is_any(config.cluster.link_host),
        ),
        (
            "links.heartbeat_ms * 2 < links.heartbeat_lost_ms",
            links.heartbeat_ms * 2 < links.heartbeat_lost_ms,
        ),
        ("links.redial_ms_min <= links.redial_ms_max", links.redial_ms_min <= links.redial_ms_max),
        (
            "links.link_outbox_bytes_max >= links.link_frame_bytes_max",
            links.link_outbox_bytes_max >= links.link_frame_bytes_max,
        ),
        (
            "node.lease_renew_ms * 2 < node.lease_fence_ms",
            node.lease_renew_ms * 2 < node.lease_fence_ms,
        ),
        ("node.lease_fence_ms < node.lease_ms", node.lease_fence_ms < node.lease_ms),
        ("node.lease_renew_ms * 2 < node.lease_ms / 2", node.lease_renew_ms * 4 < node.lease_ms),
        ("mysql.call_ms <= node.lease_ms / 2", config.mysql.call_ms * 2 <= node.lease_ms),
        ("reload.hold_ms < node.lease_fence_ms", config.reload.hold_ms < node.lease_fence_ms),
        (
            "supervisor.restart_ms_min <= supervisor.restart_ms_max",
            supervisor.restart_ms_min <= supervisor.restart_ms_max,
        ),
        (
            "cash.tls_certificate_file and cash.tls_key_file are set together",
            bool(config.cash.tls_certificate_file) == bool(config.cash.tls_key_file),
        ),
        (
            "mysql.wait_ms <= mysql.call_ms",
            config.mysql.wait_ms <= config.mysql.call_ms,
        ),
        (
            "mysql.server_connections_max >= 10 + nodes * mysql.connections_max",
            config.mysql.is_external
            or config.mysql.server_connections_max
            >= 10 + len(config.nodes) * config.mysql.connections_max,
        ),
    )


def _check_nodes(config: Config) -> None:
    seen: dict[object, str] = {}
    for entry in config.nodes:
        keys = [("number", entry.number), ("name", entry.name)]
        listens = (entry.client_port, entry.link_port, entry.metrics_port)
        keys += [("port", port) for port in listens if port > 0]
        keys += [("datagram port", entry.datagram_port)] * (entry.datagram_port > 0)
        for key in keys:
            if key in seen:
                raise ConfigError(
                    "E0105",
                    f"nodes.{entry.name}: {key[0]} {key[1]} is taken by {seen[key]}",
                    "every server needs a number, a name and ports of its own",
                )
            seen[key] = entry.name


def _check_production(config: Config) -> None:
    required = {
        "links.secret_file": config.links.secret_file,
        "token.key_directory": config.token.key_directory,
        "login.pepper_file": config.login.pepper_file,
        "cash.payment_secret_file": config.cash.payment_secret_file,
        "cash.tls_certificate_file": config.cash.tls_certificate_file,
        "economy.roll_secret_file": config.economy.roll_secret_file,
        "mysql.password_file": config.mysql.password_file,
        "redis.password_file": config.redis.password_file,
    }
    for path, value in required.items():
        if not value:
            raise ConfigError(
                "E0107",
                f"profile production refuses the generated development secret of {path}",
                f'set {path} to a file or directory with mode 0600, or profile = "dev"',
            )
    if config.node.failpoints:
        raise ConfigError(
            "E0107", "profile production refuses node.failpoints", "set failpoints = false"
        )
    if config.node.clock_offset_ms:
        raise ConfigError(
            "E0107", "profile production refuses node.clock_offset_ms", "set clock_offset_ms = 0"
        )
    if not is_loopback(config.cluster.host) and not config.net.tls_certificate_file:
        raise ConfigError(
            "E0107",
            f"profile production refuses plain TCP on {config.cluster.host}",
            "set net.tls_certificate_file and net.tls_key_file",
        )
    if config.mysql.host and not is_loopback(config.mysql.host) and not config.mysql.tls_ca_file:
        raise ConfigError(
            "E0107",
            f"profile production refuses plain TCP to the database at {config.mysql.host}",
            "set mysql.tls_ca_file",
        )


def _is_any(host: str) -> bool:
    """Whether an address stands for all of a machine: it can be bound, and dialled by nobody."""
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether an address can only be reached from this machine."""
    return host in ("localhost", "::1") or host.startswith("127.")


def _read(file: Path) -> Tree:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            "E0101", f"cannot read {file}: {error.strerror}", "give an existing file to --config"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError("E0101", f"{file} is not TOML: {error}", "mend that line") from error


def _game_placed(overlay: Tree, file: Path) -> Tree:
    """A game's folder in a file is meant from where that file lies."""
    game = overlay.get("game")
    given = game.get("path") if isinstance(game, dict) else ""
    if not (isinstance(given, str) and given):
        return overlay
    path = str((file.absolute().parent / given).resolve())
    return _overlaid(overlay, {"game": {"path": path}})


def _refuse_unknown(known: Tree, given: Tree, file: str, prefix: str = "") -> None:
    for key, value in given.items():
        path = f"{prefix}{key}"
        if key not in known:
            near = _nearest(key, list(known))
            raise ConfigError(
                "E0102",
                f"unknown key {path} in {file}",
                f"did you mean {prefix}{near}?" if near else "see mmo-cluster config for all keys",
            )
        if not isinstance(known[key], dict):
            continue
        if not isinstance(value, dict):
            raise ConfigError(
                "E0103",
                f"{path} in {file} is a section, not {value!r}",
                f"write [{path}] and below it its keys, such as {next(iter(known[key]))} = …",
            )
        _refuse_unknown(known[key], value, file, f"{path}.")


def _nearest(key: str, known: list[str]) -> str:
    from difflib import get_close_matches

    return next(iter(get_close_matches(key, known, n=1)), "")


def _set_from_environment(tree: Tree, name: str, text: str) -> str:
    keys = [part.lower() for part in name[len(ENVIRONMENT_PREFIX) :].split("__")]
    node: Any = tree
    for key in keys[:-1]:
        node = node.get(key) if isinstance(node, dict) else None
    last = keys[-1]
    if not isinstance(node, dict) or last not in node or isinstance(node[last], dict):
        raise ConfigError(
            "E0108",
            f"{name} names no key of the configuration",
            "the form is MMO__SECTION__KEY, such as MMO__NET__IDLE_MS",
        )
    node[last] = text if isinstance(node[last], str) else _toml_value(name, text)
    return ".".join(keys)


def _toml_value(name: str, text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        parsed = {}
    if set(parsed) != {"value"}:
        raise ConfigError("E0103", f"{name}={text!r} is no single TOML value", "quote it")
    return parsed["value"]


def _converted(tree: Tree, origins: Mapping[str, str], where: str) -> Config:
    try:
        return msgspec.convert(tree, Config)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$.")
        path = path.rstrip("`")
        code = "E0102" if "unknown field" in text else "E0103"
        origin = where or origins.get(path, "the configuration")
        raise ConfigError(
            code, f"{path or 'configuration'} in {origin}: {text}", "see mmo-cluster config"
        ) from error


def _overlaid(below: Tree, above: Tree) -> Tree:
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        both = isinstance(value, dict) and isinstance(old, dict)
        result[key] = _overlaid(old, value) if both and isinstance(old, dict) else value
    return result


def _copied(tree: Tree) -> Tree:
    return {
        key: _copied(value) if isinstance(value, dict) else value for key, value in tree.items()
    }


def _leaves(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
