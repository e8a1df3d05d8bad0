"""Which of the token keys signs: chosen by the operator, and by nothing else.

Owns the files and the command; that servers believe each other is tested with the core.
"""

import json
import os
from pathlib import Path

import pytest

from mmo.cli.rim import FAILED, OK, USAGE, run_guarded
from mmo.cluster.home import Home
from mmo.cluster.secret_files import (
    SIGNING_FILE,
    add_token_key,
    choose_token_key,
    ensure_secrets,
    read_secrets,
    token_kids,
    too_open,
)
from mmo.config.load import load_config
from mmo.errors import ConfigError

CONFIG = load_config(environment={}).config


def test_which_key_signs_does_not_follow_from_the_times_of_the_files(tmp_path: Path) -> None:
    """A backup that is brought back, or a copy, has others."""
    home = Home(tmp_path)
    ensure_secrets(home, CONFIG)
    (old,) = token_kids(home.secrets)
    new = add_token_key(home.secrets)
    for newest_kid, oldest_kid in ((new, old), (old, new)):
        os.utime(home.secrets / f"token-{newest_kid}.pem", (2_000_000_000, 2_000_000_000))
        os.utime(home.secrets / f"token-{oldest_kid}.pem", (1_000_000_000, 1_000_000_000))
        assert read_secrets(home, CONFIG).signing_kid == old
    choose_token_key(home.secrets, new)
    secrets = read_secrets(home, CONFIG)
    assert secrets.signing_kid == new
    assert [kid for kid, _ in secrets.token_keys] == sorted((old, new))
    assert too_open(home) == []


def test_several_keys_and_no_choice_or_a_choice_that_is_gone_are_refused(tmp_path: Path) -> None:
    home = Home(tmp_path)
    ensure_secrets(home, CONFIG)
    (old,) = token_kids(home.secrets)
    assert read_secrets(home, CONFIG).signing_kid == old, "the only key needs no choice"
    new = add_token_key(home.secrets)
    (home.secrets / SIGNING_FILE).unlink()
    with pytest.raises(ConfigError, match="2 token keys and no file token-signing") as refused:
        read_secrets(home, CONFIG)
    assert refused.value.code == "E0111" and old in refused.value.fix
    with pytest.raises(ConfigError, match="E0111"):
        add_token_key(home.secrets)
    choose_token_key(home.secrets, new)
    (home.secrets / f"token-{new}.pem").unlink()
    with pytest.raises(ConfigError, match=f"names '{new}'") as refused:
        read_secrets(home, CONFIG)
    assert refused.value.code == "E0111"
    with pytest.raises(ConfigError, match="E0111"):
        choose_token_key(home.secrets, new)


def test_the_command_adds_a_key_that_verifies_and_then_lets_it_sign(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home(tmp_path)
    ensure_secrets(home, CONFIG)

    def said(*arguments: str) -> dict[str, object]:
        assert run_guarded(("keys", *arguments, "--json", "--home", str(tmp_path))) == OK
        found: dict[str, object] = json.loads(capsys.readouterr().out)
        return found

    (old,) = token_kids(home.secrets)
    assert said() == {"signs": old, "keys": [old], "added": ""}
    new = str(said("--add")["added"])
    assert said() == {"signs": old, "keys": sorted((old, new)), "added": ""}
    assert said("--sign", new)["signs"] == new
    assert run_guarded(("keys", "--home", str(tmp_path))) == OK
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [new, "signs"] in lines and [old, "verifies"] in lines


def test_the_command_refuses_both_at_once_and_a_key_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home(tmp_path)
    ensure_secrets(home, CONFIG)
    assert run_guarded(("keys", "--add", "--sign", "x", "--home", str(tmp_path))) == USAGE
    assert run_guarded(("keys", "--sign", "x", "--home", str(tmp_path))) == FAILED
    assert "E0111" in capsys.readouterr().err
    assert len(token_kids(home.secrets)) == 1
