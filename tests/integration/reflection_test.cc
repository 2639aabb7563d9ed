// SPDX-License-Identifier: Apache-2.0
//
// What grpcurl asks.

#include <google/protobuf/descriptor.pb.h>

#include <set>

#include "grpc/reflection/v1/reflection.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "tests/support/catch.h"
#include "tests/support/in_process_server.h"

namespace embedd {
namespace {

template <typename Service, typename Request, typename Response>
void CheckReflection(InProcessServer& server) {
  auto stub = Service::NewStub(server.channel());
  grpc::ClientContext context;
  auto stream = stub->ServerReflectionInfo(&context);
  Request request;
  Response response;

  request.set_list_services("");
  REQUIRE(stream->Write(request));
  REQUIRE(stream->Read(&response));
  std::set<std::string> names;
  for (const auto& service : response.list_services_response().service()) names.insert(service.name());
  CHECK(names.count("embedd.v1.EmbeddingService") == 1);
  CHECK(names.count("grpc.health.v1.Health") == 1);

  request.set_file_containing_symbol("embedd.v1.EmbedBatchRequest");
  REQUIRE(stream->Write(request));
  REQUIRE(stream->Read(&response));
  REQUIRE(response.file_descriptor_response().file_descriptor_proto_size() == 1);
  google::protobuf::FileDescriptorProto file;
  REQUIRE(file.ParseFromString(response.file_descriptor_response().file_descriptor_proto(0)));
  CHECK(file.package() == "embedd.v1");

  request.set_file_containing_symbol("no.such.Thing");
  REQUIRE(stream->Write(request));
  REQUIRE(stream->Read(&response));
  CHECK(response.error_response().error_code() == grpc::StatusCode::NOT_FOUND);
  stream->WritesDone();
  CHECK(stream->Finish().ok());
}

TEST_CASE("Reflection v1 and v1alpha list the services and give their files") {
  InProcessServer server;
  CheckReflection<grpc::reflection::v1::ServerReflection, grpc::reflection::v1::ServerReflectionRequest,
                  grpc::reflection::v1::ServerReflectionResponse>(server);
  CheckReflection<grpc::reflection::v1alpha::ServerReflection,
                  grpc::reflection::v1alpha::ServerReflectionRequest,
                  grpc::reflection::v1alpha::ServerReflectionResponse>(server);
}

TEST_CASE("Reflection can be turned off") {
  InProcessServer server(Config{.reflection = false});
  auto stub = grpc::reflection::v1::ServerReflection::NewStub(server.channel());
  grpc::ClientContext context;
  auto stream = stub->ServerReflectionInfo(&context);
  stream->WritesDone();
  CHECK(stream->Finish().error_code() == grpc::StatusCode::UNIMPLEMENTED);
}

}  // namespace
}  // namespace embedd
