// SPDX-License-Identifier: Apache-2.0
//
// embedctl as its user meets it: the binary, its output and its exit codes.

#include <algorithm>
#include <filesystem>
#include <sstream>
#include <thread>

#include "client/cpp/ctl/npy.h"
#include "embedd/v1/embedding_service.pb.h"
#include "httplib.h"
#include "nlohmann/json.hpp"
#include "tests/support/catch.h"
#include "tests/support/temp_folder.h"
#include "tests/unit/client/fake_service.h"
#include "tests/unit/ctl/run_ctl.h"

namespace embedd::client {
namespace {

using Json = nlohmann::json;

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// /batches on a port of its own. `then`: what it answers the next times, once each; 503 after those.
class FakeHttp {
 public:
  explicit FakeHttp(const std::string& body, std::vector<std::string> then = {}) {
    http_.Get("/batches",
              [body, then, asked = size_t{0}](const httplib::Request&, httplib::Response& response) mutable {
                const size_t time = asked++;
                if (time > then.size() && !then.empty()) {
                  response.status = 503;
                  return;
                }
                response.set_content(time == 0 || then.empty() ? body : then[time - 1], "application/json");
              });
    port_ = http_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread([this] { http_.listen_after_bind(); });
  }
  ~FakeHttp() {
    http_.stop();
    thread_.join();
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }

 private:
  httplib::Server http_;
  int port_ = 0;
  std::thread thread_;
};

TEST_CASE("embedctl info shows the model, and as JSON for programs") {
  FakeServer server;
  const auto text = RunCtl({"info", "--target", server.target()});
  CHECK(text.exit_code == 0);
  CHECK(Contains(text.out, "fake-1"));
  const auto json = RunCtl({"--target", server.target(), "info", "--json"});
  CHECK(json.exit_code == 0);
  CHECK(Json::parse(json.out)["model"]["dimension"] == kFakeDimension);
  CHECK(Json::parse(json.out)["state"] == "READY");
}

TEST_CASE("embedctl embed prints one line per file and names on stderr those that fail") {
  FakeServer server;
  const TempFolder dir;
  const auto good = dir.Write("good.jpg", "good");
  const auto bad = dir.Write("bad.jpg", "bad bytes");
  const auto fine = RunCtl({"--target", server.target(), "embed", good});
  CHECK(fine.exit_code == 0);
  CHECK(Contains(fine.out, "good.jpg  [4]"));
  CHECK(fine.err.empty());
  const auto mixed = RunCtl({"--target", server.target(), "embed", bad, good, dir.At("missing.jpg")});
  CHECK(mixed.exit_code == 1);
  CHECK(Contains(mixed.out, "good.jpg"));
  CHECK_FALSE(Contains(mixed.out, "bad.jpg"));
  CHECK(Contains(mixed.err, "bad.jpg: CORRUPT_IMAGE"));
  CHECK(Contains(mixed.err, "missing.jpg: UNREADABLE_FILE"));
}

TEST_CASE("embedctl embed --json prints one object per file, in order") {
  FakeServer server;
  const TempFolder dir;
  const auto run = RunCtl({"--target", server.target(), "embed", "--json", dir.Write("a.jpg", "aaa"),
                           dir.Write("b.jpg", "bad"), dir.Write("c.jpg", "c"), "--no-normalize"});
  CHECK(run.exit_code == 1);
  std::istringstream lines(run.out);
  std::string line;
  std::vector<Json> objects;
  while (std::getline(lines, line)) objects.push_back(Json::parse(line));
  REQUIRE(objects.size() == 3);
  CHECK(objects[0]["vector"] == Json({3, 97, 0, 0}));
  CHECK(objects[1]["error"]["reason"] == "CORRUPT_IMAGE");
  CHECK(objects[2]["vector"][0] == 1);
}

TEST_CASE("embedctl embed --npy writes what NumPy reads, and --fp16 changes nothing in it") {
  FakeServer server;
  const TempFolder dir;
  for (const char* flag : {"--no-normalize", "--fp16"}) {
    const auto run = RunCtl({"--target", server.target(), "embed", flag, "--npy", dir.At("v.npy"),
                             dir.Write("a.jpg", "aaa"), dir.Write("b.jpg", "bad"), dir.Write("c.jpg", "c")});
    CHECK(run.exit_code == 1);
    const auto matrix = ctl::ParseNpy(ReadAll(dir.At("v.npy")));
    REQUIRE(matrix.ok());
    CHECK(matrix->rows == 3);
    CHECK(matrix->columns == kFakeDimension);
    CHECK(matrix->row(0)[1] == 97);
    CHECK(matrix->row(1)[0] == 0);
    CHECK(matrix->row(2)[0] == 1);
  }
}

TEST_CASE("embedctl probe answers with the exit codes of grpc_health_probe") {
  std::string gone;
  {
    FakeServer server;
    gone = server.target();
    CHECK(RunCtl({"--target", server.target(), "probe"}).exit_code == 0);
    CHECK(
        RunCtl({"--target", server.target(), "probe", "--service", "embedd.v1.EmbeddingService"}).exit_code ==
        0);
    CHECK(RunCtl({"--target", server.target(), "probe", "--service", "unknown"}).exit_code == 3);
    server.health.status = grpc::health::v1::HealthCheckResponse::NOT_SERVING;
    CHECK(RunCtl({"--target", server.target(), "probe"}).exit_code == 4);
  }
  CHECK(RunCtl({"--target", gone, "probe"}).exit_code == 2);
  CHECK(RunCtl({"--target", gone, "probe", "--bogus"}).exit_code == 1);
  CHECK(RunCtl({"--target", gone, "probe", "--token-file", "/nonexistent/token"}).exit_code == 1);
}

TEST_CASE("embedctl probe looks once; with --retry-for it waits until the server serves") {
  FakeServer server;
  server.health.status = grpc::health::v1::HealthCheckResponse::NOT_SERVING;
  CHECK(RunCtl({"--target", server.target(), "probe"}).exit_code == 4);
  CHECK(server.health.checks.load() == 1);
  CHECK(RunCtl({"--target", server.target(), "probe", "--retry-for", "0"}).exit_code == 4);
  CHECK(server.health.checks.load() == 2);
  CHECK(RunCtl({"--target", server.target(), "--retry-for", "1500ms", "probe"}).exit_code == 4);
  CHECK(server.health.checks.load() > 3);
  const int before = server.health.checks.load();
  server.health.before = [&](int check) {
    if (check == before + 1) server.health.status = grpc::health::v1::HealthCheckResponse::SERVING;
  };
  const auto run = RunCtl({"--target", server.target(), "probe", "--retry-for", "1m"});
  CHECK(run.exit_code == 0);
  CHECK(run.out == "status: SERVING\n");
  CHECK(run.err.empty());
  CHECK(server.health.checks.load() == before + 2);
}

TEST_CASE("embedctl says bad arguments with 2 and a failed call with 1") {
  CHECK(RunCtl({}).exit_code == 2);
  CHECK(RunCtl({"embed"}).exit_code == 2);
  CHECK(RunCtl({"info", "--timeout", "soon"}).exit_code == 2);
  CHECK(RunCtl({"--help"}).exit_code == 0);
  FakeServer server;
  server.service.before = [](int, const v1::EmbedBatchRequest&, grpc::ServerContext* context) {
    return QueueFull(context, "-1");
  };
  const TempFolder dir;
  const auto run = RunCtl({"--target", server.target(), "embed", dir.Write("a.jpg", "a")});
  CHECK(run.exit_code == 1);
  CHECK(Contains(run.err, "RESOURCE_EXHAUSTED QUEUE_FULL"));
  CHECK(Contains(run.err, "--retry-for"));
}

TEST_CASE("embedctl says with 2 what came of the arguments alone, whatever finds it") {
  const TempFolder dir;
  const std::string image = dir.Write("a.jpg", "a");
  const std::vector<std::vector<std::string>> wrong = {
      {"rank", image},
      {"rank", image, "--text", "x", "--top", "0"},
      {"info", "--timeout", "0"},
      {"info", "--timeout", "nan"},
      {"info", "--target="},
      {"embed", image, "--target", ","},
      {"embed", image, "--text", "x"},
      {"embed", image, "--cert", image},
      {"batches", "--http", "nowhere"},
      {"bench", "--images", "0"},
  };
  for (const auto& arguments : wrong) {
    const auto run = RunCtl(arguments);
    CAPTURE(arguments.front(), run.err);
    CHECK(run.exit_code == 2);
    CHECK(run.err.size() < 300);
  }
}

TEST_CASE("embedctl takes names of files and texts as they are") {
  FakeServer server;
  const TempFolder dir;
  const std::string lines = dir.Write("two\nlines.jpg", "x");
  const auto run = RunCtl({"--target", server.target(), "embed", "--json", lines});
  CHECK(run.exit_code == 0);
  CHECK(Json::parse(run.out)["file"] == lines);
  const auto text = RunCtl({"--target", server.target(), "embed", lines});
  CHECK(std::count(text.out.begin(), text.out.end(), '\n') == 1);
  const auto empty = RunCtl({"--target", server.target(), "embed", "--text=", "--json"});
  CHECK(Json::parse(empty.out)["text"] == "");
}

TEST_CASE("embedctl fails when what it prints is not written") {
  FakeServer server;
  const TempFolder dir;
  const std::string image = dir.Write("a.jpg", "a");
  std::vector<std::string> redirects{">&-"};
  if (std::filesystem::exists("/dev/full")) redirects.emplace_back(">/dev/full");
  for (const auto& redirect : redirects) {
    for (const char* command : {"embed", "info", "probe", "--help"}) {
      std::vector<std::string> arguments{"--target", server.target(), command};
      if (std::string(command) == "embed") arguments.push_back(image);
      const auto run = RunCtl(arguments, redirect);
      CAPTURE(redirect, command, run.err);
      // The exit code of a health check is its answer.
      const bool probe = std::string(command) == "probe";
      CHECK(run.exit_code == (probe ? 0 : 1));
      CHECK(Contains(run.err, "could not be written") != probe);
    }
  }
}

TEST_CASE("embedctl embed --npy knows at once that it cannot write, and of no text writes no row") {
  FakeServer server;
  const TempFolder dir;
  const auto nowhere = RunCtl(
      {"--target", server.target(), "embed", dir.Write("a.jpg", "a"), "--npy", dir.At("nowhere/v.npy")});
  CHECK(nowhere.exit_code == 1);
  CHECK(Contains(nowhere.err, "nowhere/v.npy cannot be written"));
  CHECK(server.service.seen().empty());
  for (const char* nothing : {"", "\xef\xbb\xbf"}) {
    const auto none = RunCtl({"--target", server.target(), "embed", "--texts", dir.Write("none.txt", nothing),
                              "--npy", dir.At("v.npy")});
    CHECK(none.exit_code == 0);
    CHECK(ReadAll(dir.At("v.npy")) == ctl::NpyHeader(0, kFakeDimension));
  }
}

TEST_CASE("embedctl verify agrees with itself and finds the vector that differs") {
  FakeServer server;
  const TempFolder dir;
  const auto a = dir.Write("a.jpg", std::string(300, 'a'));
  const auto b = dir.Write("b.jpg", "b");
  REQUIRE(RunCtl({"--target", server.target(), "embed", "--npy", dir.At("old.npy"), a, b}).exit_code == 0);
  const auto same =
      RunCtl({"--target", server.target(), "verify", "--reference", dir.At("old.npy"), a, b, "--json"});
  CHECK(same.exit_code == 0);
  CHECK(Json::parse(same.out)["min_cosine"] == Approx(1));
  const auto swapped =
      RunCtl({"--target", server.target(), "verify", "--reference", dir.At("old.npy"), b, a});
  CHECK(swapped.exit_code == 1);
  CHECK(Contains(swapped.out, "differ"));
  const auto fewer = RunCtl({"--target", server.target(), "verify", "--reference", dir.At("old.npy"), a});
  CHECK(fewer.exit_code == 1);
  CHECK(Contains(fewer.err, "2 rows"));
}

TEST_CASE("embedctl profile shows every part of the road") {
  FakeServer server;
  const TempFolder dir;
  const auto run =
      RunCtl({"--target", server.target(), "profile", dir.Write("a.jpg", "aaa"), "--repeat", "2"});
  CHECK(run.exit_code == 0);
  for (const char* part : {"total", "network", "decode", "queue", "execute", "reply"})
    CHECK(Contains(run.out, part));
}

TEST_CASE("embedctl bench measures both loops and counts what is refused") {
  FakeServer server;
  const auto bench = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments{"--target", server.target(), "bench", "--json", "--warmup", "0"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return RunCtl(arguments);
  };
  const auto closed =
      bench({"--duration", "300ms", "--callers", "2", "--images", "3", "--width", "8", "--height", "8"});
  CHECK(closed.exit_code == 0);
  auto json = Json::parse(closed.out);
  CHECK(json["loop"] == "closed");
  CHECK(json["images_per_second"].get<double>() > 0);
  CHECK(json["ok"] == json["calls"]);
  CHECK(json["latency_ms"]["p50"].get<double>() <= json["latency_ms"]["p99"].get<double>());

  const auto seen = server.service.seen().size();
  server.service.before = [](int call, const v1::EmbedBatchRequest&, grpc::ServerContext* context) {
    return call % 2 == 0 ? QueueFull(context, "1") : grpc::Status::OK;
  };
  const auto open =
      bench({"--duration", "500ms", "--rate", "100", "--input", "jpeg", "--width", "17", "--height", "9"});
  CHECK(open.exit_code == 1);
  json = Json::parse(open.out);
  CHECK(json["loop"] == "open");
  CHECK(json["calls"] == server.service.seen().size() - seen);
  CHECK(json["ok"].get<size_t>() + json["errors"]["RESOURCE_EXHAUSTED"].get<size_t>() == json["calls"]);
  CHECK(RunCtl({"--target", server.target(), "bench", "--images", "2000"}).exit_code == 1);
  CHECK(RunCtl({"--target", server.target(), "bench", "--callers", "0"}).exit_code == 2);
}

TEST_CASE("embedctl batches prints the records as a table") {
  FakeHttp http(
      R"([{"id":1,"size":3,"bucket":4,"requests":2,"before":1024,"peak":3072,"after":1024,"outcome":"ok"}])");
  const auto run = RunCtl({"--http", http.url(), "batches"});
  CHECK(run.exit_code == 0);
  CHECK(Contains(run.out, "2.00 KiB"));
  const auto json = RunCtl({"--http", http.url(), "batches", "--json"});
  CHECK(Json::parse(json.out)["peak"] == 3072);
  CHECK(RunCtl({"--http", "nonsense", "batches"}).exit_code == 2);
}

TEST_CASE("embedctl batches --follow goes on with a server that started again") {
  const FakeHttp http(R"([{"id": 8}, {"id": 9}])",
                      {R"([{"id": 9}, {"id": 10}])", R"([])", R"([{"id": 1}])", R"([{"id": 1}, {"id": 2}])"});
  const auto run = RunCtl({"--http", http.url(), "batches", "--follow", "--every", "1ms", "--json"});
  CHECK(run.exit_code == 1);
  CHECK(Contains(run.err, "HTTP 503"));
  std::istringstream lines(run.out);
  std::vector<int> ids;
  for (std::string line; std::getline(lines, line);) ids.push_back(Json::parse(line)["id"]);
  CHECK(ids == std::vector<int>{8, 9, 10, 1, 2});
}

TEST_CASE("embedctl embeds texts, each on its line") {
  FakeServer server;
  const TempFolder dir;
  const auto run = RunCtl({"--target", server.target(), "embed", "--text", "a cat", "--texts",
                           dir.Write("texts", "second\n\nbad\n"), "--json"});
  CHECK(run.exit_code == 1);
  std::istringstream lines(run.out);
  std::string line;
  std::vector<Json> objects;
  while (std::getline(lines, line)) objects.push_back(Json::parse(line));
  REQUIRE(objects.size() == 4);
  CHECK(objects[0]["text"] == "a cat");
  CHECK(objects[0]["vector"][0] == 5);
  CHECK(objects[2]["vector"][0] == 0);
  CHECK(objects[3]["error"]["reason"] == "CORRUPT_IMAGE");
  const auto text = RunCtl({"--target", server.target(), "embed", "--text", "a cat"});
  CHECK(text.exit_code == 0);
  CHECK(Contains(text.out, "\"a cat\"  [4]"));
  CHECK(RunCtl({"--target", server.target(), "embed", "--text", "a", dir.Write("a.jpg", "a")}).exit_code ==
        2);
}

TEST_CASE("embedctl rank sorts the texts of each image, with the model's probabilities") {
  FakeServer server;
  server.service.info.mutable_model()->set_similarity("cosine");
  server.service.info.mutable_model()->set_logit_scale(0.001);
  const TempFolder dir;
  const auto image = dir.Write("a.jpg", "aaa");
  const std::vector<std::string> command{"--target", server.target(), "rank",
                                         image,      "--text",        "b",
                                         "--text",   "cccccccc",      dir.Write("bad.jpg", "bad")};
  const auto run = RunCtl(command);
  CHECK(run.exit_code == 1);
  CHECK(Contains(run.err, "bad.jpg: CORRUPT_IMAGE"));
  CHECK(run.out.find("cccccccc") < run.out.find("  b  "));
  CHECK(Contains(run.out, "probability"));
  auto json_command = command;
  json_command.insert(json_command.end(), {"--json", "--top", "1"});
  const auto json = Json::parse(RunCtl(json_command).out);
  CHECK(json["file"] == image);
  REQUIRE(json["texts"].size() == 1);
  CHECK(json["texts"][0]["text"] == "cccccccc");
  CHECK(json["texts"][0]["probability"].get<double>() > 0.5);
  CHECK(RunCtl({"--target", server.target(), "rank", image}).exit_code == 2);
}

TEST_CASE("embedctl speaks to several servers with every command") {
  FakeServer a, b;
  const std::string gone = [] {
    FakeServer server;
    return server.target();
  }();
  const std::string both = "grpc://" + a.target() + "," + b.target();
  const TempFolder dir;
  const auto info = RunCtl({"--target", both, "info"});
  CHECK(info.exit_code == 0);
  CHECK(Contains(info.out, a.target()));
  CHECK(Contains(info.out, b.target()));
  const auto json = RunCtl({"--target", both + "," + gone, "info", "--json"});
  CHECK(json.exit_code == 1);
  CHECK(Json::parse(json.out).size() == 3);
  CHECK(Json::parse(json.out)[2]["error"]["code"] == "UNAVAILABLE");
  CHECK(RunCtl({"--target", both, "probe"}).exit_code == 0);
  CHECK(RunCtl({"--target", both + "," + gone, "probe"}).exit_code == 2);
  const auto embed = RunCtl({"--target", gone + "," + both, "embed", dir.Write("a.jpg", "aaa")});
  CHECK(embed.exit_code == 0);
  CHECK(Contains(embed.err, gone));
  CHECK(RunCtl({"--target", both, "bench", "--warmup", "0", "--duration", "300ms", "--width", "8", "--height",
                "8"})
            .exit_code == 0);
  CHECK_FALSE(a.service.seen().empty());
  CHECK_FALSE(b.service.seen().empty());
  b.service.info.mutable_model()->set_fingerprint("fake-2");
  const auto odd = RunCtl({"--target", both, "info"});
  CHECK(odd.exit_code == 1);
  CHECK(Contains(odd.err, "fake-2"));
}

TEST_CASE("embedctl request writes a message that load tools can send") {
  const TempFolder dir;
  const auto run =
      RunCtl({"request", "--out", dir.At("request.bin"), dir.Write("a.jpg", "aaa"), dir.Write("b.jpg", "b")});
  CHECK(run.exit_code == 0);
  v1::EmbedBatchRequest request;
  REQUIRE(request.ParseFromString(ReadAll(dir.At("request.bin"))));
  CHECK(request.inputs_size() == 2);
  CHECK(request.inputs(0).image() == "aaa");
}

}  // namespace
}  // namespace embedd::client
