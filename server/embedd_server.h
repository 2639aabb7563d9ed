// SPDX-License-Identifier: Apache-2.0
//
// EmbeddServer: every stage of the road put together, in order of their lives. main makes one with the real
// executor and decoder; the integration tests make one with fakes.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/config/config.h"
#include "server/device/executor.h"
#include "server/model/model_spec.h"
#include "server/prepare/image/image_decoder.h"

namespace embedd {

class EmbeddServer {
 public:
  struct Parts {
    std::unique_ptr<ImageDecoder> decoder;
    std::string libvips_version, libtorch_version;
  };
  struct Model {
    std::unique_ptr<Executor> executor;
    ModelSpec spec;
    bool padded = false;  // the device wants few fixed batch shapes (mps, cuda)
  };

  // Binds the addresses; calls are answered MODEL_LOADING and health says NOT_SERVING. `on_device_lost` is
  // called once, from any thread, when the device is lost or hangs: the process should end with exit code 5.
  // Errors: kAlreadyExists: an address is in use. kInvalidArgument: a certificate, key or token file is
  // unusable.
  static absl::StatusOr<std::unique_ptr<EmbeddServer>> Create(const Config& config, Parts parts,
                                                              std::function<void()> on_device_lost);
  // Cancels what still runs: gRPC gives CANCELLED to every call that comes while it shuts down, and callers
  // do not try that again. So the process does not end through here, but by _Exit after one of the three
  // below: a call that finds its connection closed is UNAVAILABLE (docs/reliability.md).
  ~EmbeddServer();

  // Puts the model on the device, warms it up and serves. Blocks. Call once.
  absl::Status Serve(Model model);

  // Finishes what was accepted, refuses what comes, ends the calls that are left after --drain-timeout.
  // Returns when nobody calls any more, or half a second later.
  void Drain();
  // The device is lost: lets the refused calls leave, without waiting for the device.
  void LeaveAfterDeviceLoss();
  // The model cannot be loaded: goes on answering MODEL_LOADING until nobody calls, or half a second.
  void LastWords();

  const std::vector<std::string>& addresses() const;
  // HOST:PORT of the HTTP pages; empty when they are off.
  const std::string& http_address() const;

 private:
  struct Stages;
  explicit EmbeddServer(std::unique_ptr<Stages> stages);
  const std::unique_ptr<Stages> stages_;
};

}  // namespace embedd
