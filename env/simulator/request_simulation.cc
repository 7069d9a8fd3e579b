#include "env/simulator/request_simulation.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <initializer_list>
#include <limits>
#include <queue>
#include <set>
#include <utility>

#include "env/simulator/decode_batch.h"
#include "shardscout/error.h"

namespace shardscout::env {
namespace {

constexpr Picoseconds kNever = std::numeric_limits<Picoseconds>::max();

/// A request on its way. What is in the cache counts its tokens from the first one. In a rank's DecodeBatch, as it was
/// when that had ended `joined` steps.
struct Progress {
  std::int64_t to_prefill = 0;  ///< Tokens that have to be in the cache before it decodes.
  std::int64_t cached = 0;
  std::int64_t generated = 0;
  std::int64_t blocks = 0;
  std::int64_t joined = 0;
  std::int64_t rank = -1;  ///< Where it was sent from; -1: nowhere.
  bool sent = false;       ///< Its prompt is computed and waits for room, to be in this rank's cache.
  bool left = false;       ///< The rank: finished, or on its way to another.
  bool Decodes() const { return cached >= to_prefill; }
};

class Rank {
 public:
  /// `sends`: prompts that are done go on elsewhere.
  Rank(const EngineOptions& options, bool sends, std::vector<Progress>& progress, std::vector<RequestOutcome>& outcomes)
      : options_(options),
        sends_(sends),
        progress_(progress),
        outcomes_(outcomes),
        decodes_(options.block_tokens),
        free_blocks_(options.cache_blocks) {}

  std::int64_t num_waiting() const { return static_cast<std::int64_t>(waiting_.size() + unseen_.size()); }
  std::int64_t num_running() const { return static_cast<std::int64_t>(running_.size()); }
  std::int64_t used_blocks() const { return options_.cache_blocks - free_blocks_; }
  std::int64_t num_unfinished() const { return num_waiting() + num_running(); }

  void Enqueue(RequestId id) { unseen_.push_back(id); }
  /// Looks at what was enqueued.
  void Poll() {
    waiting_.insert(waiting_.end(), unseen_.begin(), unseen_.end());
    unseen_.clear();
  }

  bool HasPrompts() const { return !waiting_.empty() || num_running() > num_decoding(); }
  bool HasDecodes() const { return num_decoding() > 0; }

  /// What it does next; nothing where it has no requests. `holds`: its prompts wait.
  const RankBatch& Plan(bool holds) {
    batch_.decodes = batch_.decode_positions = 0;
    batch_.chunks.clear();
    planned_.clear();
    if (!together_) Gather();
    AdmitSent();
    std::int64_t budget = options_.max_batched_tokens;
    if (holds) {
      PlanDecodes(budget);
    } else if (options_.policy == BatchPolicy::kPrefillFirst) {
      PlanPrompts(budget);
      Admit(budget);
      if (batch_.chunks.empty()) PlanDecodes(budget);
    } else if (DecodeTogether(budget) && PromptsAreLast()) {
      PlanBatch(budget);
      PlanPrompts(budget);
      Admit(budget);
    } else {
      Part();
      const bool preempted = PlanInOrder(budget);
      if (!preempted) Admit(budget);
    }
    return batch_;
  }

  /// The planned step has ended. Appends who is done and who is to be sent.
  void EndStep(Picoseconds now, std::vector<RequestId>& finished, std::vector<RequestId>& sent) {
    if (together_ && batch_.decodes > 0) {
      decodes_.EndStep(finished);
      for (const RequestId id : finished) {
        CatchUp(id);
        Leave(id, now);
      }
    }
    for (const auto& [id, tokens] : planned_) {
      Progress& progress = At(id);
      progress.cached += tokens;
      if (!progress.Decodes()) continue;
      RequestOutcome& outcome = outcomes_[static_cast<std::size_t>(id)];
      if (++progress.generated == 1) outcome.first_token = now;
      if (progress.generated == outcome.request.output_tokens) {
        Leave(id, now);
        finished.push_back(id);
      } else if (sends_) {
        progress.left = true;
        sent.push_back(id);
      } else if (together_) {
        Join(id);
      }
    }
    if (!planned_.empty()) std::erase_if(prompts_, [&](RequestId id) { return At(id).left || At(id).Decodes(); });
    if (!finished.empty() || !sent.empty()) std::erase_if(running_, [&](RequestId id) { return At(id).left; });
  }

  /// Takes back the blocks of a request.
  void Free(RequestId id) { free_blocks_ += std::exchange(At(id).blocks, 0); }

 private:
  Progress& At(RequestId id) { return progress_[static_cast<std::size_t>(id)]; }
  std::int64_t num_decoding() const {
    if (together_) return decodes_.size();
    return std::count_if(running_.begin(), running_.end(),
                         [&](RequestId id) { return progress_[static_cast<std::size_t>(id)].Decodes(); });
  }
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
    for (const RequestId id : prompts_) PlanChunk(id, budget);
  }

  /// Whether all that decode can take a token, of a budget that is theirs first.
  bool DecodeTogether(std::int64_t budget) const {
    return decodes_.size() <= budget && decodes_.BlocksNeeded() <= free_blocks_;
  }
  /// Whether none that decodes was admitted after one whose prompt is not done.
  bool PromptsAreLast() const {
    return prompts_.empty() || running_[running_.size() - prompts_.size()] == prompts_.front();
  }

  /// A token of each that decodes.
  void PlanBatch(std::int64_t& budget) {
    batch_.decodes = decodes_.size();
    batch_.decode_positions = decodes_.positions() + decodes_.size();
    free_blocks_ -= decodes_.BlocksNeeded();
    budget -= decodes_.size();
  }

  void PlanDecodes(std::int64_t& budget) {
    if (DecodeTogether(budget)) return PlanBatch(budget);
    Part();
    for (std::size_t i = 0; i < running_.size() && budget > 0; ++i) {
      if (At(running_[i]).Decodes()) PlanDecode(running_[i], budget);
    }
  }

  /// One by one, in the order in which they were admitted. Whether one had to make room.
  bool PlanInOrder(std::int64_t& budget) {
    bool preempted = false;
    for (std::size_t i = 0; i < running_.size() && budget > 0; ++i) {
      const RequestId id = running_[i];
      if (At(id).Decodes()) {
        preempted = PlanDecode(id, budget) || preempted;
      } else {
        PlanChunk(id, budget);
      }
    }
    return preempted;
  }

  void Join(RequestId id) {
    Progress& progress = At(id);
    progress.joined = decodes_.steps();
    const std::int64_t output_tokens = outcomes_[static_cast<std::size_t>(id)].request.output_tokens;
    decodes_.Add(id, progress.cached, progress.blocks, output_tokens - progress.generated);
  }
  /// What has become of it in the batch.
  void CatchUp(RequestId id) {
    Progress& progress = At(id);
    const std::int64_t steps = decodes_.steps() - std::exchange(progress.joined, decodes_.steps());
    progress.cached += steps;
    progress.generated += steps;
    progress.blocks = std::max(progress.blocks, BlocksOf(progress.cached));
  }
  /// From here to the step's end, those that decode are handled one by one.
  void Part() {
    together_ = false;
    for (const RequestId id : running_) {
      if (At(id).Decodes()) CatchUp(id);
    }
    decodes_.Clear();
  }
  void Gather() {
    together_ = true;
    prompts_.clear();
    for (const RequestId id : running_) {
      if (At(id).Decodes()) {
        Join(id);
      } else {
        prompts_.push_back(id);
      }
    }
  }

  void Leave(RequestId id, Picoseconds now) {
    outcomes_[static_cast<std::size_t>(id)].finish = now;
    At(id).left = true;
    Free(id);
  }

  /// Whether a request had to make room.
  bool PlanDecode(RequestId id, std::int64_t& budget) {
    Progress& progress = At(id);
    const std::int64_t needed = std::max<std::int64_t>(0, BlocksOf(progress.cached + 1) - progress.blocks);
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
    Free(id);
    progress.sent = false;
    progress.cached = 0;
    progress.to_prefill = outcomes_[static_cast<std::size_t>(id)].request.input_tokens + progress.generated;
    ++outcomes_[static_cast<std::size_t>(id)].preemptions;
    running_.pop_back();
    waiting_.push_front(id);
  }

  /// Of `tokens`, or where outputs are reserved of all its positions: those that are computed here.
  std::int64_t BlocksToAdmit(RequestId id, std::int64_t tokens) const {
    const Request& request = outcomes_[static_cast<std::size_t>(id)].request;
    const bool reserves = options_.reserves_output && !sends_;
    return BlocksOf(reserves ? request.input_tokens + request.output_tokens : tokens);
  }

  /// Those at the front of the queue whose cache has been sent. They decode from this step on.
  void AdmitSent() {
    while (!waiting_.empty() && At(waiting_.front()).sent && num_running() < options_.max_running) {
      const RequestId id = waiting_.front();
      const std::int64_t blocks = BlocksToAdmit(id, At(id).to_prefill + 1);
      if (blocks > free_blocks_) return;
      free_blocks_ -= blocks;
      At(id).blocks = blocks;
      At(id).cached = At(id).to_prefill;
      waiting_.pop_front();
      running_.push_back(id);
      Join(id);
    }
  }

  /// Whether the prompts in the queue go on waiting for more. To be asked once a step.
  bool WaitsForPrompts() {
    if (options_.prompt_wait_steps == 0 || waiting_.empty() || running_.empty()) {
      waited_steps_ = 0;
      return false;
    }
    std::int64_t missing = options_.prompt_wait_tokens;
    for (std::size_t i = 0; i < waiting_.size() && missing > 0; ++i) missing -= At(waiting_[i]).to_prefill;
    const bool waits = missing > 0 && waited_steps_ < options_.prompt_wait_steps;
    waited_steps_ = waits ? waited_steps_ + 1 : 0;
    return waits;
  }

  void Admit(std::int64_t& budget) {
    if (WaitsForPrompts()) return;
    while (!waiting_.empty() && !At(waiting_.front()).sent && num_running() < options_.max_running && budget > 0) {
      const RequestId id = waiting_.front();
      const std::int64_t blocks = BlocksToAdmit(id, At(id).to_prefill);
      if (blocks > free_blocks_) return;
      free_blocks_ -= blocks;
      At(id).blocks = blocks;
      waiting_.pop_front();
      running_.push_back(id);
      prompts_.push_back(id);
      PlanChunk(id, budget);
    }
  }

  const EngineOptions& options_;
  bool sends_;
  std::vector<Progress>& progress_;
  std::vector<RequestOutcome>& outcomes_;
  std::vector<RequestId> unseen_;  // Enqueued since it polled.
  std::deque<RequestId> waiting_;
  std::vector<RequestId> running_;  // In the order in which they were admitted.
  std::vector<RequestId> prompts_;  // Of these, those whose prompt is not done.
  DecodeBatch decodes_;             // And the others,
  bool together_ = true;            // but not while they are handled one by one.
  std::vector<std::pair<RequestId, std::int64_t>> planned_;
  RankBatch batch_;
  std::int64_t free_blocks_ = 0;
  std::int64_t waited_steps_ = 0;
};

/// What the engines of a pool share.
struct PoolOfEngines {
  const EngineOptions& options;
  const StepPrice& price;
};

class Engines {
 public:
  /// One pool, or that of prompts and that which decodes. `transfer` is of two pools only.
  Engines(std::span<const Request> requests, std::initializer_list<PoolOfEngines> pools,
          const std::function<Picoseconds(std::int64_t)>* transfer)
      : requests_(requests), transfer_(transfer) {
    run_.outcomes.resize(requests.size());
    progress_.resize(requests.size());
    for (std::size_t i = 0; i < requests.size(); ++i) run_.outcomes[i].request = requests[i];
    for (const PoolOfEngines& pool : pools) AddPool(pool, pools_.size() + 1 < pools.size());
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
      const Picoseconds transfer_end = transfers_.empty() ? kNever : transfers_.top().first;
      const Picoseconds entry = entering_.empty() ? kNever : entering_.top().first;
      const Picoseconds event = std::min({arrival, step_end, transfer_end, entry});
      if (event == kNever) break;
      now_ = std::max(now_, event);
      while (!ends_.empty() && ends_.top().first <= now_) {
        released += EndStep(ends_.top().second);
        ends_.pop();
      }
      while (!transfers_.empty() && transfers_.top().first <= now_) {
        EndTransfer(static_cast<RequestId>(transfers_.top().second));
        transfers_.pop();
      }
      released = std::min(released, requests_.size());
      for (; next < requests_.size() && arrival_of(next) <= now_; ++next) {
        // One that cannot be served leaves at once, and in a closed loop makes room for the next.
        if (!Arrive(next)) released = std::min(released + 1, requests_.size());
      }
      for (; !entering_.empty() && entering_.top().first <= now_; entering_.pop()) {
        Enqueue(static_cast<RequestId>(entering_.top().second), pools_.front());
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
  using Load = std::pair<std::int64_t, std::int64_t>;  // Unfinished requests, rank.

  struct Pool {
    PoolOfEngines engines;
    std::set<Load> by_load = {};
  };

  struct Replica {
    std::size_t pool = 0;
    std::int64_t first_rank = 0;
    bool busy = false;
    std::int64_t blind_steps = 0;   ///< Since it polled.
    bool has_prompts = false;       ///< Its last step.
    std::int64_t waited_steps = 0;  ///< For all of its ranks to have prompts.
  };

  static std::size_t Size(std::int64_t n) { return static_cast<std::size_t>(n); }

  void AddPool(const PoolOfEngines& pool, bool sends) {
    const EngineOptions& options = pool.options;
    SHARDSCOUT_CHECK_OP(options.max_running, >=, 1);
    SHARDSCOUT_CHECK_OP(options.max_batched_tokens, >=, 1);
    SHARDSCOUT_CHECK_OP(options.block_tokens, >=, 1);
    SHARDSCOUT_CHECK_OP(options.replicas, >=, 1);
    SHARDSCOUT_CHECK_OP(options.ranks, >=, 1);
    Pool& added = pools_.emplace_back(Pool{pool});
    for (std::int64_t replica = 0; replica < options.replicas; ++replica) {
      replicas_.push_back({.pool = pools_.size() - 1, .first_rank = static_cast<std::int64_t>(ranks_.size())});
      for (std::int64_t rank = 0; rank < options.ranks; ++rank) {
        added.by_load.emplace(0, ranks_.size());
        ranks_.emplace_back(options, sends, progress_, run_.outcomes);
        replica_of_.push_back(static_cast<std::int64_t>(replicas_.size()) - 1);
      }
    }
  }

  std::span<Rank> RanksOf(const Replica& replica) {
    return std::span(ranks_).subspan(Size(replica.first_rank), Size(pools_[replica.pool].engines.options.ranks));
  }

  static bool Fits(const EngineOptions& options, std::int64_t positions) {
    return (positions + options.block_tokens - 1) / options.block_tokens <= options.cache_blocks;
  }

  bool Arrive(std::size_t i) {
    RequestOutcome& outcome = run_.outcomes[i];
    outcome.request.arrival = now_;
    const std::int64_t positions = outcome.request.input_tokens + outcome.request.output_tokens;
    const bool prompt_fits = Fits(pools_.front().engines.options, outcome.request.input_tokens);
    if (!prompt_fits || !Fits(pools_.back().engines.options, positions)) {
      outcome.rejected = true;
      outcome.first_token = outcome.finish = now_;
      return false;
    }
    progress_[i].to_prefill = outcome.request.input_tokens;
    entering_.emplace(After(pools_.front().engines.options.arrival_delay), static_cast<std::int64_t>(i));
    return true;
  }

  /// At the least loaded rank of a pool.
  void Enqueue(RequestId id, const Pool& pool) {
    const std::int64_t rank = pool.by_load.begin()->second;
    ranks_[Size(rank)].Enqueue(id);
    ChangeLoad(rank, 1);
    ++waiting_;
    Change(replica_of_[Size(rank)]);
  }

  /// If it is idle, a replica will look for something to do.
  void Change(std::int64_t replica) {
    if (replicas_[Size(replica)].busy) return;
    if (std::find(changed_.begin(), changed_.end(), replica) == changed_.end()) changed_.push_back(replica);
  }

  /// The rank's requests have become `change` more.
  void ChangeLoad(std::int64_t rank, std::int64_t change) {
    std::set<Load>& by_load = pools_[replicas_[Size(replica_of_[Size(rank)])].pool].by_load;
    const std::int64_t load = ranks_[Size(rank)].num_unfinished();
    by_load.erase({load - change, rank});
    by_load.emplace(load, rank);
  }

  void BeginStep(std::int64_t r) {
    Replica& replica = replicas_[Size(r)];
    ++replica.blind_steps;
    const EngineOptions& options = pools_[replica.pool].engines.options;
    const bool polls = replica.has_prompts || replica.blind_steps >= options.poll_interval_steps;
    const bool any = PlanStep(replica, polls) || (!polls && PlanStep(replica, true));
    replica.has_prompts = !any || std::any_of(batches_.begin(), batches_.end(),
                                              [](const RankBatch& batch) { return !batch.chunks.empty(); });
    if (!any) return;
    ++run_.steps;
    const Picoseconds step = std::max<Picoseconds>(1, pools_[replica.pool].engines.price(batches_));
    replica.busy = true;
    ends_.emplace(After(step), r);
  }

  /// What each rank does next; whether any does something.
  bool PlanStep(Replica& replica, bool polls) {
    if (polls) replica.blind_steps = 0;
    batches_.clear();
    bool any = false;
    if (polls) {
      for (Rank& rank : RanksOf(replica)) rank.Poll();
    }
    const bool holds = HoldsPrompts(replica);
    for (Rank& rank : RanksOf(replica)) {
      const std::int64_t waited = rank.num_waiting(), ran = rank.num_running();
      batches_.push_back(rank.Plan(holds));
      waiting_ += rank.num_waiting() - waited;
      running_ += rank.num_running() - ran;
      any = any || !batches_.back().Empty();
    }
    return any;
  }

  /// Whether prompts wait until all of the replica's ranks have some. To be asked once a step.
  bool HoldsPrompts(Replica& replica) {
    const EngineOptions& options = pools_[replica.pool].engines.options;
    if (options.rank_wait_steps == 0 || options.ranks == 1) return false;
    const std::span<Rank> ranks = RanksOf(replica);
    const bool all_prompt = std::all_of(ranks.begin(), ranks.end(), [](const Rank& r) { return r.HasPrompts(); });
    const bool all_decode = std::all_of(ranks.begin(), ranks.end(), [](const Rank& r) { return r.HasDecodes(); });
    const bool holds = !all_prompt && all_decode && replica.waited_steps + 1 < options.rank_wait_steps;
    replica.waited_steps = holds ? replica.waited_steps + 1 : 0;
    return holds;
  }

  Picoseconds After(Picoseconds duration) const { return now_ + std::min(duration, kEndOfTime - now_); }

  /// How many requests left for good.
  std::size_t EndStep(std::int64_t r) {
    Replica& replica = replicas_[Size(r)];
    replica.busy = false;
    Change(r);
    std::size_t left = 0;
    std::int64_t rank_id = replica.first_rank;
    for (Rank& rank : RanksOf(replica)) {
      finished_.clear();
      sent_.clear();
      rank.EndStep(now_, finished_, sent_);
      left += finished_.size();
      running_ -= static_cast<std::int64_t>(finished_.size());
      for (const RequestId id : sent_) {
        progress_[Size(id)].rank = rank_id;
        transfers_.emplace(After((*transfer_)(progress_[Size(id)].to_prefill)), id);
      }
      const auto gone = static_cast<std::int64_t>(finished_.size() + sent_.size());
      if (gone > 0) ChangeLoad(rank_id, -gone);
      ++rank_id;
    }
    return left;
  }

  /// A request's cache has arrived; until now it ran where it came from.
  void EndTransfer(RequestId id) {
    Progress& progress = progress_[Size(id)];
    ranks_[Size(progress.rank)].Free(id);
    Change(replica_of_[Size(progress.rank)]);
    progress.sent = true;
    progress.left = false;
    progress.cached = 0;
    --running_;
    Enqueue(id, pools_.back());
  }

  void SampleQueue() {
    if (!run_.queue.empty() && run_.queue.back().waiting == waiting_ && run_.queue.back().running == running_) return;
    run_.queue.push_back({.time = now_, .waiting = waiting_, .running = running_, .used_blocks = 0});
    for (const Rank& rank : ranks_) run_.queue.back().used_blocks += rank.used_blocks();
  }

  std::span<const Request> requests_;
  const std::function<Picoseconds(std::int64_t)>* transfer_;
  RequestRun run_;
  std::vector<Progress> progress_;
  std::vector<Pool> pools_;
  std::vector<Replica> replicas_;
  std::vector<Rank> ranks_;
  std::vector<std::int64_t> replica_of_;  // Of a rank.
  std::vector<std::int64_t> changed_;     // Replicas that are idle and may have something to do.
  std::vector<RankBatch> batches_;
  std::vector<RequestId> finished_, sent_;
  using Event = std::pair<Picoseconds, std::int64_t>;
  using Events = std::priority_queue<Event, std::vector<Event>, std::greater<>>;
  Events ends_;       // Of steps, by replica.
  Events transfers_;  // By request.
  Events entering_;   // Arrived, not yet in a queue; by request.
  Picoseconds now_ = 0;
  std::int64_t waiting_ = 0, running_ = 0;
};

}  // namespace

double RequestOutcome::TpotS() const {
  if (request.output_tokens < 2) return 0;
  return ToSeconds(finish - first_token) / static_cast<double>(request.output_tokens - 1);
}

RequestRun SimulateRequests(std::span<const Request> requests, const EngineOptions& options, const StepPrice& price) {
  return Engines(requests, {{options, price}}, nullptr).Finish(std::nullopt);
}

RequestRun SimulateConcurrency(std::span<const Request> requests, std::int64_t concurrency,
                               const EngineOptions& options, const StepPrice& price) {
  SHARDSCOUT_CHECK_OP(concurrency, >=, 1);
  return Engines(requests, {{options, price}}, nullptr).Finish(concurrency);
}

RequestRun SimulateTwoPools(std::span<const Request> requests, std::optional<std::int64_t> concurrency,
                            const TwoPools& pools) {
  SHARDSCOUT_CHECK_OP(concurrency.value_or(1), >=, 1);
  return Engines(requests, {{pools.prefill, pools.prefill_price}, {pools.decode, pools.decode_price}}, &pools.transfer)
      .Finish(concurrency);
}

}  // namespace shardscout::env
