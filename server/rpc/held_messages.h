// SPDX-License-Identifier: Apache-2.0
//
// HeldMessages keeps the messages of a unary call alive for as long as anybody holds them: decode threads may
// still read an image of a call that already failed or was cancelled. Given to gRPC through HoldMessages.

#pragma once

#include <grpcpp/support/message_allocator.h>

#include <memory>

namespace embedd {

template <typename Request, typename Response>
class HeldMessages final : public grpc::MessageHolder<Request, Response>,
                           public std::enable_shared_from_this<HeldMessages<Request, Response>> {
 public:
  static HeldMessages* Make() {
    auto held = std::make_shared<HeldMessages>();
    held->grpc_ = held;
    return held.get();
  }
  HeldMessages() {
    this->set_request(&request_);
    this->set_response(&response_);
  }
  // gRPC's word that it needs the messages no more.
  void Release() override { grpc_.reset(); }

  Request& mutable_request() { return request_; }

 private:
  Request request_;
  Response response_;
  std::shared_ptr<HeldMessages> grpc_;  // gRPC's own hold
};

template <typename Request, typename Response>
class HoldMessages final : public grpc::MessageAllocator<Request, Response> {
 public:
  grpc::MessageHolder<Request, Response>* AllocateMessages() override {
    return HeldMessages<Request, Response>::Make();
  }
};

}  // namespace embedd
