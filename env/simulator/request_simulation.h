#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "env/simulator/simulation.h"
#include "shardscout/request_model.h"

/// Requests that arrive, are batched continuously, and leave: what replicas of an engine do, step by step.
///
/// A replica has one or more ranks (attention data parallelism) that step together, each with requests, a queue and a
/// KV cache of its own. A router gives each arriving request to the rank with the fewest unfinished ones, ties to the
/// first. Whenever a replica's step has ended, and whenever a request arrives at an idle one, it plans the next step of
/// each rank:
///
///   chunked_prefill  Running requests in the order in which they were admitted: one that decodes takes one token, one
///                    whose prompt is not done takes what is left of the step's token budget. Then the queue's first
///                    requests are admitted, while fewer than max_running run, the budget lasts and the cache has room.
///   prefill_first    If the queue's first request can be admitted, or a prompt is not done, the step takes prompts
///   only
///                    (not done ones first), up to the budget; else every running request decodes.
///
/// The cache is counted in blocks. A request needs the blocks of all its positions up to the step's end. An admitted
/// request takes room for the whole prompt. Where a running request finds no free block, the one admitted last gives
/// all of its blocks back and goes to the front of the queue (pre-emption); it will compute its prompt and what it had
/// generated again. A prompt's last chunk gives the first token; the request leaves with its last one, at the step's
/// end.
///
/// A request that no empty cache could hold is rejected when it arrives.
///
/// Two pools: one computes prompts, the other decodes. When a prompt is done, which gives the first token, its cache is
/// sent: until it has arrived it also keeps its blocks where it comes from. Then the router of the second pool takes
/// it, and it is admitted there, in its turn, as soon as its blocks have room; it takes no tokens of a budget for that.
/// Who is pre-empted there computes its prompt again there.
///
/// Worked example (a test): one rank, a budget of 4 tokens, max_running 2, a step of 10 ps. Two requests of 4 prompt
/// and 2 output tokens arrive at 0. Step 0-10: the first one's prompt, and its first token. Step 10-20: its second
/// token, and it leaves; 3 tokens of the other's prompt. Step 20-30: its last prompt token, and its first token. Step
/// 30-40: its second token.
///
/// In two pools, with a transfer of 5 ps: step 0-10 of the first: the first one's prompt, which is sent 10-15; step
/// 10-20: the other's, sent 20-25. Step 15-25 of the second: the first one's second token; step 25-35: the other's.
///
/// Where an engine reserves outputs, an admitted request takes room for all its positions at once (of two pools, in the
/// second). Where prompts wait,
/// none is admitted beside decodes until the queue's prompts have prompt_wait_tokens, or for prompt_wait_steps after
/// the first of them came.
///
/// Where ranks wait for one another, a step beside decodes on every rank takes prompts on none of them, unless each
/// rank has one in its queue or not done, or it is the rank_wait_steps-th in a row of which that is not so.
///
/// A request is in the queue `arrival_delay` after its arrival. An engine that polls every n steps sees what has come
/// since only before its n-th step of nothing but decodes, before a step after one with prompts, and when it is idle.
///
/// Departures from engines: prefixes are not shared; a step is planned when the last one ended, not while it runs.
///
/// Source: vLLM's scheduler (V1) for chunked_prefill, SGLang's for prefill_first, by their documentation.
namespace shardscout::env {

struct EngineOptions {
  BatchPolicy policy = BatchPolicy::kChunkedPrefill;
  std::int64_t max_running = 256;          ///< Requests of a rank, admitted and not finished.
  std::int64_t max_batched_tokens = 8192;  ///< Of a rank and a step.
  std::int64_t block_tokens = 16;
  std::int64_t cache_blocks = 1 << 20;   ///< Of a rank.
  std::int64_t poll_interval_steps = 1;  ///< RequestModel::poll_interval_steps.
  Picoseconds arrival_delay = 0;
  bool reserves_output = false;  ///< RequestModel's fields.
  std::int64_t prompt_wait_steps = 0;
  std::int64_t prompt_wait_tokens = 0;  ///< That end the wait.
  std::int64_t rank_wait_steps = 0;
  std::int64_t replicas = 1;
  std::int64_t ranks = 1;  ///< Of a replica.
};

/// Part of a prompt.
struct PrefillChunk {
  std::int64_t tokens = 0;
  std::int64_t before = 0;  ///< Tokens of the request that are in the cache already.
  bool last = false;        ///< Gives a token.
};

/// What a rank does in a step.
struct RankBatch {
  std::int64_t decodes = 0;           ///< Requests that take one token.
  std::int64_t decode_positions = 0;  ///< Sum over them: tokens in the cache, the new one included.
  std::vector<PrefillChunk> chunks;
  bool Empty() const { return decodes == 0 && chunks.empty(); }
};

/// Seconds of a step, from what each rank of the replica does; at least one rank's batch is not empty.
using StepPrice = std::function<Picoseconds(std::span<const RankBatch>)>;

struct Request {
  Picoseconds arrival = 0;
  std::int64_t input_tokens = 1;
  std::int64_t output_tokens = 1;
};

/// What became of a request.
struct RequestOutcome {
  Request request;
  Picoseconds first_token = 0;
  Picoseconds finish = 0;
  std::int32_t preemptions = 0;
  bool rejected = false;
  Picoseconds Ttft() const { return first_token - request.arrival; }
  Picoseconds Latency() const { return finish - request.arrival; }
  /// Of a request with more than one output token: the mean time between them.
  double TpotS() const;
};

/// Requests that wait and run, whenever either changed, and the blocks that those hold.
struct QueueSample {
  Picoseconds time = 0;
  std::int64_t waiting = 0, running = 0;
  std::int64_t used_blocks = 0;
};

struct RequestRun {
  std::vector<RequestOutcome> outcomes;  ///< In the order of arrival.
  std::vector<QueueSample> queue;
  std::int64_t steps = 0;
  Picoseconds end = 0;  ///< When the last request left.
};

/// Requests that arrive on their own: `requests` in the order of their arrivals.
RequestRun SimulateRequests(std::span<const Request> requests, const EngineOptions& options, const StepPrice& price);

/// A fixed concurrency: the first `concurrency` of the requests arrive at 0, each other one when one leaves. Arrivals
/// in `requests` are not read.
RequestRun SimulateConcurrency(std::span<const Request> requests, std::int64_t concurrency,
                               const EngineOptions& options, const StepPrice& price);

/// Engines for prompts and engines that decode.
struct TwoPools {
  EngineOptions prefill, decode;
  StepPrice prefill_price, decode_price;
  std::function<Picoseconds(std::int64_t tokens)> transfer;  ///< Of the cache of so many.
};

/// With a `concurrency`, as SimulateConcurrency; else as SimulateRequests.
RequestRun SimulateTwoPools(std::span<const Request> requests, std::optional<std::int64_t> concurrency,
                            const TwoPools& pools);

}  // namespace shardscout::env
