#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "env/simulator/pass_simulation.h"
#include "env/simulator/request_simulation.h"

namespace shardscout::env {

/// Problems that differ from one in the lengths of their requests only, made once each. Thread safe.
class LengthVariants {
 public:
  explicit LengthVariants(const Problem& problem) : problem_(problem) {}
  /// A decode problem whose new token is at position `positions`, counted from 1.
  const Problem& Decode(std::int64_t positions);
  /// A prefill problem of prompts of `tokens`.
  const Problem& Prefill(std::int64_t tokens);

 private:
  const Problem& Find(Phase phase, std::int64_t tokens);

  const Problem& problem_;
  std::mutex mutex_;
  std::map<std::pair<Phase, std::int64_t>, std::unique_ptr<Problem>> variants_;
};

/// What a step of an engine takes under a strategy.
///
/// A step's kernels see all of its tokens at once, those that are decoded and those of prompts, but for attention,
/// which sees each request's own, and for the head, which only sees the tokens that give one. So a step is simulated as
/// a decode pass (pass_simulation.h) of as many requests as the step has tokens, with its attention and head replaced:
///
///   attention = that of the decodes, at their mean length, + that of the prompts that begin, at their mean length
///               + of each prompt that goes on, max(A(tokens), A(before + tokens) - A(before)), A: of a prompt alone
///   head      = that of a decode pass of as many requests as there are tokens that give one
///
/// Of a replica's ranks, the largest of each counts. Micro-batches of a pipeline share the step's tokens evenly. Counts
/// are rounded to five binary digits and up to what the strategy's shardings can split; equal steps are simulated once.
///
/// Not seen: of context parallelism, what prompts exchange is priced as decode's.
///
/// Worked example (a test): three decodes at 100 positions and no prompt are a decode pass of a batch of three.
class StepTimer {
 public:
  StepTimer(LengthVariants& variants, const Strategy& strategy, SimulatorOptions options)
      : variants_(variants), strategy_(strategy), options_(options) {}

  Picoseconds operator()(std::span<const RankBatch> ranks);

 private:
  const AttentionTimes& DecodeAttention(std::int64_t requests, std::int64_t positions);
  const AttentionTimes& PrefillAttention(std::int64_t requests, std::int64_t tokens);
  AttentionTimes AttentionOf(const RankBatch& rank);
  static AttentionTimes AttentionIn(const Problem& problem, const Strategy& strategy, Phase phase);
  /// With a batch that fits, of `requests` or more a micro-batch.
  static Strategy WithRequests(const Problem& problem, Strategy strategy, std::int64_t requests);
  /// A decode pass, whose attention and head have been replaced for one step or another.
  struct StepPass {
    Strategy strategy;
    std::unique_ptr<PassMaker> maker;
    PassMaker::HeadTimes head;  ///< Its own.
  };
  StepPass& PassOf(std::int64_t requests);

  LengthVariants& variants_;
  const Strategy& strategy_;
  SimulatorOptions options_;
  std::map<std::pair<std::int64_t, std::int64_t>, AttentionTimes> decode_, prefill_;
  std::map<std::int64_t, StepPass> passes_;  ///< By tokens of a micro-batch.
  std::map<std::tuple<std::int64_t, std::int64_t, Picoseconds, Picoseconds, Picoseconds>, Picoseconds> steps_;
};

/// To five binary digits, the nearest: 0 to 31 as they are, then in steps of a sixteenth to a thirty-second.
std::int64_t RoundedCount(std::int64_t count);

}  // namespace shardscout::env
