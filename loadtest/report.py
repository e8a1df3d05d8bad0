"""The page of a load test: gates, the cluster's own charts, and locust's report beneath.

Owns the form of the page: one file, inline SVG, nothing fetched. Measures and judges nothing. Made
by `run` from locust's own HTML report, which it goes into.
"""

from collections.abc import Iterable, Sequence
from html import escape

from loadtest.gates import Gate
from loadtest.watch import Series, Watch

WIDTH, HEIGHT, LEFT, FOOT = 560, 170, 56, 20
COLOURS = (
    *("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b"),
    *("#e377c2", "#7f7f7f", "#bcbd22", "#17becf", "#393b79", "#637939"),
)
ROOT = '<div id="root">'
"""Where locust's page puts its own report."""
STYLE = """<style>
.mmo{font:14px system-ui,sans-serif;color:#222;background:#fff;padding:16px 24px}
.mmo table{border-collapse:collapse}.mmo td,.mmo th{padding:2px 14px 2px 0;text-align:left}
.mmo .no{color:#c00;font-weight:bold}.mmo figure{display:inline-block;margin:8px 12px 8px 0}
.mmo figcaption{font-weight:600}.mmo small{margin-right:10px}
</style>"""


def chart(title: str, series: Series, marks: Sequence[tuple[float, str]] = ()) -> str:
    """One figure: a line a node over the seconds of the run; `marks` are moments with a name."""
    points = [point for rows in series.values() for point in rows]
    if not points:
        return f"<figure><figcaption>{escape(title)}</figcaption>nothing was told</figure>"
    end = max(max(at for at, _ in points), 1.0)
    top = max(max(value for _, value in points), 1e-6)

    def x(at: float) -> float:
        return round(LEFT + (WIDTH - LEFT - 4) * at / end, 1)

    def y(value: float) -> float:
        return round(6 + (HEIGHT - FOOT - 6) * (1 - value / top), 1)

    drawn = [_line(LEFT, y(0), WIDTH, y(0)), _line(LEFT, y(top), WIDTH, y(top))]
    drawn += [_text(2, y(value) + 4, f"{value:.4g}") for value in (0.0, top / 2, top)]
    drawn += [_text(x(at) - 8, HEIGHT - 4, f"{at:.0f} s") for at in (0.0, end / 2, end * 0.97)]
    for at, name in marks:
        drawn += [_line(x(at), y(top), x(at), y(0)), _text(x(at) + 3, y(top) + 12, name)]
    names = []
    for number, (node, rows) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x(at)},{y(value)}" for at, value in rows)
        drawn.append(
            f'<polyline fill="none" stroke="{colour}" stroke-width="1.4" points="{path}"/>'
        )
        names.append(f'<small style="color:{colour}">■ {escape(node)}</small>')
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">'
        f"{''.join(drawn)}</svg><br>{''.join(names)}</figure>"
    )


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#ccc"/>'


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x}" y="{y}" font-size="11" fill="#666">{escape(text)}</text>'


def charts(
    watch: Watch, by_second: Sequence[Sequence[float]], marks: Sequence[tuple[float, str]]
) -> Iterable[tuple[str, Series]]:
    """What is charted, by title: the players' side first, then every node's."""
    yield "users", {"users": [(row[0], row[1]) for row in by_second]}
    yield "answers a second", {"answers": [(row[0], row[2]) for row in by_second]}
    yield "latency p99 by second, ms", {"p99": [(row[0], row[3]) for row in by_second]}
    yield "messages a second", watch.rate("mmo_messages_total")
    yield "commit p50, ms", watch.percentile_ms(0.5, "mmo_commit_seconds")
    yield "commit p99, ms", watch.percentile_ms(0.99, "mmo_commit_seconds")
    yield "wait for the event loop p99, ms", watch.percentile_ms(0.99, "mmo_loop_lag_seconds")
    yield "connections", watch.gauge("mmo_connections")
    yield "players owned", watch.gauge("mmo_players")
    yield "rooms", watch.gauge("mmo_rooms")
    waiting = ("mmo_core_inbound_waiting", "mmo_commits_waiting")
    yield "waiting: inbound queue and commits", watch.gauge(*waiting)
    yield "readers stopped at high water, a second", watch.rate("mmo_core_reader_waits_total")
    yield "relay lag p99: cache behind the truth, ms", watch.gauge("mmo_store_relay_lag_p99_ms")
    yield "processors in use", watch.processors()
    yield "memory of the process, MiB", watch.memory


def section(
    title: str,
    gates: Sequence[Gate],
    findings: Sequence[str],
    drawn: Iterable[tuple[str, Series]],
    marks: Sequence[tuple[float, str]],
) -> str:
    """Everything of ours."""
    rows = "".join(
        f"<tr{'' if gate.held else ' class=no'}>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in gate.row())
        + "</tr>"
        for gate in gates
    )
    told = "".join(f"<li>{escape(text)}</li>" for text in findings)
    figures = "".join(chart(name, series, marks) for name, series in drawn)
    return (
        f'{STYLE}<div class="mmo"><h1>{escape(title)}</h1>'
        f"<table><tr><th>gate</th><th>found</th><th>limit</th><th></th></tr>{rows}</table>"
        f"<ul>{told}</ul><h2>The cluster in these minutes</h2>{figures}</div>"
    )


def page(locust_html: str, ours: str) -> str:
    """Locust's report with our section before it. Raises `ValueError` when it is no such report."""
    head, found, rest = locust_html.rpartition(ROOT)
    if not found:
        raise ValueError(f"locust's report has no {ROOT}")
    return head + ours + found + rest
