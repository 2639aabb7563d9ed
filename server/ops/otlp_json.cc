// SPDX-License-Identifier: Apache-2.0
//
// As the JSON mapping of OTLP has it: ids in hexadecimal digits, 64-bit integers as strings, enums as
// numbers.

#include "server/ops/otlp_json.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace embedd {
namespace {

using nlohmann::json;

constexpr int kServer = 2, kInternal = 1;  // SpanKind
constexpr int kError = 2;                  // Status.code

json Attribute(const char* key, const std::string& value) {
  return {{"key", key}, {"value", {{"stringValue", value}}}};
}

json Attribute(const char* key, int64_t value) {
  return {{"key", key}, {"value", {{"intValue", absl::StrCat(value)}}}};
}

std::string NewSpanId(absl::BitGen& random) {
  uint64_t number = 0;
  while (number == 0) number = absl::Uniform<uint64_t>(random);
  std::array<uint8_t, 8> bytes;
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(number >> (8 * i));
  return HexOf(bytes);
}

json Span(const CallSpan& call, const std::string& id, const std::string& parent, const std::string& name,
          int kind, absl::Time start, absl::Time end) {
  return {{"traceId", HexOf(call.trace.trace_id)},
          {"spanId", id},
          {"parentSpanId", parent},
          {"name", name},
          {"kind", kind},
          {"startTimeUnixNano", absl::StrCat(absl::ToUnixNanos(start))},
          {"endTimeUnixNano", absl::StrCat(absl::ToUnixNanos(std::max(start, end)))}};
}

// Of the codes of gRPC those that are the server's fault, as the conventions for traces of servers say:
// UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
bool IsServerError(int code) {
  return code == 2 || code == 4 || code == 12 || code == 13 || code == 14 || code == 15;
}

// Which service of gRPC has a method; "" where it is no call of gRPC.
std::string ServiceOf(std::string_view method) {
  if (method == "EmbedBatch" || method == "EmbedStream") return "embedd.v1.EmbeddingService";
  if (method == "ModelInfer") return "inference.GRPCInferenceService";
  return "";
}

void AddCall(const CallSpan& call, absl::BitGen& random, json& spans) {
  const std::string service = ServiceOf(call.method), method(call.method);
  const std::string name =
      service.empty() ? absl::StrCat("POST /v1/", method) : absl::StrCat(service, "/", method);
  const std::string id = NewSpanId(random);
  json span = Span(call, id, HexOf(call.trace.parent_id), name, kServer, call.start, call.end);
  json attributes = {Attribute("embedd.inputs", call.inputs),
                     Attribute("embedd.batches", int64_t{call.batches}),
                     Attribute("embedd.largest_batch", int64_t{call.largest_batch})};
  if (!service.empty()) {
    attributes.push_back(Attribute("rpc.system", std::string("grpc")));
    attributes.push_back(Attribute("rpc.service", service));
    attributes.push_back(Attribute("rpc.method", method));
    attributes.push_back(Attribute("rpc.grpc.status_code", int64_t{call.code}));
  }
  span["attributes"] = std::move(attributes);
  if (IsServerError(call.code)) span["status"] = {{"code", kError}};
  spans.push_back(std::move(span));
  // The stages of the input that took longest in each, one after the other.
  absl::Time at = call.start;
  const std::initializer_list<std::pair<const char*, absl::Duration>> stages = {
      {"decode", call.decode}, {"queue", call.queue}, {"execute", call.execute}};
  for (const auto& [name, took] : stages) {
    if (took <= absl::ZeroDuration()) continue;
    const absl::Time end = std::min(at + took, call.end);
    spans.push_back(Span(call, NewSpanId(random), id, name, kInternal, at, end));
    at = end;
  }
}

}  // namespace

std::string ToOtlpJson(absl::Span<const CallSpan> calls, const std::string& version, absl::BitGen& random) {
  json spans = json::array();
  for (const CallSpan& call : calls) AddCall(call, random, spans);
  const json resource = {
      {"attributes",
       {Attribute("service.name", std::string("embedd")), Attribute("service.version", version)}}};
  const json scope = {{"scope", {{"name", "embedd"}, {"version", version}}}, {"spans", std::move(spans)}};
  const json request = {{"resourceSpans", {{{"resource", resource}, {"scopeSpans", {scope}}}}}};
  return request.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace embedd
