// SPDX-License-Identifier: Apache-2.0
//
// HttpCall: one request on its way through its door: its head and body, and the way back to the connection it
// came on. Made by HttpServer; its handler answers it once, from any thread. Lives as long as
// anybody holds it.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "server/http/http_message.h"
#include "server/support/mutex.h"

namespace embedd {

class HttpCall {
 public:
  // What HttpServer gives it; each may be called from any thread, also when the server is gone.
  struct Ways {
    std::function<void(HttpResponse)> answer;        // sends it; called once
    std::function<void(std::function<void()>)> run;  // runs work on a thread of the door
  };

  HttpCall(HttpHead head, std::string body, std::shared_ptr<void> place, uint64_t flow, Ways ways)
      : head(std::move(head)),
        body(std::move(body)),
        place(std::move(place)),
        flow(flow),
        ways_(std::move(ways)) {}

  const HttpHead head;
  std::string body;             // the handler's to drop
  std::shared_ptr<void> place;  // what the body takes of a budget; to be dropped with it
  const uint64_t flow;          // of the connection

  // Sends the answer, unless the client has gone.
  void Answer(HttpResponse response) {
    Forget();
    ways_.answer(std::move(response));
  }

  // Work that is too long for the threads of others, such as writing many numbers.
  void Run(std::function<void()> work) { ways_.run(std::move(work)); }

  // `gone` is called once if the client goes away before Answer; now if it has gone.
  void OnGone(std::function<void()> gone) {
    {
      MutexLock lock(&mu_);
      if (!gone_) {
        if (!answered_) on_gone_ = std::move(gone);
        return;
      }
    }
    gone();
  }

  // By the server: the client has gone.
  void Gone() {
    std::function<void()> told;
    {
      MutexLock lock(&mu_);
      gone_ = true;
      told = std::move(on_gone_);
      on_gone_ = nullptr;
    }
    if (told) told();
  }

 private:
  // Whom to tell holds this call, mostly.
  void Forget() {
    std::function<void()> dropped;
    MutexLock lock(&mu_);
    answered_ = true;
    dropped.swap(on_gone_);
  }

  const Ways ways_;
  Mutex mu_;
  bool gone_ ABSL_GUARDED_BY(mu_) = false, answered_ ABSL_GUARDED_BY(mu_) = false;
  std::function<void()> on_gone_ ABSL_GUARDED_BY(mu_);
};

}  // namespace embedd
