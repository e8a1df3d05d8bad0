"""The configuration: overlay, refusal by path, relations, production, the reference file."""

from pathlib import Path

import pytest

from mmo.config import ROLES
from mmo.config.load import is_loopback, load_config, node_entry, redacted
from mmo.errors import ConfigError


def overlay(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "cluster.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_reference_alone_is_valid_and_names_six_roles() -> None:
    config = load_config(environment={}).config
    assert {entry.role for entry in config.nodes} == {
        "login", "center", "channel", "matching", "raid", "cash",
    }  # fmt: skip
    assert sum(entry.role == "channel" for entry in config.nodes) == 2


def test_a_file_overlays_and_the_environment_overlays_the_file(tmp_path: Path) -> None:
    file = overlay(tmp_path, "[net]\nidle_ms = 70000\nframe_ms = 9000\n")
    loaded = load_config(file, {"MMO__NET__IDLE_MS": "80000", "HOME": "/nowhere"})
    assert loaded.config.net.idle_ms == 80_000
    assert loaded.config.net.frame_ms == 9_000
    assert loaded.origins["net.idle_ms"] == "MMO__NET__IDLE_MS"
    assert loaded.origins["net.frame_ms"] == str(file)
    assert loaded.origins["net.prove_ms"] == "default.toml"


def test_text_from_the_environment_needs_no_quotes() -> None:
    loaded = load_config(environment={"MMO__LOG__LEVEL": "debug", "MMO__RATE__HIT__PER_S": "7.5"})
    assert loaded.config.log.level == "debug"
    assert loaded.config.rate.hit.per_s == 7.5


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("[net]\nidle_mss = 1\n", "E0102", "net.idle_mss"),
        ("[nett]\nidle_ms = 1\n", "E0102", "nett"),
        ("[net]\nidle_ms = 'long'\n", "E0103", "net.idle_ms"),
        ("[net]\nidle_ms = true\n", "E0103", "net.idle_ms"),
        ("game = 'mine'\n", "E0103", "game in "),
        ("net = 5\n", "E0103", "net in "),
        ("[[net]]\nidle_ms = 70000\n", "E0103", "net in "),
        ("[net]\nidle_ms = 0\n", "E0103", "net.idle_ms"),
        ("[net]\nidle_ms = -5\n", "E0103", "net.idle_ms"),
        ("[net]\nidle_ms = 9223372036854775808\n", "E0103", "net.idle_ms"),
        ("[cluster]\nprofile = 'prod'\n", "E0103", "cluster.profile"),
        ("[net\n", "E0101", "not TOML"),
        ("[net]\nring_bytes = 100\n", "E0104", "net.ring_bytes"),
        ("[net]\ninbound_low_water = 12288\n", "E0104", "inbound_low_water"),
        ("[node]\nlease_fence_ms = 6000\n", "E0104", "lease_fence_ms"),
        ("[net]\ntls_key_file = 'k.pem'\n", "E0104", "tls_certificate_file"),
        ("[mysql]\nserver_connections_max = 20\n", "E0104", "server_connections_max"),
        ("[cluster]\nhost = '0.0.0.0'\n", "E0104", "cluster.host"),
        ("[cluster]\nadvertised_host = '::'\n", "E0104", "cluster.advertised_host"),
        ("[cluster]\nlink_host = '0.0.0.0'\n", "E0104", "cluster.link_host"),
        ("nodes = [{name = 'x', role = 'login', number = 0}]\n", "E0103", "nodes"),
        ("nodes = [{name = 'x', role = 'wizard', number = 1}]\n", "E0103", "nodes"),
        ("nodes = [{name = 'X y', role = 'raid', number = 1}]\n", "E0103", "nodes"),
        ("nodes = [{name = 'x', role = 'raid', number = 1, colour = 1}]\n", "E0102", "colour"),
    ],
)
def test_what_is_wrong_is_refused_by_code_and_path(
    tmp_path: Path, text: str, code: str, words: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config(overlay(tmp_path, text), {})
    assert refused.value.code == code
    assert words in refused.value.cause


def test_a_misspelt_key_is_answered_with_the_right_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config(overlay(tmp_path, "[net]\nidel_ms = 1\n"), {})
    assert "net.idle_ms" in refused.value.fix


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("MMO__NET__NOTHING", "1", "E0108"),
        ("MMO__NET", "1", "E0108"),
        ("MMO__NOWHERE__IDLE_MS", "1", "E0108"),
        ("MMO__NET__IDLE_MS", "soon", "E0103"),
        ("MMO__NET__IDLE_MS", "1\nnet = 2", "E0103"),
    ],
)
def test_a_variable_that_fits_nothing_is_refused(name: str, text: str, code: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config(environment={name: text})
    assert refused.value.code == code


@pytest.mark.parametrize(
    "second",
    [
        "name = 'b'\nrole = 'channel'\nnumber = 11\n",
        "name = 'a'\nrole = 'channel'\nnumber = 12\n",
        "name = 'b'\nrole = 'channel'\nnumber = 12\nlink_port = 9001\n",
    ],
)
def test_two_servers_never_share_number_name_or_port(tmp_path: Path, second: str) -> None:
    first = "name = 'a'\nrole = 'channel'\nnumber = 11\nclient_port = 9001\n"
    with pytest.raises(ConfigError) as refused:
        load_config(overlay(tmp_path, f"[[nodes]]\n{first}[[nodes]]\n{second}"), {})
    assert refused.value.code == "E0105"


def test_a_second_channel_server_is_four_lines(tmp_path: Path) -> None:
    text = "[[nodes]]\nname = 'channel-9'\nrole = 'channel'\nnumber = 19\n"
    config = load_config(overlay(tmp_path, text), {}).config
    assert [entry.number for entry in config.nodes] == [19]
    assert node_entry(config, "channel", 19).name == "channel-9"
    for role, number in (("raid", 19), ("channel", 20)):
        with pytest.raises(ConfigError) as refused:
            node_entry(config, role, number)
        assert refused.value.code == "E0106"


def test_a_node_may_differ_only_where_it_says_so(tmp_path: Path) -> None:
    text = (
        "[[nodes]]\nname = 'a'\nrole = 'login'\nnumber = 1\n"
        "[nodes.override.net]\nidle_ms = 12345\nframe_ms = 1000\n"
        "[[nodes]]\nname = 'b'\nrole = 'center'\nnumber = 2\n"
    )
    loaded = load_config(overlay(tmp_path, text), {})
    first, second = loaded.config.nodes
    assert loaded.for_node(first).net.idle_ms == 12_345
    assert loaded.for_node(second).net.idle_ms == loaded.config.net.idle_ms == 60_000


@pytest.mark.parametrize(
    ("section", "line", "code"),
    [("cluster", "name = 'other'", "E0102"), ("net", "idle_ms = 0", "E0103"),
     ("net", "ring_bytes = 1", "E0104"), ("net", "colour = 1", "E0102")],
)  # fmt: skip
def test_an_override_is_checked_like_everything(
    tmp_path: Path, section: str, line: str, code: str
) -> None:
    text = (
        f"[[nodes]]\nname = 'a'\nrole = 'login'\nnumber = 1\n[nodes.override.{section}]\n{line}\n"
    )
    loaded = load_config(overlay(tmp_path, text), {})
    with pytest.raises(ConfigError) as refused:
        loaded.for_node(loaded.config.nodes[0])
    assert refused.value.code == code


PRODUCTION = """
[cluster]
profile = "production"
[links]
secret_file = "link"
[token]
key_directory = "keys"
[login]
pepper_file = "pepper"
[cash]
payment_secret_file = "payment"
tls_certificate_file = "chain"
tls_key_file = "key"
[economy]
roll_secret_file = "roll"
[mysql]
password_file = "mysql"
[redis]
password_file = "redis"
"""


def test_the_file_for_production_has_all_that_production_asks_for() -> None:
    loaded = load_config(Path(__file__).parents[2] / "deploy" / "production.toml", {})
    assert loaded.config.cluster.profile == "production"
    assert loaded.config.cluster.host == "0.0.0.0" and loaded.config.net.tls_certificate_file


def test_the_file_for_many_machines_is_whole_with_what_each_machine_has_of_its_own() -> None:
    deploy = Path(__file__).parents[2] / "deploy"
    lines = (deploy / "systemd" / "machine.env").read_text(encoding="utf-8").splitlines()
    own = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    config = load_config(deploy / "many-machines.toml", own).config
    assert config.cluster.profile == "production" and config.cluster.host == "10.0.0.1"
    assert {node.role for node in config.nodes} == set(ROLES)
    unit = (deploy / "systemd" / "mmo-channel-1.service").read_text(encoding="utf-8")
    assert any(f"run {node.role} --number {node.number} " in unit for node in config.nodes)


def test_production_starts_only_with_secrets_of_its_own(tmp_path: Path) -> None:
    load_config(overlay(tmp_path, PRODUCTION), {})
    for line in PRODUCTION.splitlines():
        if line.endswith(
            (
                *('_file = "link"', '"keys"', '"pepper"', '"mysql"', '"redis"', '"payment"'),
                '"roll"',
            )
        ):
            with pytest.raises(ConfigError) as refused:
                load_config(overlay(tmp_path, PRODUCTION.replace(line, "")), {})
            assert refused.value.code == "E0107"


@pytest.mark.parametrize(
    "more",
    [
        "[node]\nfailpoints = true\n",
        "[node]\nclock_offset_ms = -2000\n",
        "[net]\n[cluster.x]\n",
    ],
)
def test_production_refuses_failpoints_wrong_clocks_and_nonsense(tmp_path: Path, more: str) -> None:
    with pytest.raises(ConfigError):
        load_config(overlay(tmp_path, PRODUCTION + more), {})


def test_production_refuses_plain_tcp_beyond_this_machine(tmp_path: Path) -> None:
    for changed in (
        PRODUCTION.replace('profile = "production"', 'profile = "production"\nhost = "10.0.0.5"'),
        PRODUCTION.replace("[mysql]", '[mysql]\nhost = "10.0.0.5"'),
    ):
        with pytest.raises(ConfigError) as refused:
            load_config(overlay(tmp_path, changed), {})
        assert refused.value.code == "E0107"


def test_the_print_holds_every_key_and_no_secret() -> None:
    loaded = load_config(environment={})
    shown = redacted(loaded)
    assert set(shown) == set(loaded.origins)
    assert not [path for path in shown if "password" in path and not path.endswith(SHOWN)]


SHOWN = ("_file", "_threads", "_kib", "_passes", "_nice")


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True),
     ("10.0.0.1", False), ("0.0.0.0", False), ("example.org", False)],
)  # fmt: skip
def test_loopback_is_told_from_the_world(host: str, local: bool) -> None:
    assert is_loopback(host) == local
