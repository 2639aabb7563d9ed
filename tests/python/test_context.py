# SPDX-License-Identifier: Apache-2.0
"""What of the caller goes with every call: its context, and its span of OpenTelemetry."""

import contextvars
import sys
import types

from embedd import EmbedClient
from fake_server import images

trace = contextvars.ContextVar("trace", default="none")


def test_the_callers_context_reaches_every_call_of_a_job(server):
    """Tracing keeps the current span in a context variable; a token function stands for what reads it here."""
    seen = []
    with EmbedClient(server.target, token=lambda: seen.append(trace.get()) or "t") as client:
        trace.set("mine")
        client.embed_images(images(100), batch_size=10)
        list(client.embed_stream(images(5)))
    assert len(seen) >= 12 and set(seen) == {"mine"}


class Span:
    """What of OpenTelemetry's span the client looks at."""

    def __init__(self, trace_id, span_id):
        self.trace_id, self.span_id, self.trace_flags, self.is_valid = trace_id, span_id, 1, trace_id != 0

    def get_span_context(self):
        return self


def test_the_callers_span_goes_with_every_call_of_a_job(server, make_client, monkeypatch):
    current = contextvars.ContextVar("span", default=Span(0, 0))
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", types.SimpleNamespace(get_current_span=current.get))
    client = make_client(server.target)
    client.embed_images(images(50), batch_size=10)
    assert server.traces == [None] * 5
    current.set(Span(0xABC, 0x12))
    server.traces.clear()
    client.embed_images(images(50), batch_size=10)
    list(client.embed_stream(images(5)))
    assert server.traces == ["00-00000000000000000000000000000abc-0000000000000012-01"] * 6
