"""Catalogue answers: encoded once with the content, the same bytes for everybody."""

from tests.systems.game import CENTER, CONTENT, Game, assert_refused, done

from mmo.systems.season_pass import pass_page
from mmo.systems.shop import shop_page
from mmo.wire import codec
from mmo.wire.codec import Encoded
from mmo.wire.messages.season_pass import PassPageAsk
from mmo.wire.messages.shop import ShopPageAsk
from mmo.wire.opcode import Code, Op


def test_shop_page_when_asked_by_anybody_then_is_the_one_object_made_with_the_content() -> None:
    game = Game("center", CENTER)
    for page, made in enumerate(CONTENT.shop.pages):
        answers = [done(shop_page(ShopPageAsk(page), env=game.env(user))) for user in (1, 2)]
        assert [answer.replies[0] for answer in answers] == [made, made]
        assert answers[0].replies[0] is answers[1].replies[0] is made
        assert isinstance(made, Encoded) and isinstance(made.body, bytes)
        read = codec.decode(Op.SHOP_PAGE_OK, made.body)
        assert (read.page, read.pages) == (page, len(CONTENT.shop.pages)) and read.lines


def test_shop_pages_when_read_together_then_hold_every_line_once() -> None:
    read = [codec.decode(Op.SHOP_PAGE_OK, made.body) for made in CONTENT.shop.pages]
    lines = [line.line for page in read for line in page.lines]
    assert sorted(lines) == sorted(CONTENT.shop.lines)


def test_season_pass_page_when_asked_then_is_the_one_object_made_with_the_content() -> None:
    game = Game("center", CENTER)
    passes = CONTENT.passes
    game.now_ms = max(season.starts_ms for season in passes.seasons.values())
    for page, made in enumerate(passes.pages_at(game.now_ms)):
        assert done(pass_page(PassPageAsk(page), env=game.env(3))).replies[0] is made
        assert codec.decode(Op.PASS_PAGE_OK, made.body).rewards
    beyond = len(passes.pages_at(game.now_ms))
    assert_refused(pass_page(PassPageAsk(beyond), env=game.env(3)), Code.PASS_UNKNOWN)


def test_season_pass_page_when_no_pass_runs_then_is_one_without_rewards() -> None:
    game = Game("center", CENTER)
    game.now_ms = min(season.starts_ms for season in CONTENT.passes.seasons.values()) - 1
    (told,) = done(pass_page(PassPageAsk(0), env=game.env(3))).replies
    assert codec.decode(Op.PASS_PAGE_OK, told.body).rewards == []


def test_shop_page_when_there_is_none_of_that_number_then_is_refused() -> None:
    game = Game("center", CENTER)
    for page in (-(2**63), -1, len(CONTENT.shop.pages), 2**63 - 1):
        assert_refused(shop_page(ShopPageAsk(page), env=game.env(1)), Code.SHOP_LINE_UNKNOWN)
