// SPDX-License-Identifier: Apache-2.0
//
// How large a batch is. Pure, so a test drives it with a simulated clock.
//
// A batch is formed as late as possible: when the device is free and something waits, with what is there.
// There is never a fixed delay, and nothing is taken for a device that still works: an image that comes
// meanwhile may ride in the very next batch, and where there are several devices, on the one that is free
// first.
//
// BOUND. An interactive task at the head of its lane waits at most for the batch on the device and rides in
// the next: two batches at the latency target. One that is the k-th of its flow, while F flows wait, has at
// most k * F images of its lane before it, because flows take turns: their time at the device's rate, those
// two batches, and the tenth that bulk gets. A task with a near deadline may go before it, but is only
// admitted when all that goes before it can be done before that deadline.

#pragma once

#include "server/batching/cap_controller.h"
#include "server/queue/bounded_queue.h"

namespace embedd {

// How many images to take of those `waiting`, and how long batches take. Where the device runs whole rungs
// (`padded`) only the rung below is taken when that costs less per image than padding up (the rule of
// TensorFlow's batching). The result does not refer to `cap`.
BoundedQueue::Want PlanBatch(const BoundedQueue::Sizes& waiting, const CapController& cap, bool padded);

}  // namespace embedd
