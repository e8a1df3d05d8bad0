"""One load test from its start to its exit status: a cluster, the generator, charts, gates, report.

Owns the order of it. The generator is locust in a process of its own (`locustfile`); this one only
watches the nodes' figures meanwhile, does what a deploy does, and at the end asks for ghosts and
for the books. Called by `make load` and by a test: `python -m loadtest.run --profile NAME`. Exit 0
when every gate is held, 1 when one is not, 2 for a profile that there is not, 3 when the cluster of
a given home does not run.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from loadtest.gates import Gate, growth_mib, judge_after, judge_play, money_drift, rare_kinds
from loadtest.meter import BEGUN
from loadtest.profiles import Profile, Step, profile_named, read_profiles
from loadtest.report import charts, page, section
from loadtest.watch import Watch, ended, restarted
from mmo.cli import terminal
from mmo.errors import MmoError, OperatorError
from mmo.proof import live_code, origin
from mmo.proof.arena import LOOK_EVERY_S, Arena
from mmo.proof.bad_saves import DICE
from mmo.proof.load import who_is_left

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
OUT = Path("target/load")
FIRST_CHANNEL = 11
LOOK_AGAIN_S = 0.5
GONE_S = 30.0
"""Within this after the last user nothing of him is left."""
AUDIT_S = 300.0
RESTART_S = 300.0
GENERATION_S = 10.0
DRAINED = "channel-2"
END_S = 180.0
"""Beyond its time and what it may take to stop, the generator gets so long to come and go."""
FINDINGS_MAX = 20


class Outcome(msgspec.Struct):
    """A finished run, in the form of its JSON file."""

    name: str
    held: bool
    gates: list[Gate]
    findings: list[str]
    figures: dict[str, Any]


class Run:
    """One run. `home` None: on a cluster of its own, with as many channel servers as the profile
    says; else on the running one of that home, which is left as it is."""

    def __init__(self, profile: Profile, home: Path | None, words: Sequence[str] = ()) -> None:
        self.profile = profile
        self._words = words
        self._home = home.resolve() if home is not None else None
        self._findings: list[str] = []
        self._marks: list[tuple[float, str]] = []
        self._steps: list[dict[str, Any]] = []

    async def go(self, out: Path) -> Outcome:
        """Run, judge, and write `load-NAME.json` and `load-NAME.html` into `out`."""
        made = origin_of(self.profile, self._home, self._words)
        with tempfile.TemporaryDirectory(prefix="mmo-load-") as directory:
            scratch = Path(directory)
            overlay = nodes_overlay(self.profile.channels)
            if self._home is None and self.profile.steps_at:
                # the players here keep to the rates in the box
                overlay = live_code.prepare(scratch).replace(live_code.RATES, "") + overlay
            async with Arena(self._home, overlay) as arena:
                arena.file()
                watch = Watch(arena)
                before = await arena.status()
                seen, html = await self._play(arena, watch, scratch)
                after = await self._after(arena, watch, before)
        gates = [*judge_play(self.profile, seen), *judge_after(self.profile, after)]
        self._explain(gates, {**seen, **after})
        findings = [*self._findings, *seen.pop("findings")][:FINDINGS_MAX]
        by_second = seen.pop("by_second")
        outcome = Outcome(
            name=self.profile.name,
            held=all(gate.held for gate in gates),
            gates=gates,
            findings=findings,
            figures={**seen, **after, "load_average": list(os.getloadavg()), **made},
        )
        self._write(out, outcome, watch, by_second, html)
        return outcome

    def _write(
        self, out: Path, outcome: Outcome, watch: Watch, by_second: list[list[float]], html: str
    ) -> None:
        out.mkdir(parents=True, exist_ok=True)
        stem = out / f"load-{self.profile.name}"
        stem.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(outcome)))
        title = f"Load test {self.profile.name}: {self.profile.about}"
        drawn = charts(watch, by_second, self._marks)
        ours = section(title, outcome.gates, outcome.findings, drawn, self._marks)
        stem.with_suffix(".html").write_text(page(html, ours), encoding="utf-8")

    async def _play(self, arena: Arena, watch: Watch, scratch: Path) -> tuple[dict[str, Any], str]:
        """The generator from its first user to its last one; its figures and its report."""
        figures, html = scratch / "figures.json", scratch / "locust.html"
        command = [
            *(sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless"),
            *("--profile", self.profile.name, "--home", str(arena.home.directory)),
            *("--figures", str(figures), "--html", str(html), "--only-summary"),
        ]
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=LOCUSTFILE.parents[1],
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert process.stdout is not None
        beside: list[asyncio.Task[None]] = []
        said: list[str] = []
        try:
            async with asyncio.timeout(self.profile.time_s + self.profile.stop_s + END_S):
                async for line in process.stdout:
                    said.append(line.decode(errors="replace"))
                    if said[-1].strip() == BEGUN:
                        beside = [
                            asyncio.create_task(work) for work in (watch.run(), self._deploy(arena))
                        ]
                await process.wait()
            # What a deploy began is not cut off because its players have gone.
            await asyncio.gather(*beside[1:])
        finally:
            if process.returncode is None:
                process.kill()
            for task in beside:
                task.cancel()
            ended = await asyncio.gather(*beside, return_exceptions=True)
        faults = [one for one in ended if isinstance(one, Exception)]
        if faults:
            raise faults[0]
        if not figures.exists() or not html.exists():
            last = "".join(said)[-2000:]
            raise MmoError(f"the generator ended with {process.returncode}: {last}")
        return json.loads(figures.read_text(encoding="utf-8")), html.read_text(encoding="utf-8")

    async def _deploy(self, arena: Arena) -> None:
        """The steps of a deploy at their times, by the product's own commands. One that ends when
        the players leave, or later, was not done to them."""
        began_s = time.monotonic()
        for turn, step in enumerate(self.profile.steps_at, 1):
            await asyncio.sleep(max(0.0, began_s + step.at_s - time.monotonic()))
            at_s = time.monotonic() - began_s
            self._marks.append((at_s, step.does))
            try:
                fault = await self._do(arena, step, turn)
            except (MmoError, TimeoutError) as error:
                fault = str(error)
            ended_s = time.monotonic() - began_s
            if not fault and ended_s >= self.profile.time_s:
                fault = f"it ended after {ended_s:.0f} s, when the players had begun to leave"
            if fault:
                self._findings.append(f"{step.does} after {step.at_s:.0f} s: {fault}")
            else:
                self._marks.append((ended_s, f"{step.does} done"))
            times = {"began_s": round(at_s, 2), "ended_s": round(ended_s, 2)}
            self._steps.append({"does": step.does, **times, "done": not fault})

    def steps(self) -> dict[str, Any]:
        """The steps with their times, and how many were done while the players were there."""
        return {"steps": self._steps, "steps_done": sum(step["done"] for step in self._steps)}

    async def _do(self, arena: Arena, step: Step, turn: int) -> str:
        """One step; returns what went wrong, empty when nothing did."""
        if step.does == "reload":
            game = await live_code.game_of(arena)
            (game / DICE).write_text(live_code.RULES.format(word=turn), encoding="utf-8")
            said = await arena.command("reload", deadline_s=60, accept=(0, 4))
            if not said["changed"]:
                return "nothing changed"
            return await self._on_all_nodes(arena, int(said["generation"]))
        if step.does == "drain":
            return await self._drain(arena)
        before = {row["name"]: row["pid"] for row in (await arena.status())["nodes"]}
        said = await arena.command("restart", "--rolling", deadline_s=RESTART_S, accept=(0, 4))
        after = {row["name"]: row["pid"] for row in (await arena.status())["nodes"]}
        kept = [name for name, pid in after.items() if pid == before.get(name)]
        killed = [one["name"] for one in said["nodes"] if one["killed"]]
        return f"not replaced {kept}, did not end in order {killed}" if kept or killed else ""

    async def _drain(self, arena: Arena) -> str:
        """One server is emptied, stands still for a moment, and comes back."""
        await arena.command("drain", DRAINED, deadline_s=RESTART_S)
        left = await arena.node(DRAINED)
        await arena.command("start", deadline_s=RESTART_S)
        back = await arena.node(DRAINED)
        if left["ready"]:
            return f"{DRAINED} played on when it was drained"
        return "" if back["ready"] else f"{DRAINED} did not come back"

    async def _on_all_nodes(self, arena: Arena, generation: int) -> str:
        """The names of nodes that decide by other code. One that did not answer in time finds out
        by itself, at its next lease at the latest."""
        until_s, older = time.monotonic() + GENERATION_S, ["all"]
        while older and time.monotonic() < until_s:
            rows = (await arena.status())["nodes"]
            older = [row["name"] for row in rows if row["generation"] != generation]
            await asyncio.sleep(LOOK_EVERY_S)
        return f"generation {generation} is not on {' '.join(older)}" if older else ""

    def _explain(self, gates: list[Gate], told: dict[str, Any]) -> None:
        """Names for what is only counted in a gate that is not held."""
        missed = {gate.name for gate in gates if not gate.held}
        if "connections lost" in missed:
            self._findings += [f"{times} times: {text}" for text, times in told["lost"].items()]
        if missed & {"rare actions p99 ms", "rare actions longest ms"}:
            rare = rare_kinds(self.profile.gates, told["by_kind"])
            longest = {kind: told["by_kind"][kind]["max_ms"] for kind in sorted(rare)}
            self._findings.append(f"longest of the rare actions, ms: {longest}")
        for name, which in (
            ("tokens not honoured", "displaced"),
            ("answered with away", "refusals"),
            ("cut off amid a turn", "cut_off_amid"),
        ):
            if name in missed:
                self._findings.append(f"{name}: {told.get(which)}")
        for name, which in (("processes ended", "ended"), ("restarts unasked", "restarted")):
            if name in missed:
                self._findings.append(f"{name}: {' '.join(told[which])}")

    async def _after(self, arena: Arena, watch: Watch, before: dict[str, Any]) -> dict[str, Any]:
        """When all users are gone: who is left all the same, are the processes those of `before`,
        and do the books balance."""
        ghosts, took_s = await self._ghosts(arena, watch)
        now = await arena.status()
        audit = await arena.command("audit", deadline_s=AUDIT_S, accept=(0, 1))
        self._findings += [f"audit: {finding}" for finding in audit["findings"]]
        return {
            "ghosts": ghosts,
            "ghosts_gone_s": took_s,
            "players_max": watch.players_max,
            "money_drift": money_drift(audit) if audit["players"] else None,
            "audit_players": audit["players"],
            "audit_ledger_lines": audit["ledger_lines"],
            "growth_mib": growth_mib(watch.memory),
            "ended": ended(before, now),
            "restarted": restarted(before, now),
            **self.steps(),
            "nodes": {
                "messages_per_s_max": _tops(watch.rate("mmo_messages_total")),
                "commit_p99_ms_max": _tops(watch.percentile_ms(0.99, "mmo_commit_seconds")),
                "loop_lag_p99_ms_max": _tops(watch.percentile_ms(0.99, "mmo_loop_lag_seconds")),
                "relay_lag_p99_ms_max": _tops(watch.gauge("mmo_store_relay_lag_p99_ms")),
                "processors_max": _tops(watch.processors()),
            },
        }

    async def _ghosts(self, arena: Arena, watch: Watch) -> tuple[int | None, float]:
        """How many traces of users are left when they should be gone, and after how many seconds
        none was; None: a node did not tell."""
        began_s = time.monotonic()
        seats, connections, _ = await who_is_left(arena, GONE_S)
        held, silent = await watch.left()
        while (held or silent) and time.monotonic() - began_s < GONE_S:
            await asyncio.sleep(LOOK_AGAIN_S)
            held, silent = await watch.left()
        took_s = round(time.monotonic() - began_s, 2)
        if seats or connections or held:
            self._findings.append(f"left: seats {seats}, connections {connections}, {held}")
        if silent:
            self._findings.append(f"what is left was not told by {' '.join(silent)}")
            return None, took_s
        return sum(count for one in (seats, connections, held) for count in one.values()), took_s


def origin_of(profile: Profile, home: Path | None, words: Sequence[str]) -> dict[str, Any]:
    """Of which code, command, interpreter and limits a result is, and on which cluster it was made.
    The code is that of the generator too."""
    limits = hashlib.sha256(msgspec.json.encode(profile, order="sorted")).hexdigest()
    return {
        **origin.origin(),
        "code": origin.digest_of(origin.PACKAGE, origin.RUST, LOCUSTFILE.parent),
        "arguments": origin.arguments(["mmo-cluster", *words]),
        "cluster": "its own" if home is None else "a home",
        "profile": limits[:16],
    }


def nodes_overlay(channels: int) -> str:
    """The servers in the box with so many channel servers."""
    rows = [("login-1", "login", 1), ("center-1", "center", 2)]
    rows += [(f"channel-{n}", "channel", FIRST_CHANNEL + n - 1) for n in range(1, channels + 1)]
    rows += [("matching-1", "matching", 121), ("raid-1", "raid", 131), ("cash-1", "cash", 141)]
    return "".join(
        f'[[nodes]]\nname = "{name}"\nrole = "{role}"\nnumber = {number}\n'
        for name, role, number in rows
    )


def _tops(series: dict[str, list[tuple[float, float]]]) -> dict[str, float]:
    """The highest point of each line."""
    return {
        node: round(max(value for _, value in rows), 3) for node, rows in series.items() if rows
    }


def main(words: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.run", description=__doc__)
    parser.add_argument("--profile", default="plateau", help="A name of profiles.toml")
    parser.add_argument("--home", type=Path, help="A running cluster; without it, one of its own")
    parser.add_argument("--out", type=Path, default=OUT, help="Folder of the report")
    parser.add_argument("--list", action="store_true", help="Names of all profiles")
    given = parser.parse_args(words)
    if given.list:
        rows = [
            (one.name, one.shape, one.users, one.time_s, one.about)
            for one in read_profiles().values()
        ]
        terminal.print_table(("profile", "shape", "users", "seconds", "about"), rows)
        return 0
    try:
        profile = profile_named(given.profile)
    except ValueError as fault:
        print(fault, file=sys.stderr)
        return 2
    print(f"load {profile.name}: {profile.about}; {profile.users} users, {profile.time_s:.0f} s")
    try:
        told = sys.argv[1:] if words is None else words
        outcome = asyncio.run(Run(profile, given.home, told).go(given.out))
    except OperatorError as fault:
        print(fault, file=sys.stderr)
        return 3
    for text in outcome.findings:
        print(f"  {text}", file=sys.stderr)
    terminal.print_table(("gate", "found", "limit", ""), [gate.row() for gate in outcome.gates])
    print(f"report: {given.out / f'load-{profile.name}.html'}")
    with contextlib.suppress(BrokenPipeError):
        print("held" if outcome.held else "NOT HELD", flush=True)
    return 0 if outcome.held else 1


if __name__ == "__main__":
    sys.exit(main())
