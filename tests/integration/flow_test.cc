// SPDX-License-Identifier: Apache-2.0
//
// Which calls share a flow: connections take turns, so a connection must be told from another.

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <vector>

#include "embedd/v1/embedding_service.grpc.pb.h"
#include "server/rpc/intake.h"
#include "tests/support/catch.h"
#include "tests/support/temp_folder.h"

namespace embedd {
namespace {

// Tells the flow of each call in the name of the model.
class FlowService final : public v1::EmbeddingService::CallbackService {
 public:
  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* context,
                                          const v1::GetServerInfoRequest*,
                                          v1::GetServerInfoResponse* response) override {
    response->mutable_model()->set_name(std::to_string(FlowOf(*context)));
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

TEST_CASE("Each connection is a flow of its own, on TCP and on Unix sockets, and stays the same one") {
  const TempFolder folder;
  const std::string unix_address = "unix:" + folder.path() + "/socket";
  FlowService service;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(unix_address, grpc::InsecureServerCredentials());
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  REQUIRE(server != nullptr);

  for (const std::string& address : {unix_address, "127.0.0.1:" + std::to_string(port)}) {
    grpc::ChannelArguments own;
    own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    std::vector<std::unique_ptr<v1::EmbeddingService::Stub>> callers;
    for (int i = 0; i < 2; ++i) {
      callers.push_back(v1::EmbeddingService::NewStub(
          grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), own)));
    }
    std::vector<std::string> flows;
    for (int call = 0; call < 4; ++call) {
      grpc::ClientContext context;
      v1::GetServerInfoResponse response;
      REQUIRE(callers[call % 2]->GetServerInfo(&context, {}, &response).ok());
      flows.push_back(response.model().name());
    }
    INFO(address);
    CHECK(flows[0] == flows[2]);
    CHECK(flows[1] == flows[3]);
    CHECK(flows[0] != flows[1]);
  }
}

}  // namespace
}  // namespace embedd
