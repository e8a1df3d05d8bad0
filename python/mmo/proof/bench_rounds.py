"""Rotating rounds: every contender runs once a round, beside the floor of the same round.

Owns the fairness: order rotates, ratios are taken within a round, the median of the rounds is the
figure and the extremes are shown. A round whose generator was the bottleneck is void and repeated.
Called by the network benches.
"""

from collections.abc import Callable, Sequence
from statistics import median

import msgspec

from mmo.proof.bench_process import Load, Server, generate

ROUNDS = 5
VOID_ROUNDS_MAX = 10

Report = Callable[[str], None]


class Contender(msgspec.Struct, frozen=True):
    """One server under the same load. `options` go to the generator as they are."""

    name: str
    server: Server
    options: dict[str, object]


class Figures(msgspec.Struct, frozen=True):
    """One contender over all valid rounds; `ratio*` against the first contender, the floor."""

    name: str
    us_per_message: float  # median processor time of all threads, microseconds
    messages_per_s: float
    ratio: float
    ratio_least: float
    ratio_most: float
    messages_total: int  # sent in all windows, void ones and warm-ups included
    received_total: int  # answered in them
    windows: int
    loads: tuple[Load, ...]  # of the valid rounds

    def summary(self) -> dict[str, object]:
        """For the `more` of a result."""
        return {
            "us_per_message": round(self.us_per_message, 4),
            "messages_per_s": round(self.messages_per_s),
            "ratio": round(self.ratio, 3),
            "ratio_least": round(self.ratio_least, 3),
            "ratio_most": round(self.ratio_most, 3),
            "p99_ms": round(median([load.p99_ms for load in self.loads] or [0.0]), 3),
            "generator_busy": round(
                median([load.generator_busy for load in self.loads] or [0.0]), 3
            ),
        }


def rotate(
    contenders: Sequence[Contender], window_s: float, report: Report, label: str
) -> tuple[list[Figures], int]:
    """Run all rounds; the figures in the order given and how many rounds were void."""
    rounds: list[dict[str, Load]] = []
    attempts = 0
    every: list[dict[str, Load]] = []
    while len(rounds) < ROUNDS and attempts < ROUNDS + VOID_ROUNDS_MAX:
        first = attempts % len(contenders)
        order = [*contenders[first:], *contenders[:first]]
        loads: dict[str, Load] = {}
        for contender in order:
            report(f"{label}: round {len(rounds) + 1} of {ROUNDS}, {contender.name}")
            load = generate(contender.server, for_=window_s, warm=0.3, **contender.options)
            loads[contender.name] = load
        attempts += 1
        every.append(loads)
        if any(load.void for load in loads.values()):
            continue
        rounds.append(loads)
    void = attempts - len(rounds)
    return [figures(contenders, at, rounds, every) for at in range(len(contenders))], void


def figures(
    contenders: Sequence[Contender],
    at: int,
    rounds: Sequence[dict[str, Load]],
    every: Sequence[dict[str, Load]],
) -> Figures:
    """Median and extremes of one contender; all zero when no round was valid."""
    name = contenders[at].name
    floor = contenders[0].name
    loads = [loads[name] for loads in rounds]
    ratios = [cost(one[name]) / cost(one[floor]) for one in rounds] or [0.0]
    return Figures(
        name=name,
        us_per_message=median([cost(load) for load in loads] or [0.0]),
        messages_per_s=median([load.messages_per_s for load in loads] or [0.0]),
        ratio=median(ratios),
        ratio_least=min(ratios),
        ratio_most=max(ratios),
        messages_total=sum(one[name].sent_total for one in every),
        received_total=sum(one[name].received_total for one in every),
        windows=len(every),
        loads=tuple(loads),
    )


def cost(load: Load) -> float:
    """Processor microseconds of the server a message."""
    assert load.server_us_per_message is not None
    return load.server_us_per_message
