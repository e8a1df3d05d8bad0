"""What one node is told by its configuration, as one frozen value.

Owns the list of fields; holds no defaults. Built by `cli run` from the checked configuration and by
`mmo.testing.world` for tests; read by everything in this package.
"""

import msgspec


class NodeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Limits and times of one node. Names and meanings are those of `default.toml`."""

    number: int  # unique server number, 1..65535
    name: str  # such as "channel-2"
    host: str  # where clients reach this node
    link_host: str  # where servers reach this node
    client_port: int  # as configured, told in the first lease; 0: the system picks
    link_port: int
    metrics_host: str
    metrics_port: int  # of the scrape; 0: the system picks, negative: none
    admin_socket: str  # path of the Unix socket; empty: none
    generation: int  # of the code and content that decides

    pump_events_max: int
    lane_messages_max: int
    earned_waiting_max: int
    group_members_max: int
    groups_in_flight_max: int  # store connections that commit
    lease_ms: int
    lease_renew_ms: int
    lease_fence_ms: int
    sweep_ms: int
    resume_grace_ms: int
    resident_rest_ms: int
    drain_ms: int
    rule_budget_ms: int
    rule_failures_max: int
    rule_failures_window_ms: int
    leave_ms: int
    busy_ms: int
    room_tick_ms_max: int  # a room's rule that takes longer has failed
    failpoints: bool
    seed: int  # of the volatile chance; 0: from the system

    edges_running_max: int  # edges at once; the waiting line is before them
    player_edges_max: int  # edges of players at once; beyond it RETRY_LATER
    waiting_max: int  # length of the waiting line
    waiting_per_address_max: int  # of it for one address, counted like connections; 0: no limit
    ticket_ms: int  # a waiting client keeps its number over a reconnect this long
