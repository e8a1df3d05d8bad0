"""Log lines: one object a line, secrets struck out, files turned over.

Owns the questions about the form; where lines are written, the node's own tests ask.
"""

import json
from pathlib import Path

from mmo.log import open_log, without_secrets


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_line_when_written_then_is_one_object_with_the_same_first_keys(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    log = open_log("channel-1", level="info", path=str(path), bytes_max=1 << 20, files_kept=2)
    log.info("entered", conn=5, user=7, opcode=105, generation=1, name="이름\n\"'")
    log.debug("not told at this level")
    (line,) = lines_of(path)
    assert list(line)[:4] == ["time", "level", "event", "node"]
    assert (line["event"], line["node"], line["user"]) == ("entered", "channel-1", 7)
    assert line["name"] == "이름\n\"'"


def test_secret_when_logged_at_any_depth_then_is_struck_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    log = open_log("login-1", level="info", path=str(path), bytes_max=1 << 20, files_kept=2)
    log.warning("odd", password="hunter2", request={"session_token": "abc.def", "name": "a"})
    text = path.read_text(encoding="utf-8")
    assert "hunter2" not in text and "abc.def" not in text
    assert without_secrets({"link_secret": b"x", "user": 1}) == {"link_secret": "***", "user": 1}


def test_traceback_when_a_rule_raised_then_is_in_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    log = open_log("center-1", level="info", path=str(path), bytes_max=1 << 20, files_kept=2)
    try:
        raise KeyError("of the test")
    except KeyError as fault:
        log.error("rule failed", exc_info=fault)
    (line,) = lines_of(path)
    assert "KeyError: 'of the test'" in str(line["traceback"])


def test_file_when_it_is_full_then_is_turned_over_and_few_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    log = open_log("raid-1", level="info", path=str(path), bytes_max=400, files_kept=2)
    for number in range(40):
        log.info("tick", number=number)
    names = sorted(entry.name for entry in tmp_path.iterdir())
    assert names == ["a.jsonl", "a.jsonl.1", "a.jsonl.2"]
    kept = [line["number"] for name in reversed(names) for line in lines_of(tmp_path / name)]
    assert kept and kept == list(range(40))[-len(kept) :]
