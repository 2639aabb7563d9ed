// SPDX-License-Identifier: Apache-2.0
//
// LaneQueue: who goes next. The one order of the road: the threads that prepare inputs take from one, the
// device takes from another (BoundedQueue). Knows nothing of what it holds, but for its lane, its flow, its
// deadline and what it costs. Not thread-safe; its owner guards it.
//
// ORDER. Two lanes: interactive goes before bulk, but while bulk waits it gets at least a tenth of what is
// taken, by cost. Inside a lane flows (connections) take turns, by cost: one whose items are dear waits until
// the others have had as much. An item whose deadline is near goes before that, earliest deadline first.
// Inside a flow the earliest deadline goes first, then the order of arrival.
//
// BOUND. Nobody is passed for ever by those whose deadlines are nearer, whatever comes. Of what a lane gives,
// a quarter by cost goes to the flow whose turn it is; of what a flow gets, a quarter goes to its oldest
// item. So before an item that is the k-th oldest of its flow, while F flows wait, its lane gives at most 16
// * k * F times what one item costs; with one kind of deadline in the flow, or none near, a quarter of that.

#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <set>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "server/queue/input_counts.h"

namespace embedd {

template <typename T>
class LaneQueue {
 public:
  struct Options {
    // Share that bulk gets while it and interactive wait. 0 to 1.
    double bulk_floor = 0.1;
    // Share of a lane that goes by turns while deadlines are near, and of a flow that goes by age. 0 to 1.
    double fair_floor = 0.25;
  };

  explicit LaneQueue(const Options& options = {}) : options_(options) {}

  // `cost` > 0, in any unit, but one unit for all. `tower` is counted, and changes no order.
  void Add(Lane lane, uint64_t flow, absl::Time deadline, double cost, T item, Tower tower = Tower::kImage);

  // What to take.
  struct Round {
    int most = 1;            // items
    int most_with_bulk = 1;  // as soon as bulk is among them: at most `most`
    // What the batch will really hold once bulk's next is in it, where `offer` takes fewer than
    // `most_with_bulk`; bulk's share is one of that. 0: `most_with_bulk`.
    int batch_with_bulk = 0;
    absl::Time urgent_before = absl::InfinitePast();  // deadlines before this go before taking turns
  };
  enum class Verdict {
    kTaken,    // moved away, and counts
    kDropped,  // moved away, and costs nothing: its flow had no turn
    kWaits,    // stays; nothing more of its flow is offered in this round
  };
  // Calls `offer(T&)`, which gives a Verdict, for one item after the other, best first, until enough is
  // taken.
  template <typename Offer>
  void Take(const Round& round, Offer offer);

  // The item of `lane` whose turn is next, deadlines aside; null: none waits. Valid until anything changes.
  const T* Next(Lane lane) const {
    const auto& by_turns = lanes_[static_cast<int>(lane)].by_turns;
    return by_turns.empty() ? nullptr : &(*by_turns.begin())->head().item;
  }

  // Moves the items of `flow` for which `wanted(const T&)` to `removed`.
  template <typename Wanted>
  void RemoveIf(uint64_t flow, Wanted wanted, std::vector<T>& removed);
  void RemoveAll(std::vector<T>& removed);

  InputCounts counts() const {
    InputCounts counts;
    for (const Lane lane : {Lane::kInteractive, Lane::kBulk}) {
      for (const Tower tower : kAllTowers)
        counts.At(tower, lane) = lanes_[static_cast<int>(lane)].counts[tower];
    }
    return counts;
  }
  LaneSizes sizes() const { return {.interactive = lanes_[0].size(), .bulk = lanes_[1].size()}; }
  // Of what the lanes hold, by cost or by number, how much leaves until the last of `lane` does: what is bulk
  // takes its share from those who go before it, and no more.
  double LeavesUntilLastOf(Lane lane, double interactive, double bulk) const {
    const double share = options_.bulk_floor;
    return interactive + (lane == Lane::kBulk ? bulk : std::min(bulk, interactive * share / (1 - share)));
  }
  double cost(Lane lane) const { return lanes_[static_cast<int>(lane)].cost; }

 private:
  struct Entry {
    absl::Time deadline;
    uint64_t number;  // of arrival
    double cost;
    Tower tower;
    T item;
  };
  // What those are owed who are passed by others: a share, by cost.
  struct Credit {
    double owed = 0;
    bool Due(double cost) const { return owed >= cost; }
    void Count(double share, double cost, bool to_them, double most) {
      owed = std::clamp(owed + share * cost - (to_them ? cost : 0), 0.0, most);
    }
  };
  struct Flow {
    uint64_t id = 0;
    std::deque<Entry> entries;  // by deadline, then arrival; not empty while the flow is in its lane's sets
    bool mixed = false;         // the order of arrival may be another one
    Credit age;                 // of the oldest entry
    double turns = 0;           // cost of what was taken since it joined, and the lane's clock then
    uint64_t joined = 0;

    const Entry& head() const { return entries.front(); }
    size_t oldest() const {
      if (!mixed) return 0;
      const auto older = [](const Entry& a, const Entry& b) { return a.number < b.number; };
      return static_cast<size_t>(std::min_element(entries.begin(), entries.end(), older) - entries.begin());
    }
  };
  struct ByTurns {
    bool operator()(const Flow* a, const Flow* b) const { return Key(*a) < Key(*b); }
    static auto Key(const Flow& f) { return std::tuple(f.turns, f.head().cost, f.joined); }
  };
  struct ByDeadline {
    bool operator()(const Flow* a, const Flow* b) const { return Key(*a) < Key(*b); }
    static auto Key(const Flow& f) { return std::tuple(f.head().deadline, f.turns, f.joined); }
  };
  struct LaneState {
    std::unordered_map<uint64_t, Flow> flows;
    std::set<Flow*, ByTurns> by_turns;
    std::set<Flow*, ByDeadline> by_deadline;
    // What each waiting flow would have got of all that was taken, had it been shared evenly.
    double clock = 0;
    Credit turn;  // of the flow whose turn it is
    double cost = 0;
    PerTower<int> counts;

    int size() const { return counts[Tower::kImage] + counts[Tower::kText]; }
    void Link(Flow* flow) {
      by_turns.insert(flow);
      by_deadline.insert(flow);
    }
    // Before anything changes that the sets are ordered by.
    void Unlink(Flow* flow) {
      by_turns.erase(flow);
      by_deadline.erase(flow);
    }
    void Forget(Tower tower, double entry_cost) {
      --counts[tower];
      cost = size() == 0 ? 0 : cost - entry_cost;
    }
    // The turns of a flow that joins: as many as the one that had the fewest. Up to one item more where
    // others joined since that one was served, or those that come and go would pass it for ever.
    double StartOfNew() const {
      if (by_turns.empty()) return clock;
      const Flow& last = **by_turns.begin();
      return std::clamp(clock, last.turns, last.turns + last.head().cost);
    }
    double MeanCost() const { return size() == 0 ? 0 : cost / size(); }
  };
  struct Taken {
    int items = 0;
    double cost = 0;
  };

  template <typename Offer>
  void TakeFrom(LaneState& lane, int most, absl::Time urgent_before, Offer& offer, Taken& taken);

  const Options options_;
  LaneState lanes_[2];
  double bulk_credit_ = 0;  // cost that bulk is owed; below zero: that it has had too much
  uint64_t arrivals_ = 0;
};

template <typename T>
void LaneQueue<T>::Add(Lane lane_name, uint64_t flow_id, absl::Time deadline, double cost, T item,
                       Tower tower) {
  LaneState& lane = lanes_[static_cast<int>(lane_name)];
  const uint64_t number = ++arrivals_;
  auto [it, joined] = lane.flows.try_emplace(flow_id);
  Flow* const flow = &it->second;
  if (joined) {
    flow->id = flow_id;
    flow->turns = lane.clock = lane.StartOfNew();
    flow->joined = number;
  }
  // Deadlines of a connection mostly rise, so the place is near the end.
  auto at = flow->entries.end();
  while (at != flow->entries.begin() && std::prev(at)->deadline > deadline) --at;
  const bool new_head = at == flow->entries.begin();
  if (new_head && !joined) lane.Unlink(flow);
  flow->mixed |= at != flow->entries.end();
  flow->entries.insert(at, Entry{deadline, number, cost, tower, std::move(item)});
  if (new_head) lane.Link(flow);
  ++lane.counts[tower];
  lane.cost += cost;
}

template <typename T>
template <typename Offer>
void LaneQueue<T>::Take(const Round& round, Offer offer) {
  LaneState& interactive = lanes_[0];
  LaneState& bulk = lanes_[1];
  const bool both = bulk.size() > 0 && interactive.size() > 0;
  if (!both) bulk_credit_ = 0;  // nobody is kept waiting
  const double bulk_mean = bulk.MeanCost();
  int owed = 0;
  if (both) {
    // Reckoned by more than such a batch holds, bulk would be owed all of it, every time.
    const int batch = round.batch_with_bulk > 0 ? round.batch_with_bulk : round.most_with_bulk;
    const int planned = std::min(batch, interactive.size() + bulk.size());
    const double due = bulk_credit_ + options_.bulk_floor * planned * interactive.MeanCost();
    owed = static_cast<int>(std::min<double>(due / bulk_mean, std::min(bulk.size(), round.most_with_bulk)));
  }
  Taken taken;
  // What bulk is owed goes first: beside the tight deadlines of others there may be no room for it later.
  TakeFrom(bulk, owed, round.urgent_before, offer, taken);
  Taken bulk_taken = taken;
  TakeFrom(interactive, taken.items > 0 ? round.most_with_bulk : round.most, round.urgent_before, offer,
           taken);
  const Taken before = taken;
  TakeFrom(bulk, round.most_with_bulk, round.urgent_before, offer, taken);
  bulk_taken.cost += taken.cost - before.cost;
  if (both) {  // by what really goes: a batch with bulk in it may be much smaller than planned
    const double credit_before = bulk_credit_;
    bulk_credit_ += options_.bulk_floor * taken.cost - bulk_taken.cost;
    // A batch that those of interactive who still wait could not ride in (it is of another tower) was filled
    // up with bulk at their expense: bulk has that much less to come.
    const double least = interactive.size() > 0 ? -round.most * bulk_mean : std::min(credit_before, 0.0);
    bulk_credit_ = std::clamp(bulk_credit_, least, round.most * bulk_mean);
  }
}

template <typename T>
template <typename Offer>
void LaneQueue<T>::TakeFrom(LaneState& lane, int most, absl::Time urgent_before, Offer& offer, Taken& taken) {
  std::vector<Flow*> waiting;
  while (!lane.by_turns.empty() && taken.items < most) {
    Flow* const in_turn = *lane.by_turns.begin();
    const double turn_cost = in_turn->head().cost;
    Flow* flow = *lane.by_deadline.begin();
    if (flow->head().deadline >= urgent_before || lane.turn.Due(turn_cost)) flow = in_turn;
    const size_t oldest = flow->oldest();
    const double oldest_cost = flow->entries[oldest].cost;
    const size_t index = flow->age.Due(oldest_cost) ? oldest : 0;

    Entry& entry = flow->entries[index];
    const double cost = entry.cost;
    const Tower tower = entry.tower;
    // The key of a flow in the sets lives in its head, which an offer may move away.
    lane.Unlink(flow);
    const Verdict verdict = offer(entry.item);
    if (verdict == Verdict::kWaits) {
      waiting.push_back(flow);
      continue;
    }
    if (verdict == Verdict::kTaken) {
      ++taken.items;
      taken.cost += cost;
      lane.clock += cost / static_cast<double>(lane.flows.size());
      flow->turns += cost;
      lane.turn.Count(options_.fair_floor, cost, flow == in_turn, turn_cost);
      flow->age.Count(options_.fair_floor, cost, index == oldest, oldest_cost);
    }
    flow->entries.erase(flow->entries.begin() + static_cast<std::ptrdiff_t>(index));
    lane.Forget(tower, cost);
    if (!flow->entries.empty()) {
      lane.Link(flow);
    } else {
      lane.flows.erase(flow->id);
    }
  }
  for (Flow* flow : waiting) lane.Link(flow);
}

template <typename T>
template <typename Wanted>
void LaneQueue<T>::RemoveIf(uint64_t flow_id, Wanted wanted, std::vector<T>& removed) {
  for (LaneState& lane : lanes_) {
    const auto it = lane.flows.find(flow_id);
    if (it == lane.flows.end()) continue;
    Flow* const flow = &it->second;
    lane.Unlink(flow);
    std::deque<Entry> kept;
    for (Entry& entry : flow->entries) {
      if (wanted(std::as_const(entry.item))) {
        lane.Forget(entry.tower, entry.cost);
        removed.push_back(std::move(entry.item));
      } else {
        kept.push_back(std::move(entry));
      }
    }
    flow->entries = std::move(kept);
    if (flow->entries.empty()) {
      lane.flows.erase(it);
    } else {
      lane.Link(flow);
    }
  }
}

template <typename T>
void LaneQueue<T>::RemoveAll(std::vector<T>& removed) {
  for (LaneState& lane : lanes_) {
    for (auto& [id, flow] : lane.flows) {
      for (Entry& entry : flow.entries) removed.push_back(std::move(entry.item));
    }
    lane = LaneState();
  }
}

}  // namespace embedd
