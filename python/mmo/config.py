"""The flat settings object that crosses into the Rust core.

Owns the one list of fields that both sides read; holds no defaults: every value comes from the
configuration. A contract test compares the names with `mmo._core.SETTINGS_FIELDS`.
"""

import msgspec

ROLES = ("login", "center", "channel", "matching", "raid", "cash")


class CoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What one `NetCore` is told. Ports: 0 lets the system pick, -1 means no such listener."""

    server_number: int  # unique number of this node, 1..65535
    role: str  # one of ROLES; also the audience of tokens for any server of the role
    incarnation: int  # unique per process start, told to peers
    host: str  # address that clients reach, client and datagram listener bind here
    client_port: int
    datagram_port: int
    link_host: str
    link_port: int
    tls_certificate_file: str  # empty: plain TCP on the client port
    tls_key_file: str

    connections_max: int
    connections_unproved_max: int  # connections that showed no token yet
    connections_per_address_max: int  # 0: no limit
    links_max: int
    accept_backlog: int

    frame_bytes_max: int  # client frames, `length` field
    frame_unproved_bytes_max: int  # before a token was shown
    link_frame_bytes_max: int
    ring_bytes: int  # receive ring of a connection, >= 4 + frame_bytes_max
    rings_max: int  # rings in the pool; empty pool: readers wait
    body_slot_bytes: int  # pooled body slot; longer bodies take a counted heap block
    body_slots_max: int
    inbound_events_max: int  # bounded queue towards Python
    inbound_high_water: int  # readers stop here
    inbound_low_water: int  # readers go on here
    outbox_bytes_max: int  # per client connection; over it: SLOW_CONSUMER
    link_outbox_bytes_max: int

    prove_ms: int  # a new connection must show a token (or be marked by set_user) within this
    open_ms: (
        int  # on roles that never ask for a token (login): life of a connection that stays open
    )
    frame_ms: int  # a begun frame must complete within this
    idle_ms: int  # no complete frame for this long: IDLE
    close_flush_ms: int
    heartbeat_ms: int  # server links: ping each other
    heartbeat_lost_ms: int  # server links: silence that ends the link
    redial_ms_min: int
    redial_ms_max: int
    dial_ms: int  # TCP connect and handshake of a link

    # rate classes: (name, messages per second, burst); opcodes name their class by index
    rate_classes: list[tuple[str, float, int]]
    bytes_per_s_max: int  # client inbound bytes a second, all classes together
    bytes_burst_max: int

    # client opcodes: (opcode, state, rate class index); state 0 open: before a token, 1 user: after it,
    # 2 both. Any other opcode from a client closes it with UNKNOWN_OPCODE (or FORBIDDEN_OPCODE when it
    # exists here in the other state or belongs to links).
    client_opcodes: list[tuple[int, int, int]]
    core_echo_opcodes: list[
        tuple[int, int]
    ]  # (request, reply): answered in Rust, body unchanged (PING)
    link_opcodes: list[
        tuple[str, int]
    ]  # (role of the peer, opcode) that a link of that role may send

    token_keys: list[tuple[str, bytes]]  # (kid, Ed25519 public key, 32 bytes); two may overlap
    token_issuer: str
    token_audiences: list[str]  # this node answers to: its role and its exact number as text
    token_types: list[str]  # accepted `typ` headers here, such as "login+jwt"
    token_leeway_s: int
    token_bytes_max: int
    link_secret: bytes  # 32 bytes or more

    datagram_proof_ms: int
    datagram_bytes_max: int
    log_records_per_s: int
