// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/embed_stream.h"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/macros.h"
#include "embedd/v1/embedding_service.grpc.pb.h"
#include "server/rpc/admission.h"
#include "server/rpc/answer_place.h"
#include "server/rpc/batch_response.h"
#include "server/rpc/call_trace.h"
#include "server/rpc/intake.h"
#include "server/rpc/request_checks.h"
#include "server/rpc/status_mapping.h"

namespace embedd {
namespace {

// Inputs of one stream that are accepted and not yet written back: two batches of the default size, so that
// one stream alone can keep the device busy.
constexpr uint64_t kWindow = 128;

// gRPC calls OnReadDone, OnWriteDone and OnCancel from any thread, and answers arrive from others. What only
// the reading side uses needs no lock, because there is one read, or one wait for a place, at a time.
class Stream final : public StreamReactor, public std::enable_shared_from_this<Stream> {
 public:
  Stream(Road* road, OpenStreams* streams, grpc::CallbackServerContext* context)
      : road_(road),
        streams_(streams),
        context_(context),
        arrived_(road->clock->TimeNow()),
        trace_(TraceOf(*context)) {
    road_->live_calls.Enter();
  }

  void Start() {
    self_ = shared_from_this();
    entry_ = streams_->Add([this] { StopReading(); });
    if (!road_->tokens->Allows(*context_)) return Fail(Unauthenticated());
    if (auto failure = CheckServing(*road_)) return Fail(*failure);
    model_ = road_->model.load();
    flow_ = FlowOf(*context_);
    deadline_ = RoadDeadline(*road_, context_->deadline());
    Advance();
  }

  void OnReadDone(bool ok) override {
    if (ok && !Finished()) {
      if (!Accept()) return;  // the read side goes on when there is a place, or the stream has ended
    }
    EndRead(/*half_closed=*/!ok);
  }

  void OnWriteDone(bool ok) override {
    AnswerPlace sent;  // given back without the lock: that may wake another stream
    {
      MutexLock lock(&mu_);
      writing_ = false;
      if (const auto answer = answers_.find(written_); answer != answers_.end()) {
        sent = std::move(answer->second);
        answers_.erase(answer);
      }
      ++written_;
    }
    sent.Release();
    if (!ok) return Abandon();
    Advance();
  }

  void OnCancel() override { Abandon(); }

  void OnDone() override {
    streams_->Remove(entry_);
    road_->live_calls.Leave();
    self_.reset();
  }

 private:
  // A message that is read and waits for a place.
  struct Waiting {
    std::shared_ptr<v1::Input> input;
    Places room;
    AnswerPlace answer;
  };

  void StopReading() {
    {
      MutexLock lock(&mu_);
      draining_ = true;
    }
    Advance();
  }

  // The message is on the road, or there is none any more: the next may be read.
  void EndRead(bool half_closed) {
    {
      MutexLock lock(&mu_);
      reading_ = false;
      half_closed_ = half_closed_ || half_closed;
    }
    Advance();
  }

  // Reads the bytes that came. False: they are no message.
  bool Read() {
    return grpc::SerializationTraits<v1::EmbedStreamRequest>::Deserialize(&received_, &message_).ok();
  }

  // Takes in the message that was just read. False: not done, and somebody else goes on.
  bool Accept() {
    auto failure = CheckServing(*road_);
    const bool malformed = !Read();
    if (!failure && malformed) {
      const absl::Status status =
          absl::InvalidArgumentError("input: is no EmbedStreamRequest; texts and ids must be UTF-8");
      if (reads_ > 0) {  // fails alone, as every input that is wrong
        input_ = std::make_shared<v1::Input>();
        Refuse(reads_++, {status, Reason::kInvalidRequest});
        return true;
      }
      failure = CallFailure{.status = status, .reason = Reason::kInvalidRequest, .field = "input"};
    }
    if (!failure && reads_ == 0) {
      const std::optional<bool> normalize =
          message_.has_normalize() ? std::optional<bool>(message_.normalize()) : std::nullopt;
      failure = ReadSettings(message_.encoding(), normalize, message_.priority(),
                             message_.expect_fingerprint(), &settings_);
      if (!failure) failure = CheckFingerprint(settings_.expect_fingerprint, *model_, {});
    }
    if (!failure && message_.input().content_case() != v1::Input::CONTENT_NOT_SET) {
      bool& seen = message_.input().has_text() ? kinds_.text : kinds_.image;
      // With the second kind it is a mixed call, which takes the pair alone.
      if (!std::exchange(seen, true))
        failure = CheckFingerprint(settings_.expect_fingerprint, *model_, kinds_);
    }
    if (failure) {
      road_->metrics->CountImages(RefusalOutcome(*failure));
      Fail(*failure);
      return false;
    }
    ++reads_;
    input_ = std::make_shared<v1::Input>(std::move(*message_.mutable_input()));
    return TakePlace();
  }

  // Puts `input_` on the road. False: it waits until the queue has a place for it, or the stream has ended.
  bool TakePlace() {
    const uint64_t index = reads_ - 1;
    if (auto malformed = CheckInput(*input_, "input")) {
      Refuse(index, {malformed->status, malformed->reason});
      return true;
    }
    if (auto refusal = RefuseInput(*input_, road_->limits, *model_)) {
      Refuse(index, *refusal);
      return true;
    }
    const int64_t bytes = RoadBytes(*input_, *model_);
    const int64_t answer_bytes = AnswerBytes(1, settings_, *model_);
    absl::StatusOr<AnswerPlace> answer = road_->answers.Reserve(flow_, answer_bytes);
    if (!answer.ok()) return RefuseStream(answer.status());
    absl::StatusOr<Places> place = WaitForPlace(*answer, bytes, bytes + answer_bytes);
    if (place.ok() && place->images() == 0) return false;
    if (!place.ok()) return RefuseStream(place.status());
    PutOnRoad(std::move(input_), *std::move(place), *std::move(answer), bytes);
    return true;
  }

  bool RefuseStream(const absl::Status& full) {
    road_->metrics->CountImages(Outcome::kRefused);
    road_->metrics->CountRejected(Reason::kQueueFull);
    Fail(QueueFull(full, *road_, 1));
    return false;
  }

  // A place for `input_`, or an empty one: the message waits for its place in the waiting room, or the stream
  // has ended. The error when the room is full, too. What waits takes `answer` along.
  absl::StatusOr<Places> WaitForPlace(AnswerPlace& answer, int64_t bytes, int64_t all_bytes) {
    absl::StatusOr<Places> room = road_->waiting_room->Reserve(1, ContentBytes(*input_));
    if (!room.ok()) return road_->budget->Reserve(1, all_bytes);
    {
      MutexLock lock(&mu_);
      if (finished_) return Places();
      waiting_ = Waiting{.input = std::move(input_), .room = *std::move(room), .answer = std::move(answer)};
    }
    absl::StatusOr<Places> place =
        road_->budget->ReserveOrWait(1, all_bytes, [self = shared_from_this(), bytes](Places granted) {
          // A turn of its own: the thread that gave the place back has other things to do.
          self->road_->prepare->Soon([self, bytes, held = std::move(granted)]() mutable {
            std::optional<Waiting> waited = self->TakeWaiting();
            if (!waited.has_value()) return;  // dropping the place hands it to the next who waits
            self->PutOnRoad(std::move(waited->input), std::move(held), std::move(waited->answer), bytes);
            waited.reset();
            self->EndRead(/*half_closed=*/false);
          });
        });
    if (absl::IsResourceExhausted(place.status())) return Places();
    std::optional<Waiting> waited = TakeWaiting();  // it need not wait
    if (!waited.has_value()) return Places();       // the stream has ended meanwhile
    input_ = std::move(waited->input);
    answer = std::move(waited->answer);
    return place;
  }

  std::optional<Waiting> TakeWaiting() {
    MutexLock lock(&mu_);
    return std::exchange(waiting_, std::nullopt);
  }

  // Sends the input that was read last on its way.
  void PutOnRoad(std::shared_ptr<v1::Input> input, Places place, AnswerPlace answer, int64_t bytes) {
    answer.Hold(place.Take(0, place.bytes() - bytes));
    EmbedTask task(NewCall(reads_ - 1, *input, std::move(answer)), 0);
    task.place = std::move(place);
    task.lane = settings_.lane;
    task.flow = flow_;
    task.deadline = deadline_;
    const PrepareLoad load = LoadOf(*road_, *input);
    StartIntake(road_, std::move(task), *input, load);
  }

  void Refuse(uint64_t index, const InputRefusal& refusal) {
    road_->metrics->CountRejected(refusal.reason);
    NewCall(index, *input_, {})
        ->OnAnswer(0, Answer::Failure(Outcome::kRejected, refusal.status, refusal.reason));
  }

  std::shared_ptr<PendingCall> NewCall(uint64_t index, v1::Input& input, AnswerPlace answer) {
    const absl::Time arrived = road_->clock->TimeNow();
    auto call = std::make_shared<PendingCall>(
        PendingCall::Options{.inputs = 1,
                             .dimension = model_->dimension,
                             .encoding = RowsOf(settings_),
                             .normalize = settings_.normalize,
                             .trace = trace_},
        road_->metrics,
        [self = shared_from_this(), index, tower = TowerOf(input), arrived,
         id = std::move(*input.mutable_id())](CallResult result) mutable {
          self->OnResult(index, tower, arrived, std::move(id), std::move(result));
        });
    MutexLock lock(&mu_);
    if (finished_) call->MarkDead();  // it ended meanwhile: nobody waits for this one
    calls_[index] = call;
    answers_[index] = std::move(answer);
    accepted_ = index + 1;
    return call;
  }

  void OnResult(uint64_t index, Tower tower, absl::Time arrived, std::string id, CallResult result) {
    const absl::Status status = result.status;
    const Reason reason = result.reason;
    {
      MutexLock lock(&mu_);
      calls_.erase(index);
      if (status.ok() && !finished_) {
        FillStreamResponse(std::move(result), settings_, *model_, tower, index, std::move(id),
                           road_->clock->TimeNow() - arrived, &ready_[index]);
      }
    }
    if (!status.ok()) return Fail(CutOff(*road_, status, reason));
    Advance();
  }

  // Starts whatever can be started: the next write, the next read, the end.
  void Advance() {
    bool end_ok = false, end_drained = false;
    {
      // The lock is held while gRPC is asked to write or read: neither may be asked after Finish. gRPC
      // answers on other threads.
      MutexLock lock(&mu_);
      if (finished_) return;
      if (const auto next = ready_.find(written_); !writing_ && next != ready_.end()) {
        bool own = false;
        response_.Clear();
        const grpc::Status packed =
            grpc::SerializationTraits<v1::EmbedStreamResponse>::Serialize(next->second, &response_, &own);
        ABSL_ASSERT(packed.ok());  // it fails from 2 GiB on
        ready_.erase(next);
        writing_ = true;
        StartWrite(&response_);
      }
      const uint64_t outstanding = accepted_ - written_;
      const bool read = !reading_ && !half_closed_ && !draining_ && outstanding < kWindow;
      if (read) {
        reading_ = true;
        StartRead(&received_);
      }
      if (outstanding == 0 && !writing_ && !read) {
        end_ok = half_closed_;
        end_drained = draining_ && !half_closed_;
      }
    }
    if (end_ok) End(nullptr);
    if (end_drained) {
      if (auto failure = CheckServing(*road_)) Fail(*failure);
    }
  }

  // The caller went away.
  void Abandon() {
    Fail({.status = absl::CancelledError("the caller went away"), .reason = Reason::kCancelled});
    DropDead(road_, flow_);
  }

  void Fail(const CallFailure& failure) { End(&failure); }

  // Ends the stream, well without `failure`, unless it has ended. Only whoever ends it may touch the context:
  // it is gone once gRPC has seen the end, and answers still come in.
  void End(const CallFailure* failure) {
    std::map<uint64_t, std::shared_ptr<PendingCall>> calls;
    std::map<uint64_t, AnswerPlace> answers;  // given back without the lock: that may wake another stream
    std::optional<Waiting> waiting;
    int64_t inputs = 0;
    {
      MutexLock lock(&mu_);
      if (std::exchange(finished_, true)) return;
      inputs = static_cast<int64_t>(accepted_);
      calls.swap(calls_);
      answers.swap(answers_);
      waiting.swap(waiting_);
      ready_.clear();
    }
    for (const auto& [index, call] : calls) call->MarkDead();
    const grpc::Status status = failure == nullptr ? grpc::Status::OK : ToGrpcStatus(*failure, context_);
    NoteEnd(*road_, trace_,
            {.method = "EmbedStream", .start = arrived_, .code = status.error_code(), .inputs = inputs});
    AddLoadReport(*road_, {}, context_);
    Finish(status);
  }

  bool Finished() {
    MutexLock lock(&mu_);
    return finished_;
  }

  Road* const road_;
  OpenStreams* const streams_;
  grpc::CallbackServerContext* const context_;
  const absl::Time arrived_;
  const std::optional<TraceContext> trace_;
  std::shared_ptr<Stream> self_;  // until OnDone
  OpenStreams::Entry entry_;
  const ModelSpec* model_ = nullptr;
  uint64_t flow_ = 0;
  absl::Time deadline_ = absl::InfiniteFuture();

  // The reading side.
  grpc::ByteBuffer received_;
  v1::EmbedStreamRequest message_;
  std::shared_ptr<v1::Input> input_;
  CallSettings settings_;
  Kinds kinds_;  // that were sent so far
  uint64_t reads_ = 0;

  grpc::ByteBuffer response_;  // being written

  Mutex mu_;
  bool reading_ ABSL_GUARDED_BY(mu_) = false;  // from a read's start until its message is on the road
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool half_closed_ ABSL_GUARDED_BY(mu_) = false;
  bool draining_ ABSL_GUARDED_BY(mu_) = false;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  uint64_t accepted_ ABSL_GUARDED_BY(mu_) = 0;  // inputs on the road so far
  uint64_t written_ ABSL_GUARDED_BY(mu_) = 0;   // of those, answered to the end
  std::map<uint64_t, v1::EmbedStreamResponse> ready_ ABSL_GUARDED_BY(mu_);
  std::map<uint64_t, std::shared_ptr<PendingCall>> calls_ ABSL_GUARDED_BY(mu_);
  std::map<uint64_t, AnswerPlace> answers_ ABSL_GUARDED_BY(mu_);  // of inputs not yet answered to the end
  std::optional<Waiting> waiting_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

OpenStreams::Entry OpenStreams::Add(std::function<void()> stop_reading) {
  MutexLock lock(&mu_);
  return streams_.insert(streams_.end(), std::move(stop_reading));
}

void OpenStreams::Remove(Entry entry) {
  MutexLock lock(&mu_);
  streams_.erase(entry);
}

void OpenStreams::Drain() {
  MutexLock lock(&mu_);
  for (const auto& stop_reading : streams_) stop_reading();
}

StreamReactor* StartEmbedStream(Road* road, OpenStreams* streams, grpc::CallbackServerContext* context) {
  auto stream = std::make_shared<Stream>(road, streams, context);
  stream->Start();
  return stream.get();
}

}  // namespace embedd
