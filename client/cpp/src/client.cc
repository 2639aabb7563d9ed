// SPDX-License-Identifier: Apache-2.0

#include "embedd/client.h"

#include <utility>

#include "absl/time/clock.h"
#include "client/cpp/src/connection.h"
#include "client/cpp/src/embed_call.h"
#include "client/cpp/src/source.h"
#include "client/cpp/src/split.h"

namespace embedd::client {
namespace {

// `make_source` gets the limits of the server.
template <typename MakeSource>
absl::StatusOr<EmbedResult> Embed(const internal::Connection& connection, size_t inputs,
                                  const EmbedOptions& options, MakeSource make_source) {
  const auto info = connection.KnownInfo(options.deadline);
  if (!info.ok()) return info.status();
  const auto source = make_source(info->limits);
  const auto parts =
      internal::Split(source->Bytes(), internal::LimitsFor(connection.options(), info->limits));
  auto result = internal::EmbedCall(connection, *source, options).Run(parts, inputs);
  // No input was fit to be sent: rows still have their width.
  if (result.ok() && result->dimension == 0) {
    result->dimension = info->model.dimension;
    result->rows.assign(inputs * result->dimension, 0.0F);
    result->fingerprint = source->texts() ? info->model.text_fingerprint : info->model.fingerprint;
  }
  return result;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Client>> Client::Create(Options options) {
  auto connection = internal::Connection::Create(std::move(options));
  if (!connection.ok()) return connection.status();
  return std::unique_ptr<Client>(new Client(*std::move(connection)));
}

Client::Client(std::unique_ptr<internal::Connection> connection) : connection_(std::move(connection)) {}
Client::~Client() = default;

absl::StatusOr<EmbedResult> Client::EmbedImages(std::span<const ImageRef> images,
                                                const EmbedOptions& options) const {
  return Embed(*connection_, images.size(), options,
               [&](const ServerInfo::Limits& limits) { return internal::ImageSource(images, limits); });
}

absl::StatusOr<EmbedResult> Client::EmbedFiles(std::span<const std::string> paths,
                                               const EmbedOptions& options) const {
  return Embed(*connection_, paths.size(), options,
               [&](const ServerInfo::Limits& limits) { return internal::FileSource(paths, limits); });
}

absl::StatusOr<EmbedResult> Client::EmbedTexts(std::span<const std::string> texts,
                                               const EmbedOptions& options) const {
  return Embed(*connection_, texts.size(), options,
               [&](const ServerInfo::Limits& limits) { return internal::TextSource(texts, limits); });
}

absl::StatusOr<ServerInfo> Client::GetServerInfo() const {
  const absl::Time deadline = internal::AttemptDeadline(connection_->options(), absl::InfiniteFuture());
  absl::Status failure;
  for (size_t i = 0; i < connection_->replicas().size(); ++i) {
    auto info = connection_->FetchInfo(i, deadline);
    if (info.ok()) return info;
    if (failure.ok()) failure = connection_->Explained(i, info.status());
  }
  return failure;
}

std::vector<TargetInfo> Client::GetServerInfos() const {
  auto infos =
      connection_->FetchAll(internal::AttemptDeadline(connection_->options(), absl::InfiniteFuture()));
  std::vector<TargetInfo> answers;
  for (size_t i = 0; i < infos.size(); ++i) {
    if (!infos[i].ok()) infos[i] = connection_->Explained(i, infos[i].status());
    answers.push_back({connection_->target(i).name, std::move(infos[i])});
  }
  return answers;
}

}  // namespace embedd::client
