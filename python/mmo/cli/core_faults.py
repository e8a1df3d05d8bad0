"""What the Rust core refuses at a start, as an operator can mend it.

Owns the translation: an address that cannot be listened on is told with its key and who has it, a
wrong setting with its section. Called by `node_runner`.
"""

import re

from mmo.cluster.home import NodePorts
from mmo.cluster.listeners import who_listens
from mmo.config import Config
from mmo.errors import ConfigError, OperatorError

_ADDRESS = re.compile(r"address (?P<host>.*):(?P<port>\d+)(?P<datagrams>/udp)?: (?P<why>.*)")
_SETTING = re.compile(r"setting (?P<field>\w+): (?P<why>.*)", re.S)
_TAKEN = "(os error 98)"  # EADDRINUSE
_FORBIDDEN = "(os error 13)"  # EACCES
_ELSEWHERE = "(os error 99)"  # EADDRNOTAVAIL
_TLS_FILES = ("tls_certificate_file", "tls_key_file")


def operator_error(fault: Exception, config: Config, ports: NodePorts) -> OperatorError | None:
    """What to tell of a `CoreError`: `OperatorError` E0732 for an address, `ConfigError` E0109 or
    E0104 for a setting; None for what no operator brought about, or what passes by itself, such as
    a name that nobody resolves just now."""
    if address := _ADDRESS.fullmatch(str(fault)):
        return _not_listening(address, ports)
    if setting := _SETTING.fullmatch(str(fault)):
        return _wrong_setting(setting["field"], setting["why"], config)
    return None


def _not_listening(address: re.Match[str], ports: NodePorts) -> OperatorError | None:
    port, datagrams = int(address["port"]), bool(address["datagrams"])
    tcp_key = "link_port" if port == ports.link_port else "client_port"
    key = "datagram_port" if datagrams else tcp_key
    host_key = "cluster.link_host" if key == "link_port" else "cluster.host"
    cause = f"{ports.name} cannot listen on {address['host']} port {port} ({key})"
    entry = f"{key} of its [[nodes]] entry"
    if _TAKEN in address["why"]:
        who = who_listens(port, datagrams=datagrams)
        return OperatorError(
            "E0732", f"{cause}: {who} has it", f"stop that, or set {entry}; then mmo-cluster start"
        )
    if _FORBIDDEN in address["why"]:
        return OperatorError("E0732", f"{cause}: {address['why']}", f"set {entry} to 1024 or more")
    if _ELSEWHERE not in address["why"]:
        return None
    return OperatorError(
        "E0732",
        f"{cause}: {address['why']}",
        f"set {host_key} to an address of this machine; mmo-cluster doctor",
    )


def _wrong_setting(field: str, why: str, config: Config) -> ConfigError:
    sections = ("net", "links", "datagram", "token")
    name = next((one for one in sections if hasattr(getattr(config, one), field)), "")
    key = f"{name}.{field}" if name else field
    if field in _TLS_FILES:
        files = f"{config.net.tls_certificate_file} with {config.net.tls_key_file}"
        return ConfigError(
            "E0109",
            f"{key}: clients cannot be served {files}: {why}",
            "net.tls_certificate_file and net.tls_key_file are PEM, the key without a password",
        )
    return ConfigError("E0104", f"{key}: {why}", "mmo-cluster config --origin shows whence it is")
