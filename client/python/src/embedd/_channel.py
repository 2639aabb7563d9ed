# SPDX-License-Identifier: Apache-2.0
"""Where the server is and how to get there: address, TLS, token, channel options. Shared by the two clients."""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import grpc

from ._version import __version__

DEFAULT_TARGET = "localhost:50051"

# Answers are bounded by what is asked for (1024 inputs of 4096 numbers take 16 MiB); requests by the server's limits.
_MAX_RECEIVE_BYTES = 64 << 20

Tls = Union[None, bool, str, "os.PathLike[str]", Mapping[str, Any]]
Token = Union[None, str, Callable[[], str]]


class Endpoint:
    """Address and credentials, without a connection: what a pickled client carries.

    Args:
      target: HOST:PORT, `unix:/path`, any gRPC target, or one of those after `grpc://` or `grpcs://` (TLS). None: the
        environment variable EMBEDD_TARGET, else localhost:50051.
      tls: None or False: none. True: the system's authorities. A path: the authority's PEM file. A dict with any of
        `ca`, `cert`, `key`: paths of PEM files or their bytes; `cert` and `key` for mutual TLS.
      token: bearer token, or a function that gives the current one; asked before every call.
      channel_options: more gRPC channel options, (name, value) pairs; they win over the client's.
    """

    def __init__(
        self, target: Optional[str], tls: Tls, token: Token, channel_options: Sequence[Tuple[str, Any]]
    ) -> None:
        target = target or os.environ.get("EMBEDD_TARGET") or DEFAULT_TARGET
        scheme, separator, rest = target.partition("://")
        if separator and scheme in ("grpc", "grpcs"):
            target = rest
            tls = tls or scheme == "grpcs"
        if token is not None and not isinstance(token, str) and not callable(token):
            raise TypeError("token must be a string or a function without arguments that gives one")
        self.target = target
        self._tls = _check_tls(tls)
        self._token = token
        self._options = tuple(channel_options)

    @property
    def options(self) -> List[Tuple[str, Any]]:
        """Options of the channel."""
        ours = [
            ("grpc.primary_user_agent", f"embedd-python/{__version__}"),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", _MAX_RECEIVE_BYTES),
            # `_retry.py` retries. Where a caller turns gRPC's retries on, they need room for a whole message.
            ("grpc.enable_retries", 0),
            ("grpc.per_rpc_retry_buffer_size", 64 << 20),
            # After an outage gRPC would wait up to two minutes before it looks again.
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.min_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 2000),
            # Finds a peer that is gone without a word; servers allow a ping every five minutes without calls, and
            # gRPC sends none then.
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            # Connections are shared by address within a process, across fork() too: a child would use its parent's.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        return list({**dict(ours), **dict(self._options)}.items())

    def credentials(self) -> Optional[grpc.ChannelCredentials]:
        """None without TLS. Reads the files anew: a new connection takes new certificates."""
        if self._tls is None:
            return None
        return grpc.ssl_channel_credentials(
            root_certificates=_pem(self._tls.get("ca")),
            private_key=_pem(self._tls.get("key")),
            certificate_chain=_pem(self._tls.get("cert")),
        )

    def metadata(self) -> Tuple[Tuple[str, str], ...]:
        """Metadata of the next call."""
        token = self._token() if callable(self._token) else self._token
        return (("authorization", f"Bearer {token}"),) if token else ()


def _check_tls(tls: Tls) -> Optional[Dict[str, Any]]:
    if tls is None or tls is False:
        return None
    if tls is True:
        return {}
    if isinstance(tls, (str, os.PathLike)):
        return {"ca": tls}
    if not isinstance(tls, Mapping):
        raise TypeError("tls must be None, True, the path of a CA file, or a dict with ca, cert, key")
    unknown = set(tls) - {"ca", "cert", "key"}
    if unknown:
        raise ValueError(f"unknown key in tls: {', '.join(sorted(unknown))}; known are ca, cert, key")
    if ("cert" in tls) != ("key" in tls):
        raise ValueError("tls needs cert and key together: they are the client's certificate and its private key")
    return dict(tls)


def _pem(source: Any) -> Optional[bytes]:
    if source is None or isinstance(source, bytes):
        return source
    with open(source, "rb") as file:
        return file.read()
