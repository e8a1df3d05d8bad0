"""What is configured: the sections of `default.toml` as frozen structs, and the flat settings
object that crosses into the Rust core.

Owns names, types and ranges; holds no defaults: every value comes from the configuration
(`mmo.config.load` reads it). `CoreSettings` is the one list of fields that both sides of the seam
read; a contract test compares it with `mmo._core.SETTINGS_FIELDS`.
"""

from typing import Annotated, Any, Literal

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
    connects_per_address_per_s_max: int  # new ones a second; 0: no limit
    connects_per_address_burst_max: int  # new ones at once
    links_max: int
    accept_backlog: int

    frame_bytes_max: int  # client frames, `length` field
    frame_unproved_bytes_max: int  # before a token was shown
    link_frame_bytes_max: int
    ring_bytes: int  # receive ring of a connection, >= 4 + frame_bytes_max
    rings_max: int  # rings in the pool; empty pool: only long frames wait
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

    # client opcodes: (opcode, state, rate class index); state 0 open: before a token, 1 user: after
    # it, 2 both. Any other opcode from a client closes it with UNKNOWN_OPCODE (or FORBIDDEN_OPCODE
    # when it exists here in the other state or belongs to links).
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


Count = Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]
Milliseconds = Annotated[int, msgspec.Meta(ge=1, le=86_400_000)]
Seconds = Annotated[int, msgspec.Meta(ge=1, le=31_536_000)]
Bytes = Annotated[int, msgspec.Meta(ge=1, le=1 << 40)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
PortOrAny = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
ServerNumber = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
Address = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{0,40}$")]
PerSecond = Annotated[float, msgspec.Meta(gt=0, le=1_000_000)]


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the configuration; what each key means stands beside it in `default.toml`."""


class Cluster(_Section, frozen=True):
    """`[cluster]`: what all servers share."""

    profile: Literal["dev", "production"]
    host: Address
    advertised_host: Annotated[str, msgspec.Meta(max_length=255)]
    link_host: Address
    port_first: Annotated[int, msgspec.Meta(ge=1024, le=65_400)]
    content_directory: Annotated[str, msgspec.Meta(pattern=r"^(/.*)?$")]

    @property
    def told_host(self) -> str:
        return self.advertised_host or self.host


class Net(_Section, frozen=True):
    """`[net]`: limits of the client connections of one node, named as in `CoreSettings`."""

    tls_certificate_file: str
    tls_key_file: str
    connections_max: Count
    connections_unproved_max: Count
    connections_per_address_max: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)]
    connects_per_address_per_s_max: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)]
    connects_per_address_burst_max: Count
    accept_backlog: Count
    frame_bytes_max: Annotated[int, msgspec.Meta(ge=64, le=1 << 24)]
    frame_unproved_bytes_max: Annotated[int, msgspec.Meta(ge=64, le=1 << 24)]
    ring_bytes: Bytes
    rings_max: Count
    body_slot_bytes: Bytes
    body_slots_max: Count
    inbound_events_max: Count
    inbound_high_water: Count
    inbound_low_water: Count
    outbox_bytes_max: Bytes
    prove_ms: Milliseconds
    open_ms: Milliseconds
    frame_ms: Milliseconds
    idle_ms: Milliseconds
    close_flush_ms: Milliseconds
    bytes_per_s_max: Bytes
    bytes_burst_max: Bytes
    log_records_per_s: Count


class Links(_Section, frozen=True):
    """`[links]`: authenticated connections between servers."""

    secret_file: str
    links_max: Count
    link_frame_bytes_max: Annotated[int, msgspec.Meta(ge=64, le=1 << 26)]
    link_outbox_bytes_max: Bytes
    heartbeat_ms: Milliseconds
    heartbeat_lost_ms: Milliseconds
    redial_ms_min: Milliseconds
    redial_ms_max: Milliseconds
    dial_ms: Milliseconds


class Datagram(_Section, frozen=True):
    """`[datagram]`: raid HP by UDP."""

    datagram_proof_ms: Milliseconds
    datagram_bytes_max: Annotated[int, msgspec.Meta(ge=64, le=65_507)]


class Token(_Section, frozen=True):
    """`[token]`: JWTs between the servers."""

    key_directory: str
    issuer: Name
    token_leeway_s: Annotated[int, msgspec.Meta(ge=0, le=30)]
    token_bytes_max: Annotated[int, msgspec.Meta(ge=256, le=1 << 16)]


class Login(_Section, frozen=True):
    """`[login]`: password checks and the waiting line before them."""

    pepper_file: str
    password_threads: Annotated[int, msgspec.Meta(ge=1, le=256)]
    password_memory_kib: Annotated[int, msgspec.Meta(ge=8_192, le=4_194_304)]
    password_passes: Annotated[int, msgspec.Meta(ge=1, le=64)]
    password_nice: Annotated[int, msgspec.Meta(ge=0, le=19)]
    waiting_max: Count
    waiting_per_address_max: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)]
    ticket_ms: Milliseconds


class Cash(_Section, frozen=True):
    """`[cash]`: notices of the payment service over HTTPS, on the port of the cash role."""

    host: Address
    payment_secret_file: str
    tls_certificate_file: str
    tls_key_file: str
    window_ms: Annotated[int, msgspec.Meta(ge=1_000, le=3_600_000)]
    body_bytes_max: Annotated[int, msgspec.Meta(ge=256, le=1 << 20)]
    amount_max: Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
    per_s: PerSecond
    burst: Count
    connections_max: Count
    connections_per_address_max: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)]


class Economy(_Section, frozen=True):
    """`[economy]`: the keyed rolls, and how cache and truth are compared."""

    roll_secret_file: str
    roll_days_ahead: Annotated[int, msgspec.Meta(ge=1, le=31)]
    sample_every_ms: Milliseconds
    sample_players: Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class RateClass(_Section, frozen=True):
    """`[rate.NAME]`: a token bucket per connection."""

    per_s: PerSecond
    burst: Count


class Rate(_Section, frozen=True):
    """`[rate]`: the classes that handlers name."""

    hello: RateClass
    login: RateClass
    action: RateClass
    hit: RateClass
    list: RateClass
    ping: RateClass


class Node(_Section, frozen=True):
    """`[node]`: the machinery of one process."""

    pump_events_max: Count
    lane_messages_max: Count
    earned_waiting_max: Count
    group_members_max: Annotated[int, msgspec.Meta(ge=1, le=1_024)]
    lease_ms: Milliseconds
    lease_renew_ms: Milliseconds
    lease_fence_ms: Milliseconds
    sweep_ms: Milliseconds
    resume_grace_ms: Milliseconds
    resident_rest_ms: Milliseconds
    drain_ms: Milliseconds
    rule_budget_ms: Milliseconds
    rule_failures_max: Count
    rule_failures_window_ms: Milliseconds
    leave_ms: Annotated[int, msgspec.Meta(ge=0, le=600_000)]
    busy_ms: Annotated[int, msgspec.Meta(ge=0, le=3_600_000)]
    room_tick_ms_max: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    player_edges_max: Count
    failpoints: bool
    clock_offset_ms: Annotated[int, msgspec.Meta(ge=-60_000, le=60_000)]
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Mysql(_Section, frozen=True):
    """`[mysql]`: the truth, managed here or reached elsewhere."""

    host: str
    port: Port
    socket: str
    user: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_]{1,32}$")]
    database: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_]{1,64}$")]
    password_file: str
    tls_ca_file: str
    server: str
    connections_max: Annotated[int, msgspec.Meta(ge=2, le=1_000)]
    connect_ms: Milliseconds
    wait_ms: Milliseconds
    call_ms: Milliseconds
    ping_idle_ms: Milliseconds
    recycle_ms: Milliseconds
    leak_ms: Milliseconds
    server_connections_max: Count
    buffer_pool_bytes: Annotated[int, msgspec.Meta(ge=8 << 20, le=1 << 42)]
    redo_log_bytes: Annotated[int, msgspec.Meta(ge=8 << 20, le=1 << 38)]
    start_ms: Milliseconds
    stop_ms: Milliseconds

    @property
    def is_external(self) -> bool:
        return bool(self.host or self.socket)


class Redis(_Section, frozen=True):
    """`[redis]`: the shared cache, managed here or reached elsewhere."""

    nodes: tuple[Address, ...]
    password_file: str
    server: str
    user: str
    connections_max: Count
    connect_ms: Milliseconds
    timeout_ms: Milliseconds
    read_ms: Milliseconds
    snapshot_ttl_s: Seconds
    presence_ttl_s: Seconds
    node_timeout_ms: Annotated[int, msgspec.Meta(ge=200, le=60_000)]
    memory_bytes_max: Annotated[int, msgspec.Meta(ge=16 << 20, le=1 << 42)]
    start_ms: Milliseconds
    stop_ms: Milliseconds

    @property
    def is_external(self) -> bool:
        return bool(self.nodes)


class Game(_Section, frozen=True):
    """`[game]`: the folder of a game of one's own; its name is the name it is imported by."""

    path: str


class Reload(_Section, frozen=True):
    """`[reload]`: how new code is checked and switched to."""

    check_ms: Milliseconds
    check_bytes_max: Annotated[int, msgspec.Meta(ge=16 << 20, le=1 << 42)]
    bundle_bytes_max: Annotated[int, msgspec.Meta(ge=65_536, le=15 << 20)]
    answer_ms: Milliseconds
    patience_ms: Milliseconds
    canary_errors_permille_max: Annotated[float, msgspec.Meta(ge=0, le=1_000)]
    canary_refusals_permille_max: Annotated[float, msgspec.Meta(ge=0, le=1_000)]
    canary_times_max: Annotated[float, msgspec.Meta(ge=1, le=1_000)]
    hold_ms: Milliseconds


class Relay(_Section, frozen=True):
    """`[relay]`: repeats in Redis what MySQL decided."""

    every_ms: Milliseconds
    batch_max: Count
    waiting_max: Count
    repair_every_ms: Milliseconds
    repair_after_ms: Milliseconds
    repair_batch_max: Count


class Supervisor(_Section, frozen=True):
    """`[supervisor]`: how processes of one machine are watched."""

    ready_ms: Milliseconds
    silent_ms: Annotated[int, msgspec.Meta(ge=0, le=86_400_000)]
    watch_ms: Milliseconds
    restart_ms_min: Milliseconds
    restart_ms_max: Milliseconds
    crashes_max: Count
    crash_window_ms: Milliseconds


class Log(_Section, frozen=True):
    """`[log]`: the log files of the nodes."""

    level: Literal["debug", "info", "warning", "error"]
    file_bytes_max: Annotated[int, msgspec.Meta(ge=65_536, le=1 << 40)]
    files_kept: Annotated[int, msgspec.Meta(ge=1, le=1_000)]


class Metrics(_Section, frozen=True):
    """`[metrics]`: the figures of each node for Prometheus, over HTTP."""

    enabled: bool
    host: Address


class NodeEntry(_Section, frozen=True):
    """One `[[nodes]]` entry. Only the first three keys are required; `override` holds tables of
    this configuration that differ on this node, such as `override.net.connections_max`."""

    name: Name
    role: Literal["login", "center", "channel", "matching", "raid", "cash"]
    number: ServerNumber
    client_port: PortOrAny = 0
    link_port: PortOrAny = 0
    datagram_port: PortOrAny = 0
    metrics_port: PortOrAny = 0
    override: dict[str, dict[str, Any]] = {}


class Config(_Section, frozen=True):
    """The whole configuration, checked."""

    cluster: Cluster
    net: Net
    links: Links
    datagram: Datagram
    token: Token
    login: Login
    cash: Cash
    economy: Economy
    rate: Rate
    node: Node
    game: Game
    reload: Reload
    mysql: Mysql
    redis: Redis
    relay: Relay
    supervisor: Supervisor
    log: Log
    metrics: Metrics
    nodes: tuple[NodeEntry, ...]
