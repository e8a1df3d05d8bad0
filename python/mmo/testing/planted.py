"""Bugs that are planted on purpose, so that the checker of histories can be proved.

Owns the table of bugs by name and the one way to plant one: the node's composition calls `plant`
before any other code of the node is loaded, in a home that says so and whose configuration allows
failpoints, which production refuses. No production code knows of any of them. Each mutation lives
in `planted_store`, `planted_node` or `planted_raids`.
"""

from collections.abc import Callable

from mmo.testing import planted_node, planted_raids, planted_store

BUGS: dict[str, Callable[[], None]] = {
    "no-epoch-test": planted_store.no_epoch_test,
    "no-session-fence": planted_store.no_session_fence,
    "old-session-resumes": planted_store.old_session_resumes,
    "reservation-not-spent": planted_store.reservation_not_spent,
    "reply-before-commit": planted_node.reply_before_commit,
    "payment-acknowledged-early": planted_node.payment_acknowledged_early,
    "outage-taken-for-success": planted_store.outage_taken_for_success,
    "lock-taken-for-success": planted_store.lock_taken_for_success,
    "fence-taken-for-success": planted_store.fence_taken_for_success,
    "statement-only-rollback": planted_store.statement_only_rollback,
    "constraint-swallowed": planted_store.constraint_swallowed,
    "commit-in-two": planted_store.commit_in_two,
    "apply-before-commit": planted_node.apply_before_commit,
    "cache-before-commit": planted_store.cache_before_commit,
    "cache-without-fence": planted_store.cache_without_fence,
    "fence-expires": planted_store.fence_expires,
    "dirty-mark-lost": planted_store.dirty_mark_lost,
    "cursor-outbox": planted_store.cursor_outbox,
    "stale-cache-at-claim": planted_store.stale_cache_at_claim,
    "re-roll": planted_node.re_roll,
    "roll-not-logged": planted_store.roll_not_logged,
    "roll-day-unpublished": planted_store.roll_day_unpublished,
    "operation-forgotten": planted_node.operation_forgotten,
    "request-not-compared": planted_node.request_not_compared,
    "stored-answer-differs": planted_node.stored_answer_differs,
    "ledger-line-skipped": planted_store.ledger_line_skipped,
    "amount-wrong": planted_store.amount_wrong,
    "coins-unsigned": planted_store.coins_unsigned,
    "item-lost": planted_store.item_lost,
    "item-doubled": planted_store.item_doubled,
    "item-change-lost": planted_store.item_change_lost,
    "event-lost": planted_store.event_lost,
    "version-skipped": planted_store.version_skipped,
    "grant-pays-twice": planted_store.grant_pays_twice,
    "grant-never-offered": planted_node.grant_never_offered,
    "order-booked-twice": planted_store.order_booked_twice,
    "raid-reward-twice": planted_raids.raid_reward_twice,
    "raid-reward-lost": planted_raids.raid_reward_lost,
    "raid-told-differs": planted_raids.raid_told_differs,
    "ranking-adds-up": planted_raids.ranking_adds_up,
    "old-generation-decides": planted_node.old_generation_decides,
}
"""Every bug by name; `mmo.proof.planted` says under which faults each is looked for."""


def plant(name: str) -> None:
    """Plant one bug in this process. Raises `KeyError` for an unknown name."""
    BUGS[name]()
