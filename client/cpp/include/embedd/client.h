// SPDX-License-Identifier: Apache-2.0
//
// embedd::client: images in, embedding vectors out, from C++.
//
//   auto client = embedd::client::Client::Create({.target = "127.0.0.1:50051"});
//   if (!client.ok()) return client.status();
//   auto result = (*client)->EmbedFiles(std::vector<std::string>{"cat.jpg", "dog.png"});
//   if (!result.ok()) return result.status();
//   // result->rows holds 2 * result->dimension floats; result->errors lists the files that failed.
//
// The client cuts a call into requests that fit the limits of the server, keeps several of them in flight,
// tries refused ones again as the server asks, and hands rows back in the order of the inputs. It never
// re-encodes an image. No protobuf and no gRPC type appears here.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace embedd::client {

namespace internal {
class Connection;
}

// Files of a TLS connection, PEM. Read once, by Client::Create.
struct TlsOptions {
  // Certificates that may sign the server's. Empty: those of the system.
  std::string ca_file = "";
  // Our own certificate and its key, for servers started with --tls-client-ca. Both or none.
  std::string cert_file = "";
  std::string key_file = "";
  // Name expected in the server's certificate where it differs from the host in `target`.
  std::string server_name = "";
};

struct Options {
  // HOST:PORT, unix:/path/to/socket, any other gRPC name (dns:///name:port for all addresses of a name), or
  // one of those after grpc:// or grpcs:// (TLS). Several, divided by commas, share the work: each gets
  // requests as fast as it answers them, and one that is away, drains or refuses is left out until it is
  // back. All must run the same model.
  std::string target = "127.0.0.1:50051";
  // Unset: plain text.
  std::optional<TlsOptions> tls = std::nullopt;
  // Sent as `authorization: Bearer TOKEN` when not empty. Letters, digits and punctuation only.
  std::string token = "";
  // Longest that one attempt of one request may take. > 0.
  absl::Duration timeout = absl::Seconds(60);
  // How long a request that was refused (UNAVAILABLE, QUEUE_FULL) or cut off is tried again, from the first
  // time on. Zero: never. The default outlives the restart of a server.
  absl::Duration retry_for = absl::Minutes(2);
  // Requests of one call in flight at once, for each server. >= 1.
  int max_in_flight = 4;
  // A call is cut into requests of at most this many bytes and images, fewer where the server allows fewer.
  // An image larger than `max_request_bytes` travels alone. >= 1.
  size_t max_request_bytes = size_t{8} << 20;
  size_t max_request_images = 64;
  // Called once when a server cannot be reached and once when it is back, from the thread of a call, with a
  // sentence for people. May be called from several threads.
  std::function<void(const std::string&)> on_outage = nullptr;
};

// One image. Does not own its bytes: they must stay in place until the call returns.
struct ImageRef {
  // A file of a format that the server reads (ServerInfo::accepted_formats).
  static ImageRef File(std::string_view bytes) { return {.bytes = bytes}; }
  // Decoded pixels: 3 * width * height bytes, R, G, B, rows top to bottom, no padding.
  static ImageRef Raw(uint32_t width, uint32_t height, std::string_view rgb) {
    return {.bytes = rgb, .width = width, .height = height, .raw = true};
  }

  std::string_view bytes;
  uint32_t width = 0;
  uint32_t height = 0;
  bool raw = false;
};

struct EmbedOptions {
  // Divide vectors by their L2 norm.
  bool normalize = true;
  // Have the vectors sent as half floats: half the bytes, error up to 6e-5 on unit vectors. `rows` stays
  // float.
  bool float16 = false;
  // Wait behind interactive callers: for indexing and training jobs.
  bool bulk = false;
  // When not empty, the call fails with FAILED_PRECONDITION (MODEL_MISMATCH) unless the server has this
  // fingerprint.
  std::string expect_fingerprint = "";
  // The call as a whole ends by then.
  absl::Time deadline = absl::InfiniteFuture();
};

// Why one input failed. `reason` is one of the server's (UNSUPPORTED_FORMAT, CORRUPT_IMAGE, IMAGE_TOO_LARGE,
// …) or UNREADABLE_FILE, which the client gives to a file it cannot read.
struct InputError {
  size_t index = 0;
  absl::StatusCode code = absl::StatusCode::kUnknown;
  std::string reason;
  std::string message;
};

// Where the time of one request went. `decode` to `server_total` are the server's figures; each stage gives
// the longest of its inputs.
struct RequestTiming {
  size_t first_input = 0;
  size_t inputs = 0;
  int attempts = 0;
  absl::Duration prepare;     // on this side: reading files, building the message
  absl::Duration round_trip;  // of the attempt that was answered
  absl::Duration decode;
  absl::Duration queue;
  absl::Duration execute;
  absl::Duration server_total;
  uint32_t largest_batch = 0;
  uint32_t batches = 0;
  size_t request_bytes = 0;
};

struct EmbedResult {
  // Row-major [inputs, dimension]. The row of a failed input is all zero.
  std::vector<float> rows;
  size_t dimension = 0;
  // The inputs that failed, by ascending index.
  std::vector<InputError> errors;
  // Hash of weights, preprocessing and dtype. The same for every row: a call never mixes two models.
  std::string fingerprint;
  // One entry per request sent, in the order of the inputs.
  std::vector<RequestTiming> requests;

  std::span<const float> row(size_t i) const { return std::span(rows).subspan(i * dimension, dimension); }
};

// What the server says about itself; see GetServerInfoResponse in the proto for each field. Empty or zero
// where the server does not know yet.
struct ServerInfo {
  struct Model {
    std::string name, architecture, fingerprint;
    uint32_t dimension = 0, image_height = 0, image_width = 0;
    std::string resize_mode, interpolation;
    std::vector<float> mean, std;
    std::vector<std::string> towers;
    // Of the text tower; 0 and empty without one.
    uint32_t text_context_length = 0;
    std::string text_fingerprint;
    // How to compare images with texts, of models with both towers: "cosine", or "sigmoid" where there is a
    // bias. The scale is the factor itself.
    std::string similarity;
    std::optional<double> logit_scale, logit_bias;
  };
  struct Limits {
    uint64_t max_message_bytes = 0;
    uint32_t max_inputs_per_request = 0;
    uint64_t max_image_bytes = 0, max_pixels = 0;
    uint32_t queue_images = 0;
    uint64_t queue_bytes = 0;
  };
  struct Batching {
    std::vector<uint32_t> buckets;
    uint32_t cap = 0;
    std::string cap_set_by;
  };
  struct Memory {
    uint64_t baseline = 0, allocated = 0, reserved = 0, driver = 0, peak = 0, limit = 0,
             process_footprint = 0;
  };
  struct Versions {
    std::string server, libtorch, libvips, grpc;
  };

  // "LOADING", "READY", "OFFLOADED", "DRAINING" or "FAILED".
  std::string state;
  Model model;
  std::string device, dtype;
  Limits limits;
  std::vector<std::string> accepted_formats;
  Batching batching;
  Memory memory;
  Versions versions;
  absl::Duration uptime;
};

// What one of several servers says, or why it does not.
struct TargetInfo {
  std::string target;
  absl::StatusOr<ServerInfo> info;
};

// Thread-safe: one client serves any number of threads. After a fork, make a new one in the child.
class Client {
 public:
  // Checks the options, reads the files they name and looks host names up. Does not connect: the first call
  // does. Errors: INVALID_ARGUMENT, naming the option; NOT_FOUND, naming the file.
  static absl::StatusOr<std::unique_ptr<Client>> Create(Options options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Embeds inputs. A bad input fails alone and is listed in `errors`. Errors of the whole call are those of
  // the server (see ErrorReason) and DEADLINE_EXCEEDED; then no row is returned.
  absl::StatusOr<EmbedResult> EmbedImages(std::span<const ImageRef> images,
                                          const EmbedOptions& options = {}) const;
  // Files are read as their requests are built, so only those in flight are in memory.
  absl::StatusOr<EmbedResult> EmbedFiles(std::span<const std::string> paths,
                                         const EmbedOptions& options = {}) const;
  // For models with a text tower; with others every input fails with TEXT_NOT_SUPPORTED.
  absl::StatusOr<EmbedResult> EmbedTexts(std::span<const std::string> texts,
                                         const EmbedOptions& options = {}) const;

  // Asks the server, of several the first that answers; not tried again when refused.
  absl::StatusOr<ServerInfo> GetServerInfo() const;
  // Asks every server, in the order of `target`.
  std::vector<TargetInfo> GetServerInfos() const;

 private:
  explicit Client(std::unique_ptr<internal::Connection> connection);
  std::unique_ptr<internal::Connection> connection_;
};

// The stable word behind a failed call, such as "QUEUE_FULL" or "MODEL_LOADING"; empty when the server gave
// none.
std::string ErrorReason(const absl::Status& status);
// How long the server asked the caller to wait before trying again.
std::optional<absl::Duration> RetryAfter(const absl::Status& status);

}  // namespace embedd::client
