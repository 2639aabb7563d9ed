# SPDX-License-Identifier: Apache-2.0
"""Why nobody answered, where gRPC does not say it: of several addresses behind a name it reports the last one's failure,
mostly "Connection refused" at ::1, while at the other address a server speaks TLS and this side does not.

Asked once, when a call has failed for good. Opens plain sockets; blocks for up to a second or two.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any, List, Optional, Tuple

from . import _shown, errors
from ._channel import Endpoint, Target, pem

_TIMEOUT_S = 0.5
_MAX_ADDRESSES = 4


def explained(error: errors.EmbedError, endpoint: Endpoint) -> errors.EmbedError:
    """`error`, with the reason that matters in its text where one is found."""
    target = next((one for one in endpoint.targets if one.name == error._target), None)
    unreachable = isinstance(error, errors.ServerUnavailable) and not error.reason
    if target is None or not unreachable or target.port is None or target.proxy():
        return error
    try:
        found = _reason(target)
    except (OSError, ValueError):
        return error
    if found:
        error.args = (f"cannot reach an embedd server at {target.name}: {found}",)
    return error


def _reason(target: Target) -> str:
    addresses: List[Tuple[Any, ...]] = []
    for family, *_kind, address in socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM):
        if (family, address) not in addresses:
            addresses.append((family, address))
    for family, address in addresses[:_MAX_ADDRESSES]:
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(_TIMEOUT_S)
            try:
                connection.connect(address)
            except OSError:
                continue
            found = _handshake(target, connection)
        if found:
            at = f"[{address[0]}]" if ":" in address[0] else address[0]
            return f"{at}:{address[1]} {found}"
    return ""


def _handshake(target: Target, connection: socket.socket) -> str:
    """What is wrong with TLS at the other end of `connection`; "" when nothing is."""
    try:
        with _context(target).wrap_socket(connection, server_hostname=target.host or None):
            speaks = True
    except ssl.SSLCertVerificationError as error:
        why = _shown.text(error.verify_message)
        return f"shows a certificate that is not accepted: {why}. Pass the authority that signed it as tls=PATH"
    except (ssl.SSLError, OSError):
        # A server that wants a certificate of ours ends the handshake too, after it has shown its own.
        speaks = False
    if target.tls is None and speaks:
        return "speaks TLS, and this client does not. Pass tls=True, tls=PATH of a CA file, or grpcs:// in the target"
    if target.tls is not None and not speaks:
        return (
            "ends the TLS handshake. Either it speaks no TLS: then leave out tls= and grpcs://; or it wants a "
            "certificate of this client: then pass tls={'ca': ..., 'cert': ..., 'key': ...}"
        )
    return ""


def _context(target: Target) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2"])
    if target.tls is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    authority: Optional[bytes] = pem(target.tls.get("ca"), "CERTIFICATE")
    if authority is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_alpn_protocols(["h2"])
        context.load_verify_locations(cadata=authority.decode("ascii", "replace"))
    return context
