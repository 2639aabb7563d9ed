# SPDX-License-Identifier: Apache-2.0
"""Where the servers are and how to get there: address, TLS, token, channel options. Shared by the two clients."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import socket
from collections import Counter
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import grpc

from . import _shown, _trace
from ._version import __version__

DEFAULT_TARGET = "localhost:50051"

# Answers are bounded by what is asked for (1024 inputs of 4096 numbers take 16 MiB); requests by the server's limits.
_MAX_RECEIVE_BYTES = 64 << 20

Tls = Union[None, bool, str, "os.PathLike[str]", Mapping[str, Any]]
Token = Union[None, str, Callable[[], str]]
Targets = Union[None, str, Sequence[str]]

# The first policy that the library knows is taken; weights come with the answers of the servers. A replica that loads
# or drains is left out by its health.
_BALANCE = json.dumps(
    {
        "loadBalancingConfig": [
            {"weighted_round_robin": {"blackoutPeriod": "0s", "weightUpdatePeriod": "0.2s"}},
            {"round_robin": {}},
        ],
        "healthCheckConfig": {"serviceName": ""},
    }
)


class Target:
    """One address and how to get there, without a connection.

    Attributes:
      name: as gRPC takes it and messages show it.
      addresses: how many servers are behind it, as far as that is known; `resolve` finds out.
    """

    def __init__(self, text: str, tls: Tls, channel_options: Sequence[Tuple[str, Any]]) -> None:
        scheme, separator, rest = text.partition("://")
        if separator and scheme in ("grpc", "grpcs"):
            text = rest
            tls = tls or scheme == "grpcs"
        self.name = text
        self.addresses = 1
        self.tls = _check_tls(tls)
        self._options = dict(channel_options)
        self._resolved = False

    def resolve(self) -> None:
        """Counts the servers behind a name. Asks the system's resolver, once; may take its time."""
        if self._resolved:
            return
        host = self.host
        if not _is_literal(host) and not self.local and not self.name.startswith("xds:"):
            try:
                found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            except (OSError, UnicodeError):  # the second: a label that no name can have
                found = []  # gRPC says what is wrong with it
            # Of a host with both families each address counts once.
            per_family = Counter(family for family, *_rest in found)
            self.addresses = max(per_family.values(), default=1)
        self._resolved = True

    @property
    def host(self) -> str:
        """The host part, as a name or a literal address; "" for a socket."""
        if self.name.startswith(("unix:", "unix-abstract:", "vsock:")):
            return ""
        name = self.name.partition("://")[2].rpartition("/")[2] if "://" in self.name else self.name
        name = re.sub(r"^(dns|ipv4|ipv6):/*", "", name)
        bracketed = re.match(r"\[(.*)\]", name)
        if bracketed:
            return bracketed[1]
        return name.rpartition(":")[0] if name.count(":") == 1 else name

    @property
    def port(self) -> Optional[int]:
        """None where the name has none."""
        digits = self.name.rpartition(":")[2]
        return int(digits) if digits.isdigit() and self.host and not digits == self.host else None

    @property
    def local(self) -> bool:
        """Whether it is on this machine for sure: no proxy can be on the way."""
        host = self.host.lower().rstrip(".")
        if not host or host == "localhost" or host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    @property
    def balanced(self) -> bool:
        """Whether gRPC spreads the calls, by its service config. As far as that is known: see `resolve`."""
        return self.addresses > 1 or self.name.startswith("dns:")

    @property
    def options(self) -> List[Tuple[str, Any]]:
        """Options of the channel. Call `resolve` before."""
        ours = {
            "grpc.primary_user_agent": f"embedd-python/{__version__}",
            "grpc.max_send_message_length": -1,
            "grpc.max_receive_message_length": _MAX_RECEIVE_BYTES,
            # `_retry.py` retries. Where a caller turns gRPC's retries on, they need room for a whole message.
            "grpc.enable_retries": 0,
            "grpc.per_rpc_retry_buffer_size": 64 << 20,
            # After an outage gRPC would wait up to two minutes before it looks again.
            "grpc.initial_reconnect_backoff_ms": 200,
            "grpc.min_reconnect_backoff_ms": 200,
            "grpc.max_reconnect_backoff_ms": 2000,
            # Finds a peer that is gone without a word; servers allow a ping every five minutes without calls, and
            # gRPC sends none then.
            "grpc.keepalive_time_ms": 60_000,
            "grpc.keepalive_timeout_ms": 20_000,
            # Connections are shared by address within a process, across fork() too: a child would use its parent's.
            "grpc.use_local_subchannel_pool": 1,
        }
        if self.local:
            ours["grpc.enable_http_proxy"] = 0
        if self.balanced:
            ours["grpc.service_config"] = _BALANCE
        return list({**ours, **self._options}.items())

    def credentials(self) -> Optional[grpc.ChannelCredentials]:
        """None without TLS. Reads the files anew: a new connection takes new certificates."""
        if self.tls is None:
            return None
        return grpc.ssl_channel_credentials(
            root_certificates=pem(self.tls.get("ca"), "CERTIFICATE"),
            private_key=pem(self.tls.get("key"), "PRIVATE KEY"),
            certificate_chain=pem(self.tls.get("cert"), "CERTIFICATE"),
        )

    def proxy(self) -> str:
        """The variable that sends this connection through a proxy, as NAME=VALUE; "" when none does."""
        if self.local or not self._options.get("grpc.enable_http_proxy", 1):
            return ""
        name = next((one for one in ("grpc_proxy", "https_proxy", "http_proxy") if os.environ.get(one)), "")
        if not name:
            return ""
        exceptions = os.environ.get("no_grpc_proxy") or os.environ.get("no_proxy") or ""
        direct = any(one.strip() and self.host.endswith(one.strip()) for one in exceptions.split(","))
        return "" if direct else f"{name}={re.sub('//[^/@]*@', '//...@', os.environ[name])}"


class Endpoint:
    """Addresses and credentials, without a connection: what a pickled client carries.

    Args:
      targets: one or several, in one string with commas or as a list. Each is HOST:PORT, `unix:/path`, any gRPC
        target, or one of those after `grpc://` or `grpcs://` (TLS). None: the environment variable EMBEDD_TARGET, else
        localhost:50051.
      tls: None or False: none. True: the system's authorities. A path: the authority's PEM file. A dict with any of
        `ca`, `cert`, `key`: paths of PEM files or their bytes; `cert` and `key` for mutual TLS.
      token: bearer token, or a function that gives the current one; asked before every call.
      channel_options: more gRPC channel options, (name, value) pairs; they win over the client's.
    """

    def __init__(
        self, targets: Targets, tls: Tls, token: Token, channel_options: Sequence[Tuple[str, Any]]
    ) -> None:
        if targets is None:
            targets = os.environ.get("EMBEDD_TARGET") or DEFAULT_TARGET
        names = targets.split(",") if isinstance(targets, str) else list(targets)
        if not all(isinstance(name, str) for name in names):
            raise TypeError("target must be a string, or a list of strings: HOST:PORT or unix:/path")
        names = list(dict.fromkeys(name.strip() for name in names if name.strip()))
        if not names:
            raise ValueError("target names no server; pass HOST:PORT or unix:/path")
        if token is not None and not isinstance(token, str) and not callable(token):
            raise TypeError("token must be a string or a function without arguments that gives one")
        if isinstance(token, str):
            _check_token(token)
        self.targets = [Target(name, tls, channel_options) for name in names]
        self._token = token

    @property
    def name(self) -> str:
        """All targets, as one string."""
        return ",".join(target.name for target in self.targets)

    def metadata(self) -> Tuple[Tuple[str, str], ...]:
        """Metadata of the next call."""
        token = self._token
        if callable(token):
            token = token()
            _check_token(token)
        return ((("authorization", f"Bearer {token}"),) if token else ()) + _trace.metadata()


def _check_token(token: Any) -> None:
    """Raises for what no header can carry. gRPC would say that the connection broke; the token is not shown."""
    if token and not isinstance(token, str):
        raise TypeError(f"the function of the token gave {type(token).__name__}; it must give a string")
    if token and not (token.isascii() and token.isprintable()):
        raise ValueError("the token holds a line end or a character outside ASCII; of a file's text pass text.strip()")


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


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


def pem(source: Any, kind: str) -> Optional[bytes]:
    """The content of a PEM file, or the bytes that were passed. Raises ValueError when there is no `kind` in them: gRPC
    would only say that it cannot connect."""
    if source is None:
        return None
    content, name = source, "what was passed"
    if not isinstance(source, bytes):
        name = _shown.path(os.fsdecode(os.fspath(source)))
        with open(source, "rb") as file:
            content = file.read()
    if b"-----BEGIN " not in content or kind.encode() + b"-----" not in content:
        raise ValueError(f"tls: {name} holds no {kind} in PEM form")
    return content
