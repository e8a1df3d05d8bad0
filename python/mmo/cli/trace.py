"""`trace --user ID`: one player's messages through all nodes, live.

Owns the rhythm of asking and the print; each node follows the player by itself and stops by itself
when nobody asks any more. Called by the operator.
"""

import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from mmo.cli import terminal
from mmo.cli.options import HOME, ConfigOption, HomeOption, JsonOption, open_home
from mmo.cli.rim import OK
from mmo.cluster.control import NotRunning, ask
from mmo.cluster.home import Home
from mmo.errors import OperatorError

ANSWER_S = 1.0
READ_S = 0.2
KEPT_MS = 3_000  # a node follows for so long after the last question


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(trace)


def trace(
    user: Annotated[int, typer.Option("--user", min=1, help="User id.")],
    home: HomeOption = HOME,
    config: ConfigOption = None,
    json: JsonOption = False,
    length: Annotated[str, typer.Option("--for", help="How long, such as 10s.")] = "10s",
) -> int:
    """Follow one player: node, message, waits, times, outcome, generation."""
    from mmo.cli.durations import seconds_of

    place, _ = open_home(home)
    end = time.monotonic() + seconds_of(length)
    lost: dict[str, int] = {}
    if not json:
        print(_HEAD)
    asked = 0
    try:
        while True:
            events, answered = _read(place, user, KEPT_MS, lost)
            asked = max(asked, answered)
            if not asked:
                raise NotRunning(place.cluster_file)
            _show(events, json)
            if time.monotonic() >= end:
                break
            time.sleep(READ_S)
    finally:
        events, _ = _read(place, user, 0, lost)
        _show(events, json)
    for name, count in lost.items():
        if count and not json:
            print(f"  {name}: {count} messages came faster than they were read and are missing")
    return OK


def _read(
    place: Home, user: int, for_ms: int, lost: dict[str, int]
) -> tuple[list[dict[str, Any]], int]:
    """What all nodes saw since the last time, in the order of their clocks, and how many answered.
    A node that does not answer is asked again next time."""
    events: list[dict[str, Any]] = []
    answered = 0
    file = place.read()
    for node in file.nodes if file is not None else ():
        question = {"ask": "trace", "user": user, "for_ms": for_ms}
        try:
            said = ask(place.socket(node.name, file), question, ANSWER_S)
        except NotRunning:
            continue
        except OperatorError:
            if for_ms:
                raise
            continue
        answered += 1
        lost[node.name] = max(lost.get(node.name, 0), said["lost"])
        events += [{"node": node.name, **event} for event in said["events"]]
    return sorted(events, key=lambda event: event["time_ns"]), answered


_HEAD = (
    f"{'time':<15} {'node':<11} {'message':<18} {'seq':>6} {'operation':<12}"
    f" {'wait µs':>9} {'decide µs':>9} {'commit µs':>10} {'reply µs':>10}  gen  outcome"
)


def _show(events: list[dict[str, Any]], json: bool) -> None:
    for event in events:
        if json:
            terminal.print_json(event)
            continue
        when = datetime.fromtimestamp(event["time_ns"] / 1e9, UTC).strftime("%H:%M:%S.%f")
        operation = "-".join(map(str, event["op"])) if event["op"] else "-"
        print(
            f"{when:<15} {event['node']:<11} {event['opcode']:<18} {event['seq']:>6}"
            f" {operation:<12} {_us(event['lane_wait_us']):>9} {_us(event['decide_us']):>9}"
            f" {_us(event['commit_us']):>10} {_us(event['reply_us']):>10}"
            f"  {event['generation']:>3}  {event['outcome']}",
            flush=True,
        )


def _us(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
