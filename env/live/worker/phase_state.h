#pragma once

// What RankProgram's parts share of one phase.

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "env/live/worker/rank_program.h"
#include "strategies/layouts.h"

namespace shardscout::live {

struct RankProgram::PhaseState {
  const PhaseProgram* program = nullptr;
  /// Of a pass of requests numbered 0, 1, ... from dp rank to dp rank: which they really are changes no index.
  std::unique_ptr<strategies::Layouts> layouts;
  std::vector<Requests> passes;              ///< The requests of each.
  std::vector<IndexList> cache_requests;     ///< By pass: where its requests are in the caches.
  std::vector<std::vector<TaskPlan>> plans;  ///< By block and task.
  /// By block and layer (embedding and head: 0), then task.
  std::map<std::pair<BlockKind, std::int64_t>, std::vector<TaskWeights>> weights;
  /// Plans of a MoE block whose routing is known: by pass and layer. A pass is routed once; later runs of it (timing)
  /// move the same rows.
  std::map<std::pair<PassKey, std::int64_t>, std::vector<TaskPlan>> routed;
  /// Experts and weights of each token, while the plans of a block are made.
  bool routing_known = false;
  std::map<strategies::Tag, std::pair<std::vector<std::int64_t>, std::vector<float>>> routes;
};

}  // namespace shardscout::live
