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
#include "server/prepare/preparer.h"

namespace embedd {

class EmbeddServer {
 public:
  struct Parts {
    std::unique_ptr<ImageDecoder> decoder;
    std::string libtorch_version;
  };
  // The model on one device.
  struct OnDevice {
    std::unique_ptr<Executor> executor;
    std::string name = "cpu";   // of the device, in metrics, records and logs; no two have one name
    bool padded = false;        // it wants few fixed batch shapes (mps, cuda)
    bool is_processor = false;  // its batches run on the processor itself
  };
  struct Model {
    std::vector<OnDevice> devices;  // at least one; all compute the same
    ModelSpec spec;
    TextEncoder encode_text;  // of a model whose text tower is served
  };

  // Binds the addresses; calls are answered MODEL_LOADING and health says NOT_SERVING. `on_device_lost` is
  // called once, from any thread, when the last device is lost or hangs: the process should end with exit
  // code 5.
  // Errors: kAlreadyExists: an address is in use. kInvalidArgument: a certificate, key or token file is
  // unusable.
  static absl::StatusOr<std::unique_ptr<EmbeddServer>> Create(const Config& config, Parts parts,
                                                              std::function<void()> on_device_lost);
  // Cancels what still runs: gRPC gives CANCELLED to every call that comes while it shuts down, and callers
  // do not try that again. So the process does not end through here, but by _Exit after one of the three
  // below: a call that finds its connection closed is UNAVAILABLE (docs/reliability.md).
  // Leaves everything as it is when a device hangs: nothing waits for it without limit.
  ~EmbeddServer();

  // Puts the model on its devices, warms it up and serves. Blocks. Call once. kUnavailable: a device is lost
  // or hangs.
  absl::Status Serve(Model model);

  // Finishes what was accepted, refuses what comes, and tells the calls that are left why they are cut off,
  // so that it returns within --drain-timeout. False when a device still works at what was cut off: it may
  // hang, this must not be destroyed, and the process should end with exit code 5.
  bool Drain();
  // The device is lost: lets the refused calls leave, without waiting for the device.
  void LeaveAfterDeviceLoss();
  // The model cannot be loaded: goes on answering MODEL_LOADING until nobody calls, or half a second.
  void LastWords();

  const std::vector<std::string>& addresses() const;
  // HOST:PORT of the HTTP pages; empty when they are off.
  const std::string& http_address() const;
  // HOST:PORT of the REST door; empty when it is off.
  const std::string& rest_address() const;

 private:
  struct Stages;
  explicit EmbeddServer(std::unique_ptr<Stages> stages);
  std::unique_ptr<Stages> stages_;
};

}  // namespace embedd
