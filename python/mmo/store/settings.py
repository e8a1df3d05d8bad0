"""What `open_store` is told: one flat struct, no defaults; every value comes from the
configuration.

Owns the field list only. Built by `cli` from the configuration and by tests.
"""

import msgspec


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses, secrets, limits and deadlines of both stores of one node."""

    mysql_socket: str  # path of a Unix socket; empty: host and port
    mysql_host: str
    mysql_port: int
    mysql_user: str
    mysql_password: str
    mysql_database: str
    mysql_tls: bool  # over TCP to another machine this must be true (driver fact T6)
    mysql_tls_ca_file: str  # with TLS: only a server that this CA vouches for; empty: any
    mysql_connections_max: int  # groups in flight, and one more connection for the lease
    mysql_connect_ms: int
    mysql_wait_ms: int  # longest wait for a free connection
    mysql_call_ms: int  # deadline of every call of the store, waiting included
    mysql_ping_idle_ms: int  # a connection idle for longer is pinged before use
    mysql_recycle_ms: int  # life of a connection, shortened by up to a tenth at random
    mysql_leak_ms: int  # a connection held for longer is reported with who took it

    redis_nodes: tuple[tuple[str, int], ...]  # (host, port) of some nodes; empty: no Redis at all
    redis_user: str  # empty: the default user
    redis_password: str
    redis_connections_max: int  # per Redis node
    redis_connect_ms: int
    redis_timeout_ms: int
    redis_read_ms: int  # longest wait for a snapshot at a claim; then MySQL alone answers

    snapshot_ttl_s: int
    presence_ttl_s: int
    relay_every_ms: int  # rhythm of inline puts: upper bound of how long one waits to be joined
    relay_batch_max: int  # puts in one pipeline
    relay_waiting_max: int  # players waiting for a put; beyond it the repair loop alone serves them
    repair_every_ms: int
    repair_after_ms: int  # a dirty mark is checked at this age; longer than a failover of Redis
    repair_batch_max: int
    sample_every_ms: int = 0  # how often cache and truth are compared; 0: never
    sample_players: int = 0  # players of one comparison


SECRET_FIELDS = ("mysql_password", "redis_password")
"""Fields that are never printed."""
