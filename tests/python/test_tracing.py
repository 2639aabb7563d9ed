# SPDX-License-Identifier: Apache-2.0
"""--otlp-endpoint of the real server: what it posts is an ExportTraceServiceRequest of opentelemetry-proto, field by field;
and the trace is in the batch record and the log.

Skips aloud when the binary is not built (EMBEDD_BUILD_DIR names another build folder).
"""

import base64
import http.server
import json
import threading
import time
import urllib.request
import warnings

import grpc
import numpy as np
import pytest
from google.protobuf import json_format

import real_server
from embedd.v1 import embedding_service_pb2 as pb
from embedd.v1 import embedding_service_pb2_grpc as pb_grpc
from real_server import RealServer

if real_server.missing():
    warnings.warn(f"NOT TESTED against the real server: {real_server.missing()}", stacklevel=1)
    pytest.skip(real_server.missing(), allow_module_level=True)
traces = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector(http.server.ThreadingHTTPServer):
    """Keeps what is posted to /v1/traces."""

    def __init__(self):
        posts = self.posts = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):  # noqa: N802
                body = self.rfile.read(int(self.headers["Content-Length"]))
                posts.append((self.path, self.headers["Content-Type"], body))
                answer = b'{"partialSuccess":{}}'
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_arguments):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.daemon_threads = True
        self._thread = threading.Thread(target=self.serve_forever)
        self._thread.start()

    def close(self):
        self.shutdown()
        self._thread.join()
        self.server_close()


def decoded(body):
    """The message that a collector reads out of the JSON: OTLP writes ids in hexadecimal digits where protobuf has base64."""

    def ids(value):
        if isinstance(value, dict):
            return {
                key: base64.b64encode(bytes.fromhex(one)).decode() if key in ("traceId", "spanId", "parentSpanId") else ids(one)
                for key, one in value.items()
            }
        return [ids(one) for one in value] if isinstance(value, list) else value

    return json_format.ParseDict(ids(json.loads(body)), traces.ExportTraceServiceRequest(), ignore_unknown_fields=False)


@pytest.mark.parametrize("flags", ["01", "00"])
def test_the_spans_of_a_call_are_what_a_collector_reads(flags):
    collector, before = Collector(), time.time_ns()
    try:
        with RealServer("--otlp-endpoint", f"http://127.0.0.1:{collector.server_port}", "--log-level", "debug", pages=True) as server:
            picture = np.zeros((64, 64, 3), np.uint8).tobytes()
            inputs = [pb.Input(raw_image=pb.RawImage(width=64, height=64, rgb=picture)) for _ in range(3)]
            with grpc.insecure_channel(server.target) as channel:
                pb_grpc.EmbeddingServiceStub(channel).EmbedBatch(
                    pb.EmbedBatchRequest(inputs=inputs), timeout=60, metadata=[("traceparent", f"00-{TRACE}-{PARENT}-{flags}")]
                )
            with urllib.request.urlopen(f"http://{server.http}/batches", timeout=10) as reply:
                records = json.load(reply)
        assert {one for record in records for one in record["trace_ids"]} == {TRACE}
        assert any("a call ended" in line and f"trace_id={TRACE}" in line for line in server.log)
    finally:
        collector.close()
    if flags == "00":
        assert not collector.posts
        return
    ((path, kind, body),) = collector.posts
    assert (path, kind) == ("/v1/traces", "application/json")
    (resource,) = decoded(body).resource_spans
    named = {one.key: one.value for one in resource.resource.attributes}
    assert named["service.name"].string_value == "embedd" and named["service.version"].string_value
    call, *stages = resource.scope_spans[0].spans
    assert call.name == "embedd.v1.EmbeddingService/EmbedBatch" and call.kind == call.SPAN_KIND_SERVER
    assert before <= call.start_time_unix_nano <= call.end_time_unix_nano <= time.time_ns()
    assert call.trace_id.hex() == TRACE and call.parent_span_id.hex() == PARENT and len(call.span_id) == 8
    assert {one.key: one.value.int_value for one in call.attributes}["embedd.inputs"] == 3
    assert {"queue", "execute"} <= {one.name for one in stages} <= {"decode", "queue", "execute"}
    for one in stages:
        assert one.parent_span_id == call.span_id and one.trace_id == call.trace_id and one.kind == one.SPAN_KIND_INTERNAL
        assert call.start_time_unix_nano <= one.start_time_unix_nano <= one.end_time_unix_nano <= call.end_time_unix_nano
