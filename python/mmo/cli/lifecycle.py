"""`start`, `stop`, `kill`: the life of a cluster on this machine.

Owns the spawning of the supervisor and the waiting for it. The supervisor does the work. Called by
the operator and by scripts.
"""

import contextlib
import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from mmo.cli import terminal
from mmo.cli.options import (
    HOME,
    ConfigOption,
    HomeOption,
    JsonOption,
    YesOption,
    config_text,
    effective_text,
    load_next,
    open_home,
)
from mmo.cli.rim import OK, PARTIAL
from mmo.cli.status import read_status, refuse_while_alive, silence_told, unwatched_error
from mmo.cluster.control import NotRunning, ask, ask_long
from mmo.cluster.home import ClusterFile, Home, is_store, unwatched
from mmo.errors import OperatorError

ANSWER_S = 2.0
START_S = 120.0  # longest wait for the end of a start that another one began
STOPPED_S = 10.0  # longest wait for the supervisor's own end
SETTLED_S = 5.0  # longest wait for a look that finds all of them ready at once
STARTED_S = 30.0  # longest wait for nodes that are started again
SOCKET_S = 40.0  # longest wait until a new supervisor answers; longer where it ends leftovers first


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(start)
    app.command()(stop)
    app.command()(kill)


def start(
    home: HomeOption = HOME,
    config: ConfigOption = None,
    json: JsonOption = False,
    channels: Annotated[
        int | None, typer.Option("--channels", min=1, max=14, help="Number of channel servers.")
    ] = None,
    follow: Annotated[
        int, typer.Option("--follow", help="Stop when the process with this pid ends.")
    ] = 0,
    yes: YesOption = False,
) -> int:
    """Start stores, schema and nodes; returns when every node is ready."""
    place = Home(home)
    running = _supervisor_status(place)
    if running is None:
        before = place.read()
        _refuse_to_interrupt(before, yes, json)
        loaded = load_next(config, home)
        # What is wrong with the configuration or its content is said before anything is spawned.
        from mmo.cli.sources import read_tables
        from mmo.cluster.leftovers import longest_s

        for entry in loaded.config.nodes:
            loaded.for_node(entry)
        read_tables(loaded.config)
        text = effective_text(config, home)
        began = time.monotonic()
        if not json:
            print(f"\n  mmo-cluster   profile {loaded.config.cluster.profile}   home {home}\n")
        silent_s = SOCKET_S + longest_s(place, before)
        child = _spawn_supervisor(place, text, channels, follow)
        _await_start(place, child, silent_s, quiet=json)
        if not json:
            print(f"\n  ready in {time.monotonic() - began:.1f} s", end="")
            print("        next: mmo-cluster bot --journey tour --count 20\n")
    else:
        _refuse_other_config(place, config)
        if channels is not None:
            raise OperatorError(
                "E0729", "the cluster runs already", f"mmo-cluster scale channel={channels}"
            )
        _start_missing(place, running, quiet=json)
    # One look at a busy machine may come when a node is slow to answer.
    status = _ready_status(place, SETTLED_S)
    if json:
        terminal.print_json(status)
    return OK if status["ready"] else PARTIAL


def stop(
    nodes: Annotated[list[str] | None, typer.Argument(help="Only these nodes.")] = None,
    home: HomeOption = HOME,
    config: ConfigOption = None,
    json: JsonOption = False,
    wipe: Annotated[bool, typer.Option("--wipe", help="Remove all data after.")] = False,
    yes: YesOption = False,
) -> int:
    """Drain, flush and stop; the stores last."""
    if wipe and nodes:
        raise typer.BadParameter("--wipe removes the whole home: name no nodes")
    place, file = _opened(home)
    if wipe and not terminal.confirm(f"remove all data in {place.directory}?", yes):
        raise OperatorError(
            "E0710", "--wipe removes every player of this home", "add --yes to say so"
        )
    began = time.monotonic()
    is_held = False
    with contextlib.ExitStack() as held:
        try:
            reply = _ask_to_stop(place, file, nodes or [])
        except NotRunning:
            file = place.read()  # raises what is wrong with it
            refuse_while_alive(file)
            if nodes and (left := unwatched(file)):
                raise unwatched_error(left) from None
            if file is not None:
                # Until the end: no start runs beside that still ends the same, or begins anew.
                held.callback(os.close, place.lock())
                is_held = True
            if nodes or file is None:
                reply = {"stopped": [], "unflushed": 0, "killed": []}
            else:
                reply = _stop_leftovers(place, file, quiet=json)
            if not reply["stopped"] and not wipe:
                raise
        if not nodes:
            _await_end(file)
        if wipe:
            if not is_held:
                held.callback(os.close, _lock_of_what_stopped(place))
            _wipe(place)
    if json:
        terminal.print_json(reply)
    else:
        text = " ".join(reply["stopped"]) or "nothing ran"
        terminal.step("stopped", text, time.monotonic() - began)
        if reply.get("killed"):
            print(f"     did not end by themselves and were killed: {' '.join(reply['killed'])}")
    return PARTIAL if reply["unflushed"] or reply.get("killed") else OK


def _ask_to_stop(place: Home, file: ClusterFile | None, nodes: list[str]) -> dict[str, Any]:
    from mmo.cluster.patience import stop_s

    request = {"ask": "stop", "nodes": nodes}
    return ask_long(place.socket("supervisor", file), request, stop_s(place, file, nodes))


def _lock_of_what_stopped(place: Home) -> int:
    """Hold a home whose supervisor answered that it stops, or that has none. Raises `OperatorError`
    E0716 when another start came in between: its data must not be removed."""
    from mmo.cluster.process import wait_until

    place.create()
    locks: list[int] = []

    def is_ours() -> bool:
        with contextlib.suppress(OperatorError):
            locks.append(place.lock())
        return bool(locks)

    return locks[0] if wait_until(is_ours, STOPPED_S) else place.lock()


def _wipe(place: Home) -> None:
    left = " ".join(str(path) for path in place.wipe())
    if left:
        raise OperatorError(
            "E0735",
            f"stopped, and of the home there stays what cannot be removed: {left}",
            f"ls -ld {left} shows whose it is; then mmo-cluster stop --wipe again",
        )


def kill(
    name: Annotated[str, typer.Argument(help="A node, mysql, or redis-1 to redis-6.")],
    home: HomeOption = HOME,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """kill -9 of one process; the supervisor repairs it."""
    place, file = open_home(home)
    with silence_told(place):
        reply = ask(place.socket("supervisor", file), {"ask": "kill", "name": name}, ANSWER_S)
    if json:
        terminal.print_json(reply)
    else:
        print(f"  killed {reply['name']}, pid {reply['pid']}")
    return OK


def _supervisor_status(place: Home) -> dict[str, Any] | None:
    """None when there is no supervisor. Raises `OperatorError` E0728 when it lives and is silent: a
    second one would be refused."""
    file = place.read()
    if file is None:
        return None
    try:
        return ask(place.socket("supervisor", file), {"ask": "ping"}, ANSWER_S)
    except NotRunning:
        refuse_while_alive(place.read())  # as it is by now: it may have ended meanwhile
        return None


def _refuse_to_interrupt(file: ClusterFile | None, yes: bool, quiet: bool) -> None:
    """Nodes that serve on without a supervisor can only be started anew. Who sits at a terminal is
    asked, whatever takes the output; a script that starts what died, as an init system does, goes
    on and is told. Raises `OperatorError` E0733 when the answer is no, or nobody can be asked."""
    left = unwatched(file)
    serving = " ".join(name for name in left if not is_store(name))
    if not serving:
        return
    if not (yes or terminal.is_script()):
        if not terminal.sees_questions():
            raise unwatched_error(left, "add --yes when players may be interrupted")
        question = f"end {serving}, which go on without a supervisor, and start anew?"
        if not terminal.answer(question):
            raise unwatched_error(left)
    if not quiet:
        print(f"  the supervisor is gone: {serving} are ended and started anew", flush=True)


def _refuse_other_config(place: Home, config: Path | None) -> None:
    """Raises `OperatorError` E0731 when a running cluster is to start by another file than it did:
    it would go on as before, without a word."""
    file, text = place.read(), config_text(config)
    if text and file is not None and text != file.config_file:
        raise OperatorError(
            "E0731",
            f"the cluster runs by {file.config_file or 'the defaults'}, not by {text}",
            "mmo-cluster stop, then start again",
        )


def _ready_status(place: Home, longest_s: float) -> dict[str, Any]:
    """The status once all nodes are ready; what it is by then after `longest_s`."""
    from mmo.cluster.process import wait_until

    status: dict[str, Any] = {}

    def is_ready() -> bool:
        status.update(read_status(place, place.read()))
        return bool(status["ready"])

    wait_until(is_ready, longest_s)
    return status


def _not_ready(status: dict[str, Any]) -> list[str]:
    """Names of the nodes and stores that are not."""
    nodes = [row["name"] for row in status["nodes"] if not row["ready"]]
    return nodes + [name for name, row in status["stores"].items() if not row.get("ready")]


def _start_missing(place: Home, running: dict[str, Any], quiet: bool) -> None:
    """The cluster runs already: start the nodes that were stopped or given up, and wait."""
    from mmo.cluster.process import wait_until

    path = place.socket("supervisor", place.read())
    if running["state"] == "starting":
        wait_until(lambda: ask(path, {"ask": "ping"}, ANSWER_S)["state"] != "starting", START_S)
    began = time.monotonic()
    started = ask(path, {"ask": "start"}, ANSWER_S)["started"]
    if not quiet:
        print(f"  already running, supervisor {running['pid']}")
    if started:
        status = _ready_status(place, STARTED_S)
        if not status["ready"]:
            raise OperatorError(
                "E0709",
                f"not ready within {STARTED_S:.0f} s: {', '.join(_not_ready(status))}",
                "mmo-cluster status",
            )
        if not quiet:
            terminal.step("nodes", " ".join(started), time.monotonic() - began)


def _spawn_supervisor(place: Home, config: str, channels: int | None, follow: int) -> Any:
    from mmo.cluster.process import Child, python_module

    place.create()
    command = [*python_module("mmo.cli.supervise"), "--home", str(place.directory)]
    command += ["--config", config] if config else []
    command += ["--channels", str(channels)] if channels is not None else []
    command += ["--follow", str(follow)] if follow else []
    return Child(command, place.logs / "supervisor.log", dies_with_parent=False)


def _await_start(place: Home, child: Any, silent_s: float, quiet: bool) -> None:
    """Print steps as the supervisor tells them, until all is ready. Raises what made it fail, E0711
    when it says nothing for `silent_s`."""
    shown = 0
    silent_since = time.monotonic()
    while True:
        file = place.read()
        reply = None
        if file is not None and file.supervisor is not None and file.supervisor.pid == child.pid:
            reply = _progress(place, shown)
        if reply is None:
            if not child.is_running() or time.monotonic() - silent_since > silent_s:
                raise OperatorError(
                    "E0711",
                    "the supervisor did not start:\n" + child.log_tail(3),
                    f"read {place.logs / 'supervisor.log'}",
                )
            time.sleep(0.02)
            continue
        silent_since = time.monotonic()
        for step in reply["steps"]:
            shown += 1
            if not quiet:
                terminal.step(step["step"], step["text"], step["seconds"])
        if reply["failure"]:
            from mmo.cluster.patience import stop_s

            failure = reply["failure"]
            # What it had started is stopped again; then all is as before.
            child.wait(stop_s(place, file))
            raise OperatorError(failure["code"], failure["cause"], failure["fix"])
        if reply["state"] == "ready":
            return
        if reply["state"] == "stopping":
            raise OperatorError("E0711", "it was stopped while it started", "mmo-cluster start")
        time.sleep(0.02)


def _progress(place: Home, shown: int) -> dict[str, Any] | None:
    file = place.read()
    try:
        path = place.socket("supervisor", file)
        return ask(path, {"ask": "progress", "after": shown}, ANSWER_S)
    except NotRunning:
        return None


def _opened(home: Path) -> tuple[Home, ClusterFile | None]:
    """The home, and its file unless that is damaged: the supervisor can be asked all the same, and
    writes the file anew as it ends."""
    try:
        return open_home(home)
    except OperatorError as fault:
        if fault.code != "E0717":
            raise
        return Home(home), None


def _await_end(file: ClusterFile | None) -> None:
    """The supervisor is gone, not only silent: what follows may remove its files."""
    from mmo.cluster.process import is_alive, wait_until

    supervisor = file.supervisor if file is not None else None
    if supervisor is not None:
        wait_until(lambda: not is_alive(supervisor), STOPPED_S)
        refuse_while_alive(file)


def _stop_leftovers(place: Home, file: ClusterFile, quiet: bool) -> dict[str, Any]:
    """End what a killed supervisor left: nodes first, then stores. Answers as a supervisor does."""
    from mmo.cluster.leftovers import end_leftovers

    left = unwatched(file)
    if left and not quiet:
        print(f"  the supervisor is gone: {' '.join(left)} are drained and ended", flush=True)
    ended = end_leftovers(place, file)
    file.processes = {}
    file.supervisor = None
    place.write(file)
    unflushed = len(ended.killed_nodes)
    return {"stopped": ended.names, "unflushed": unflushed, "killed": ended.killed}
