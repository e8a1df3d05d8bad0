"""Core settings for a measured server: production limits with rates that a load cannot reach.

Owns the values; a gate, a session and every limit stay switched on, only wide enough that the load
passes them. Never used by a node of a cluster. Called by the servers of this package.
"""

from collections.abc import Sequence

from mmo.config import CoreSettings
from mmo.wire.opcode import Op

TOKEN_ISSUER = "mmo"
TOKEN_TYPE = "session+jwt"
TOKEN_AUDIENCE = "session"
SERVER_NUMBER = 11
RATE_UNREACHED_PER_S = 1_000_000_000.0
STATE_USER = 1
STATE_BOTH = 2


def core_settings(
    *,
    public_key: bytes,
    key_id: str,
    user_opcodes: Sequence[int],
    connections_max: int,
) -> CoreSettings:
    """Settings of a channel-like server on loopback that accepts tokens signed for `public_key`
    (Ed25519, 32 bytes) and `user_opcodes` from players; PING is echoed by the core as PONG."""
    client_opcodes = [(int(Op.ENTER), STATE_BOTH, 0), (int(Op.PING), STATE_BOTH, 0)]
    client_opcodes += [(int(opcode), STATE_USER, 0) for opcode in user_opcodes]
    return CoreSettings(
        server_number=SERVER_NUMBER,
        role="channel",
        incarnation=1,
        host="127.0.0.1",
        client_port=0,
        datagram_port=-1,
        link_host="127.0.0.1",
        link_port=-1,
        tls_certificate_file="",
        tls_key_file="",
        connections_max=connections_max,
        connections_unproved_max=connections_max,
        connections_per_address_max=0,
        connects_per_address_per_s_max=0,
        connects_per_address_burst_max=1,
        links_max=1,
        accept_backlog=1_024,
        frame_bytes_max=4_096,
        frame_unproved_bytes_max=2_048,
        link_frame_bytes_max=65_536,
        ring_bytes=16_384,
        rings_max=1_024,
        body_slot_bytes=256,
        body_slots_max=16_384,
        inbound_events_max=16_384,
        inbound_high_water=12_288,
        inbound_low_water=4_096,
        outbox_bytes_max=262_144,
        link_outbox_bytes_max=1_048_576,
        prove_ms=10_000,
        open_ms=60_000,
        frame_ms=10_000,
        idle_ms=300_000,
        close_flush_ms=1_000,
        heartbeat_ms=1_000,
        heartbeat_lost_ms=4_000,
        redial_ms_min=100,
        redial_ms_max=2_000,
        dial_ms=2_000,
        rate_classes=[("measured", RATE_UNREACHED_PER_S, 1_000_000_000)],
        bytes_per_s_max=2_000_000_000,
        bytes_burst_max=2_000_000_000,
        client_opcodes=client_opcodes,
        core_echo_opcodes=[(int(Op.PING), int(Op.PONG))],
        link_opcodes=[],
        token_keys=[(key_id, public_key)],
        token_issuer=TOKEN_ISSUER,
        token_audiences=["channel", TOKEN_AUDIENCE, str(SERVER_NUMBER)],
        token_types=[TOKEN_TYPE],
        token_leeway_s=2,
        token_bytes_max=1_024,
        link_secret=bytes(32),
        datagram_proof_ms=30_000,
        datagram_bytes_max=1_200,
        log_records_per_s=10,
    )
