# SPDX-License-Identifier: Apache-2.0
"""The trace that a call belongs to, for its metadata. OpenTelemetry is asked where the program uses it, and never imported."""

from __future__ import annotations

import sys
from typing import Tuple


def metadata() -> Tuple[Tuple[str, str], ...]:
    """`traceparent` of the current span (W3C Trace Context); nothing without one.

    What OpenTelemetry's own instrumentation of gRPC puts there replaces it: it knows the span of the call itself.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return ()
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return ()
    return (("traceparent", f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"),)
