#include "env/simulator/request_simulation.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <limits>
#include <queue>
#include <set>
#include <utility>

#include "shardscout/error.h"

namespace shardscout::env {
namespace {

constexpr Picoseconds kNever = std::numeric_limits<Picoseconds>::max();

using RequestId = std::int32_t;

/// A request on its way. What is in the cache counts its tokens from the first one.
struct Progress {
  std::int64_t to_prefill = 0;  ///< Tokens that have to be in the cache before it decodes.
  std::int64_t cached = 0;
  std::int64_t generated = 0;
  std::int64_t blocks = 0;
  bool Decodes() const { return cached >= to_prefill; }
};

class Rank {
 public:
  Rank(const EngineOptions& options, std::vector<Progress>& progress, std::vector<RequestOutcome>& outcomes)
      : options_(options), progress_(progress), outcomes_(outcomes), free_blocks_(options.cache_blocks) {}

  std::int64_t num_waiting() const { return static_cast<std::int64_t>(waiting_.size()); }
  std::int64_t num_running() const { return static_cast<std::int64_t>(running_.size()); }
  std::int64_t used_blocks() const { return options_.cache_blocks - free_blocks_; }
  std::int64_t num_unfinished() const { return num_waiting() + num_running(); }

  void Enqueue(RequestId id) { waiting_.push_back(id); }

  /// What it does next; nothing where it has no requests.
  const RankBatch& Plan() {
    batch_.decodes = batch_.decode_positions = 0;
    batch_.chunks.clear();
    planned_.clear();
    std::int64_t budget = options_.max_batched_tokens;
    if (options_.policy == BatchPolicy::kPrefillFirst) {
      PlanPrompts(budget);
      Admit(budget);
      if (batch_.chunks.empty()) PlanDecodes(budget);
      return batch_;
    }
    bool preempted = false;
    for (std::size_t i = 0; i < running_.size() && budget > 0; ++i) {
      const RequestId id = running_[i];
      if (At(id).Decodes()) {
        preempted = PlanDecode(id, budget) || preempted;
      } else {
        PlanChunk(id, budget);
      }
    }
    if (!preempted) Admit(budget);
    return batch_;
  }

  /// The planned step has ended. Appends who left.
  void EndStep(Picoseconds now, std::vector<RequestId>& finished) {
    for (const auto& [id, tokens] : planned_) {
      Progress& progress = At(id);
      progress.cached += tokens;
      if (!progress.Decodes()) continue;
      RequestOutcome& outcome = outcomes_[static_cast<std::size_t>(id)];
      if (++progress.generated == 1) outcome.first_token = now;
      if (progress.generated < outcome.request.output_tokens) continue;
      outcome.finish = now;
      free_blocks_ += std::exchange(progress.blocks, 0);
      finished.push_back(id);
    }
    if (finished.empty()) return;
    std::erase_if(running_, [&](RequestId id) {
      return At(id).generated == outcomes_[static_cast<std::size_t>(id)].request.output_tokens;
    });
  }

 private:
  Progress& At(RequestId id) { return progress_[static_cast<std::size_t>(id)]; }
  std::int64_t BlocksOf(std::int64_t tokens) const {
    return (tokens + options_.block_tokens - 1) / options_.block_tokens;
  }

  void PlanChunk(RequestId id, std::int64_t& budget) {
    Progress& progress = At(id);
    const std::int64_t tokens = std::min(progress.to_prefill - progress.cached, budget);
    if (tokens == 0) return;
    batch_.chunks.push_back(
        {.tokens = tokens, .before = progress.cached, .last = progress.cached + tokens == progress.to_prefill});
    planned_.emplace_back(id, tokens);
    budget -= tokens;
  }

  void PlanPrompts(std::int64_t& budget) {
    for (const RequestId id : running_) {
      if (!At(id).Decodes()) PlanChunk(id, budget);
    }
  }

  void PlanDecodes(std::int64_t& budget) {
    for (std::size_t i = 0; i < running_.size() && budget > 0; ++i) PlanDecode(running_[i], budget);
  }

  /// Whether a request had to make room.
  bool PlanDecode(RequestId id, std::int64_t& budget) {
    Progress& progress = At(id);
    const std::int64_t needed = BlocksOf(progress.cached + 1) - progress.blocks;
    bool preempted = false;
    while (free_blocks_ < needed) {
      preempted = true;
      const RequestId last = running_.back();
      Preempt(last);
      if (last == id) return true;
    }
    free_blocks_ -= needed;
    progress.blocks += needed;
    ++batch_.decodes;
    batch_.decode_positions += progress.cached + 1;
    planned_.emplace_back(id, 1);
    --budget;
    return preempted;
  }

  void Preempt(RequestId id) {
    Progress& progress = At(id);
    free_blocks_ += std::exchange(progress.blocks, 0);
    progress.cached = 0;
    progress.to_prefill = outcomes_[static_cast<std::size_t>(id)].request.input_tokens + progress.generated;
    ++outcomes_[static_cast<std::size_t>(id)].preemptions;
    running_.pop_back();
    waiting_.push_front(id);
  }

  void Admit(std::int64_t& budget) {
    while (!waiting_.empty() && num_running() < options_.max_running && budget > 0) {
      const RequestId id = waiting_.front();
      const std::int64_t blocks = BlocksOf(At(id).to_prefill);
      if (blocks > free_blocks_) return;
      free_blocks_ -= blocks;
      At(id).blocks = blocks;
      waiting_.pop_front();
      running_.push_back(id);
      PlanChunk(id, budget);
    }
  }

  const EngineOptions& options_;
  std::vector<Progress>& progress_;
  std::vector<RequestOutcome>& outcomes_;
  std::deque<RequestId> waiting_;
  std::vector<RequestId> running_;  // In the order in which they were admitted.
  std::vector<std::pair<RequestId, std::int64_t>> planned_;
  RankBatch batch_;
  std::int64_t free_blocks_ = 0;
};

class Engines {
 public:
  Engines(std::span<const Request> requests, const EngineOptions& options, const StepPrice& price)
      : requests_(requests), options_(options), price_(price), busy_until_(Size(options.replicas), kNever) {
    SHARDSCOUT_CHECK_OP(options.max_running, >=, 1);
    SHARDSCOUT_CHECK_OP(options.max_batched_tokens, >=, 1);
    SHARDSCOUT_CHECK_OP(options.block_tokens, >=, 1);
    SHARDSCOUT_CHECK_OP(options.replicas, >=, 1);
    SHARDSCOUT_CHECK_OP(options.ranks, >=, 1);
    run_.outcomes.resize(requests.size());
    progress_.resize(requests.size());
    for (std::size_t i = 0; i < requests.size(); ++i) run_.outcomes[i].request = requests[i];
    ranks_.reserve(Size(options.replicas * options.ranks));
    for (std::int64_t r = 0; r < options.replicas * options.ranks; ++r) {
      ranks_.emplace_back(options_, progress_, run_.outcomes);
      by_load_.emplace(0, r);
    }
  }

  /// `closed`: each request but the first `concurrency` arrives when one leaves.
  RequestRun Finish(std::optional<std::int64_t> concurrency) {
    std::size_t next = 0;  // To arrive.
    std::size_t released = 0;
    const auto arrival_of = [&](std::size_t i) {
      if (!concurrency) return requests_[i].arrival;
      return i < released ? now_ : kNever;
    };
    if (concurrency) released = std::min(requests_.size(), Size(*concurrency));
    while (true) {
      const Picoseconds arrival = next < requests_.size() ? arrival_of(next) : kNever;
      const Picoseconds step_end = ends_.empty() ? kNever : ends_.top().first;
      if (arrival == kNever && step_end == kNever) break;
      now_ = std::max(now_, std::min(arrival, step_end));
      while (!ends_.empty() && ends_.top().first <= now_) {
        released += EndStep(ends_.top().second);
        ends_.pop();
      }
      released = std::min(released, requests_.size());
      for (; next < requests_.size() && arrival_of(next) <= now_; ++next) {
        // One that cannot be served leaves at once, and in a closed loop makes room for the next.
        if (!Arrive(next)) released = std::min(released + 1, requests_.size());
      }
      std::sort(changed_.begin(), changed_.end());
      for (const std::int64_t replica : changed_) BeginStep(replica);
      changed_.clear();
      SampleQueue();
    }
    run_.end = now_;
    return std::move(run_);
  }

 private:
  static std::size_t Size(std::int64_t n) { return static_cast<std::size_t>(n); }

  bool Arrive(std::size_t i) {
    RequestOutcome& outcome = run_.outcomes[i];
    outcome.request.arrival = now_;
    const std::int64_t positions = outcome.request.input_tokens + outcome.request.output_tokens;
    if ((positions + options_.block_tokens - 1) / options_.block_tokens > options_.cache_blocks) {
      outcome.rejected = true;
      outcome.first_token = outcome.finish = now_;
      return false;
    }
    progress_[i].to_prefill = outcome.request.input_tokens;
    const std::int64_t rank = by_load_.begin()->second;
    ranks_[Size(rank)].Enqueue(static_cast<RequestId>(i));
    ChangeLoad(rank, 1);
    ++waiting_;
    const std::int64_t replica = rank / options_.ranks;
    if (busy_until_[Size(replica)] == kNever) Change(replica);
    return true;
  }

  void Change(std::int64_t replica) {
    if (std::find(changed_.begin(), changed_.end(), replica) == changed_.end()) changed_.push_back(replica);
  }

  /// The rank's requests have become `change` more.
  void ChangeLoad(std::int64_t rank, std::int64_t change) {
    const std::int64_t load = ranks_[Size(rank)].num_unfinished();
    by_load_.erase({load - change, rank});
    by_load_.emplace(load, rank);
  }

  void BeginStep(std::int64_t replica) {
    batches_.clear();
    bool any = false;
    for (std::int64_t r = replica * options_.ranks; r < (replica + 1) * options_.ranks; ++r) {
      Rank& rank = ranks_[Size(r)];
      const std::int64_t waited = rank.num_waiting(), ran = rank.num_running();
      batches_.push_back(rank.Plan());
      waiting_ += rank.num_waiting() - waited;
      running_ += rank.num_running() - ran;
      any = any || !batches_.back().Empty();
    }
    if (!any) return;
    ++run_.steps;
    const Picoseconds step = std::max<Picoseconds>(1, price_(batches_));
    busy_until_[Size(replica)] = now_ + std::min(step, kEndOfTime - now_);
    ends_.emplace(busy_until_[Size(replica)], replica);
  }

  /// How many requests left.
  std::size_t EndStep(std::int64_t replica) {
    busy_until_[Size(replica)] = kNever;
    Change(replica);
    std::size_t left = 0;
    for (std::int64_t r = replica * options_.ranks; r < (replica + 1) * options_.ranks; ++r) {
      finished_.clear();
      ranks_[Size(r)].EndStep(now_, finished_);
      left += finished_.size();
      running_ -= static_cast<std::int64_t>(finished_.size());
      if (!finished_.empty()) ChangeLoad(r, -static_cast<std::int64_t>(finished_.size()));
    }
    return left;
  }

  void SampleQueue() {
    if (!run_.queue.empty() && run_.queue.back().waiting == waiting_ && run_.queue.back().running == running_) return;
    run_.queue.push_back({.time = now_, .waiting = waiting_, .running = running_, .used_blocks = 0});
    for (const Rank& rank : ranks_) run_.queue.back().used_blocks += rank.used_blocks();
  }

  std::span<const Request> requests_;
  const EngineOptions& options_;
  const StepPrice& price_;
  RequestRun run_;
  std::vector<Progress> progress_;
  std::vector<Rank> ranks_;
  std::vector<Picoseconds> busy_until_;  // Of a replica; kNever: idle.
  std::vector<std::int64_t> changed_;    // Replicas that are idle and may have something to do.
  std::vector<RankBatch> batches_;
  std::vector<RequestId> finished_;
  using Load = std::pair<std::int64_t, std::int64_t>;  // Unfinished requests, rank.
  std::set<Load> by_load_;
  using End = std::pair<Picoseconds, std::int64_t>;
  std::priority_queue<End, std::vector<End>, std::greater<>> ends_;
  Picoseconds now_ = 0;
  std::int64_t waiting_ = 0, running_ = 0;
};

}  // namespace

double RequestOutcome::TpotS() const {
  if (request.output_tokens < 2) return 0;
  return ToSeconds(finish - first_token) / static_cast<double>(request.output_tokens - 1);
}

RequestRun SimulateRequests(std::span<const Request> requests, const EngineOptions& options, const StepPrice& price) {
  return Engines(requests, options, price).Finish(std::nullopt);
}

RequestRun SimulateConcurrency(std::span<const Request> requests, std::int64_t concurrency,
                               const EngineOptions& options, const StepPrice& price) {
  SHARDSCOUT_CHECK_OP(concurrency, >=, 1);
  return Engines(requests, options, price).Finish(concurrency);
}

}  // namespace shardscout::env
