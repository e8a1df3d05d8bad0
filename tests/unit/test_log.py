"""Log files: turned over at their size, and never the end of a process."""

import json
import logging
import os
from pathlib import Path

import pytest

from mmo.log import LogFile, collect_records, open_log


def lines_of(path: Path) -> list[str]:
    return [json.loads(line)["event"] for line in path.read_text("utf-8").splitlines()]


def test_file_when_it_is_full_is_turned_over_and_old_ones_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "node.jsonl"
    log = open_log("node", level="info", path=str(path), bytes_max=1, files_kept=2)
    for event in ("first", "second", "third"):
        log.info(event)
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "node.jsonl",
        "node.jsonl.1",
        "node.jsonl.2",
    ]
    assert lines_of(tmp_path / "node.jsonl.1") == ["third"]
    assert lines_of(tmp_path / "node.jsonl.2") == ["second"]


@pytest.mark.parametrize("failing", ["replace", "fstat"])
def test_file_when_it_cannot_be_turned_over_costs_no_process_and_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = tmp_path / "node.jsonl"
    log = open_log("node", level="info", path=str(path), bytes_max=40, files_kept=5)

    def fails(*_: object) -> None:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as broken:
        broken.setattr(os, failing, fails)
        for event in ("turned", "lost"):
            log.info(event)
    log.info("later")
    everything = [event for each in sorted(tmp_path.iterdir()) for event in lines_of(each)]
    assert "later" in everything and "turned" in everything


def test_line_when_it_has_half_a_character_is_written_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "node.jsonl"
    LogFile(str(path), 1_000, 1).write("a name \ud800\n")
    assert path.read_text("utf-8") == "a name \\ud800\n"


def test_record_of_logging_is_a_line_of_the_node_and_small_talk_of_libraries_is_not(
    tmp_path: Path,
) -> None:
    path = tmp_path / "node.jsonl"
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        log = open_log("node", level="info", path=str(path), bytes_max=9_999, files_kept=1)
        collect_records(log)
        logging.getLogger("mmo.store").info("the board of season %d was filled", 3)
        logging.getLogger("driver").info("hello")
        try:
            raise ValueError("odd")
        except ValueError:
            logging.getLogger("driver").exception("it failed")
    finally:
        root.handlers[:], root.level = before
    told = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [(one["level"], one["event"], one["logger"], one["text"]) for one in told] == [
        ("info", "record", "mmo.store", "the board of season 3 was filled"),
        ("error", "record", "driver", "it failed"),
    ]
    assert "ValueError: odd" in told[1]["traceback"]


def test_line_when_a_log_carries_keys_then_has_them_until_they_change(tmp_path: Path) -> None:
    path = tmp_path / "node.jsonl"
    log = open_log("node", level="info", path=str(path), bytes_max=9_999, files_kept=1)
    for generation in (1, 2):
        log.carry(generation=generation)
        log.info("link up", peer=3)
    told = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [(one["node"], one["generation"], one["peer"]) for one in told] == [
        ("node", 1, 3),
        ("node", 2, 3),
    ]
