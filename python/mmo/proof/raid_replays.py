"""The proof of the replay: raids repeat bit for bit elsewhere, and a tampered score is named.

Owns the series of scripted raids, played and repeated in processes of their own under different
hash seeds, the raids of real players on the cluster, and the lie that it plants by direct SQL and
takes back. The battle is never computed here: the product's own command says what it finds.
"""

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from mmo.errors import OperatorError
from mmo.proof.arena import Arena
from mmo.proof.economy_books import Books
from mmo.proof.raid_books import FINISHED
from mmo.proof.raids import END_S, Raiders
from mmo.proof.verdict import Trial

RAIDS, RAIDS_SHORT = 10_000, 400
FIRST_SEED = 1
SERIES_S = 900.0
REPLAY_S = 300.0
RAIDERS = 8


async def replays(arena: Arena, trial: Trial, short: bool) -> None:
    """A series of scripted raids, then those of players on the cluster, then a lie."""
    await _series(trial, RAIDS_SHORT if short else RAIDS)
    books = Books(arena)
    if arena.own or not await asyncio.to_thread(_finished, books):
        raiders = Raiders(arena, RAIDERS, seed=81)
        try:
            await raiders.begin()
            fleet = await raiders.end(END_S)
        finally:
            await raiders.abandon()
        for text in fleet.meter.findings:
            trial.found(f"bot {text}")
    await _cluster(arena, trial, books)
    await _lie(arena, trial, books)


async def _python(*words: str, hash_seed: int) -> Any:
    """Run the series in a fresh process under a hash seed; returns what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mmo.testing.measured.raid_series", *words),
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(SERIES_S):
            out, err = await process.communicate()
    except BaseException:
        if process.returncode is None:
            process.kill()
        raise
    if process.returncode:
        raise OperatorError("E0790", f"{words[0]}: {err.decode(errors='replace')[-800:]}")
    return json.loads(out)


async def _series(trial: Trial, count: int) -> None:
    """Play so many raids, then repeat them under another hash seed. Two halves run side by side."""
    half = count // 2
    with tempfile.TemporaryDirectory(prefix="mmo-replay-") as directory:
        files = [str(Path(directory) / name) for name in ("first", "second")]
        starts = [FIRST_SEED, FIRST_SEED + half]
        played = await asyncio.gather(
            *(
                _python("play", file, str(start), str(half), hash_seed=number)
                for number, (file, start) in enumerate(zip(files, starts, strict=True), 1)
            )
        )
        repeated = await asyncio.gather(
            *(_python("replay", file, hash_seed=number) for number, file in enumerate(files, 1_001))
        )
    ends: dict[str, int] = {}
    for once, again in zip(played, repeated, strict=True):
        trial.expect(again["raids"] == half, f"{again['raids']} of {half} raids were repeated")
        trial.expect(once["digest"] == again["digest"], "the results that were kept are others")
        for text in again["findings"]:
            trial.found(text)
        for reason, times in again["reasons"].items():
            ends[reason] = ends.get(reason, 0) + times
    ticks = sum(again["ticks"] for again in repeated)
    inputs = sum(again["inputs"] for again in repeated)
    trial.expect(len(ends) >= 3, f"the script reached only the ends {ends}")
    trial.expect(inputs > count, "hardly anybody fought")
    trial.tried(
        f"{2 * half} raids of {2 * half} seeds with {inputs} inputs in {ticks} ticks, repeated in "
        "fresh processes under other hash seeds: "
        + ("all the same" if not any(again["findings"] for again in repeated) else "NOT the same")
    )
    trial.figure("series_raids", 2 * half)
    trial.figure("series_ticks", ticks)
    trial.figure("series_inputs", inputs)
    trial.figure("series_ends", ends)


def _finished(books: Books) -> list[tuple[int, int, int]]:
    """Raid, user and score of members of finished raids, the highest number first."""
    rows = books.rows(
        "SELECT m.raid, m.user_id, m.score FROM raid_member m JOIN raid r ON r.raid = m.raid "
        "WHERE r.state = %s ORDER BY m.raid DESC, m.seat",
        FINISHED,
    )
    return [(int(raid), int(user), int(score)) for raid, user, score in rows]


async def _cluster(arena: Arena, trial: Trial, books: Books) -> None:
    """Every finished raid of the cluster replays."""
    count = len({raid for raid, _, _ in await asyncio.to_thread(_finished, books)})
    answer = await arena.command("replay", "--all", deadline_s=REPLAY_S, accept=(0, 1))
    trial.expect(count > 0, "no raid of players finished on the cluster")
    trial.expect(answer["replayed"] >= count, f"{answer['replayed']} of {count} were replayed")
    for one in answer["wrong"]:
        trial.found(f"raid {one['raid']}: {'; '.join(one['findings'])}")
    trial.tried(f"{answer['replayed']} raids of players on the cluster replayed")
    trial.figure("cluster_raids", answer["replayed"])


async def _lie(arena: Arena, trial: Trial, books: Books) -> None:
    """A score changed by direct SQL is named by the replay and by the audit; then it is taken
    back."""
    (raid, user, score), *_ = await asyncio.to_thread(_finished, books)
    change = "UPDATE raid_member SET score = %s WHERE raid = %s AND user_id = %s"
    await asyncio.to_thread(books.rows, change, score + 1, raid, user)
    try:
        answer = await arena.command("replay", str(raid), accept=(0, 1))
        named = [text for text in answer["findings"] if f"score of user {user} " in text]
        trial.expect(not answer["holds"] and bool(named), f"a changed score of raid {raid} passed")
        report = await arena.command("audit", deadline_s=60, accept=(0, 1))
        found = {one["check"] for one in report.get("findings", ()) if one["user"] == user}
        trial.expect("raid-score" in found, f"the audit did not name user {user}: {report}")
    finally:
        await asyncio.to_thread(books.rows, change, score, raid, user)
    healed = await arena.command("replay", str(raid), accept=(0, 1))
    trial.expect(healed["holds"], f"raid {raid} does not replay once its score is right again")
    trial.tried(f"a score changed by direct SQL was named: {'; '.join(named) or 'no'}")
