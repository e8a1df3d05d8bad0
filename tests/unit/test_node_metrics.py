"""The figures of a node: distributions, the text of a scrape, the listener."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.unit.node_game import messages as m
from tests.unit.node_game.roles import CHANNEL

from mmo.node.exposition import GAUGES, MEASURES, Snapshot, render
from mmo.node.metrics import BOUNDS, Metrics
from mmo.node.scrape import REQUEST_BYTES_MAX, Scrape
from mmo.testing.world import World

GAME = "tests.unit.node_game"


def figures(text: bytes) -> dict[tuple[str, str], float]:
    """Every figure by its name and the value of its own label, as Prometheus itself reads them."""
    found: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            own = [sample.labels[key] for key in sample.labels if key not in ("node", "role")]
            assert (sample.name, "".join(own)) not in found, "a figure is told twice"
            found[sample.name, "".join(own)] = sample.value
    return found


def test_samples_are_counted_into_classes_with_their_weight() -> None:
    metrics = Metrics()
    for value, weight in ((0.1, 1), (0.5, 1), (0.6, 3), (1e9, 1)):
        metrics.sample("commit_ms", value, weight)
    told = metrics.samples["commit_ms"].distribution
    assert told.bounds == BOUNDS["commit_ms"]
    assert (told.counts[0], told.counts[1], told.counts[-1]) == (2, 3, 1)
    assert told.sum == pytest.approx(0.6 + 1.8 + 1e9)


def test_a_scrape_tells_every_figure_in_whole_units(world: Callable[..., World]) -> None:
    game = world(CHANNEL, systems_package=GAME)
    player = game.player("Ann")
    assert player.asks(m.Echo("hi")) == m.Echoed("hi", 1)
    player.asks(m.Buy(player.operation(), 5))
    player.asks(m.Buy(player.operation(), 0))
    game.engine.metrics.sample("commit_ms", 250.0)
    found = figures(render(game.node.snapshot()))
    assert found["mmo_messages_total", str(m.ECHO)] == 1
    assert found["mmo_messages_total", str(m.BUY)] == 2
    assert found["mmo_refusals_total", "cooldown"] == 1
    assert found["mmo_commit_seconds_count", ""] == 2
    assert found["mmo_commit_seconds_bucket", "0.5"] == 2
    assert found["mmo_commit_seconds_bucket", "0.2"] == 1
    assert found["mmo_commit_seconds_sum", ""] == pytest.approx(0.25, abs=0.1)
    assert found["mmo_players", ""] == found["mmo_ready", ""] == 1
    assert found["mmo_generation", ""] == game.settings.generation
    names = {name for name, _ in found}
    assert {f"mmo_{name}" for name in GAUGES} <= names
    assert {"mmo_decide_seconds_bucket", "mmo_loop_lag_seconds_bucket"} <= names


def test_a_scrape_tells_whether_the_supervisor_is_gone(world: Callable[..., World]) -> None:
    game = world(CHANNEL, systems_package=GAME)
    assert figures(render(game.node.snapshot()))["mmo_supervisor_away", ""] == 0
    game.node.is_unwatched = lambda: True
    assert figures(render(game.node.snapshot()))["mmo_supervisor_away", ""] == 1


def empty() -> Snapshot:
    return Snapshot("a-1", "a", {}, {}, {}, {}, {"closed_idle_total": 2, "connections": 1}, {})


def test_a_scrape_before_anything_happened_has_all_families() -> None:
    found = figures(render(empty()))
    assert found["mmo_core_closed_total", "idle"] == 2
    assert found["mmo_core_connections", ""] == 1
    assert found["mmo_node_rules_raised_total", ""] == 0
    for measure in MEASURES:
        name = measure.replace("_us", "_seconds").replace("_ms", "_seconds")
        assert found[f"mmo_{name}_count", ""] == 0


class Quiet:
    def warning(self, event: str, **keys: object) -> None:
        raise AssertionError((event, keys))


@pytest.fixture
async def port() -> AsyncIterator[int]:
    scrape = Scrape("127.0.0.1", 0, empty, Quiet())
    yield await scrape.start()
    await scrape.stop()


async def said(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    writer.write_eof()
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


async def test_the_listener_answers_metrics_and_nothing_else(port: int) -> None:
    answer = await said(port, b"GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK") and b"text/plain" in head
    assert figures(body)["mmo_core_closed_total", "idle"] == 2
    assert b" 404 " in await said(port, b"GET / HTTP/1.1\r\n\r\n")
    assert b" 405 " in await said(port, b"POST /metrics HTTP/1.1\r\n\r\n")


@pytest.mark.parametrize("request_text", [b"", b"\x00" * 64, b"A" * (2 * REQUEST_BYTES_MAX)])
async def test_the_listener_closes_on_what_is_no_request(port: int, request_text: bytes) -> None:
    with contextlib.suppress(ConnectionError):  # reset: what was sent was not read
        assert await said(port, request_text) == b""
    assert b" 200 OK" in await said(port, b"GET /metrics HTTP/1.0\r\n\r\n")


async def test_a_taken_port_is_a_line_in_the_log_and_no_end() -> None:
    lines: list[str] = []

    class Log:
        def warning(self, event: str, **keys: object) -> None:
            lines.append(event)

    first = Scrape("127.0.0.1", 0, empty, Quiet())
    port = await first.start()
    second = Scrape("127.0.0.1", port, empty, Log())
    assert await second.start() == 0
    assert lines == ["figures are not told"]
    await first.stop()
    await second.stop()
    assert await Scrape("", -1, empty, Quiet()).start() == 0
