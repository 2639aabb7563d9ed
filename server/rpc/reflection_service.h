// SPDX-License-Identifier: Apache-2.0
//
// Server reflection, v1 and v1alpha, for grpcurl and its kind. Our own, because packaged gRPC (1.51) has
// v1alpha only and asks no token.

#pragma once

#include <string>
#include <vector>

#include "grpc/reflection/v1/reflection.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "server/rpc/auth.h"

namespace embedd {

// Full names of the services to tell about.
using ServiceNames = std::vector<std::string>;

class ReflectionV1 final : public grpc::reflection::v1::ServerReflection::CallbackService {
 public:
  // `tokens` must outlive this.
  ReflectionV1(ServiceNames names, const TokenCheck* tokens) : names_(std::move(names)), tokens_(tokens) {}
  grpc::ServerBidiReactor<grpc::reflection::v1::ServerReflectionRequest,
                          grpc::reflection::v1::ServerReflectionResponse>*
  ServerReflectionInfo(grpc::CallbackServerContext* context) override;

 private:
  const ServiceNames names_;
  const TokenCheck* const tokens_;
};

class ReflectionV1Alpha final : public grpc::reflection::v1alpha::ServerReflection::CallbackService {
 public:
  ReflectionV1Alpha(ServiceNames names, const TokenCheck* tokens)
      : names_(std::move(names)), tokens_(tokens) {}
  grpc::ServerBidiReactor<grpc::reflection::v1alpha::ServerReflectionRequest,
                          grpc::reflection::v1alpha::ServerReflectionResponse>*
  ServerReflectionInfo(grpc::CallbackServerContext* context) override;

 private:
  const ServiceNames names_;
  const TokenCheck* const tokens_;
};

}  // namespace embedd
