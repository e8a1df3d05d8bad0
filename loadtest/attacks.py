"""What an attacker sends, over a plain blocking socket, and whether the end of it is right.

Owns the sockets only; the table of attacks and the judgement of their ends are `mmo.proof.attacks`.
Each function returns what is wrong, the empty text when nothing is, and raises `Lost` when there is
no server to attack. Called by `users.Attacker`.
"""

import random
import socket
import time

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mmo.client.connection import Connection
from mmo.client.protocol import HEADER, Token, hello
from mmo.client.steps import Lost
from mmo.proof.attacks import Attack, End, attacks
from mmo.proof.forgeries import opened
from mmo.wire import codec
from mmo.wire.messages.session import Refused
from mmo.wire.opcode import CloseReason, Code, Op

Address = tuple[str, int]

FRAME_UNPROVED_BYTES_MAX = 4096
"""`net.frame_unproved_bytes_max` of the configuration in the box."""
BYTES = [row for row in attacks(7, FRAME_UNPROVED_BYTES_MAX) if not row.waits]
"""Attacks whose end comes at once; `prove hostile-client` has those that wait for a time limit."""
END_S = 10.0
READ_BYTES = 65_536
STRANGER = Ed25519PrivateKey.generate()
"""A key that no cluster has."""
FOREIGN_LIFE_S = 60


def launch(attack: Attack, target: Address, source: str) -> str:
    """Carry one attack out on a connection of its own."""
    try:
        link = socket.create_connection(target, END_S, source_address=(source, 0))
    except OSError as fault:
        host, port = target
        raise Lost("attack", 0, f"cannot dial {host}:{port}: {fault}") from None
    with link:
        try:
            for piece in attack.pieces:
                link.sendall(piece)
        except OSError:
            pass  # closed while it was still being sent to; how, is read below
        end = read_end(link, attack)
    return "" if attack.judge(end) else f"{attack.name}: {end}"


def read_end(link: socket.socket, attack: Attack) -> End:
    """Read until it is the right end, such as a refusal after which the connection goes on; or
    until the connection or the time is over."""
    end, buffer, until_s = End([], False, 0), bytearray(), time.monotonic() + END_S
    while not attack.judge(end):
        try:
            link.settimeout(max(0.001, until_s - time.monotonic()))
            data = link.recv(READ_BYTES)
        except TimeoutError:
            break
        except OSError:
            data = b""
        if not data:
            end.closed = True
            break
        buffer += data
        _take_frames(buffer, end)
        if time.monotonic() > until_s:
            break
    return end


def _take_frames(buffer: bytearray, end: End) -> None:
    """Whole frames out of the buffer; what is pushed unasked (request number 0) is passed over."""
    at = 0
    while len(buffer) - at >= HEADER.size:
        length, opcode, seq = HEADER.unpack_from(buffer, at)
        after = at + 4 + length
        if after > len(buffer):
            break
        body = bytes(buffer[at + HEADER.size : after])
        if opcode == Op.CLOSING:
            end.reason = int(codec.decode(opcode, body).reason)
        elif seq:
            end.frames.append((opcode, seq, body))
        at = after
    del buffer[:at]


def noise(rng: random.Random) -> str:
    """The shape of a token, and nothing in it."""
    return ".".join(rng.randbytes(size).hex() for size in (30, 60, 43))


def foreign(token: str) -> str:
    """A token that says what a genuine one says, from now on, signed by somebody else: nothing but
    its signature is wrong."""
    header, claims, _ = opened(token)
    now = int(time.time())
    claims |= {"nbf": now - 1, "exp": now + FOREIGN_LIFE_S}
    names = {name: header[name] for name in ("kid", "typ")}
    return jwt.encode(claims, STRANGER, algorithm="EdDSA", headers=names)


def forge(token: str, target: Address, source: str) -> str:
    """Show a token that nobody issued."""
    connection = Connection(*target, source=source)
    try:
        connection.ask(hello(), END_S)
        answer = connection.ask(Token(token), END_S)
    except Lost as lost:
        # A login server takes no token at all.
        no_token = (CloseReason.UNKNOWN_OPCODE, CloseReason.FORBIDDEN_OPCODE)
        ends = (0, CloseReason.TOKEN_INVALID, *no_token)
        right = lost.reason in ends and "no answer" not in str(lost)
        return "" if right else f"a forged token: {lost}"
    finally:
        connection.close()
    right = isinstance(answer, Refused) and answer.code == Code.TOKEN_REFUSED
    return "" if right else f"a forged token was answered {answer}"
