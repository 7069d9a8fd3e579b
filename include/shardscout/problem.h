#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "shardscout/cluster_spec.h"
#include "shardscout/framework.h"
#include "shardscout/model_spec.h"
#include "shardscout/strategy.h"
#include "shardscout/workload_spec.h"

namespace shardscout {

/// What a user pins or opens in the space, beside the three specs.
struct ProblemOptions {
  /// Decision variable -> value as in a strategy's JSON: {"tensor_parallel_size", "8"}, {"shardings.qkv", "heads"}.
  std::map<std::string, std::string> fixed;
  /// Admitted values of the decision `overlap`.
  std::vector<Overlap> admitted_overlaps = {Overlap::kNone};
  /// Only strategies that it runs exactly as they are priced; unset: all.
  std::optional<Framework> framework = std::nullopt;
  bool operator==(const ProblemOptions&) const = default;
};

/// model x cluster x workload x options, validated once, immutable. Cheap to copy is not promised; hold it by
/// reference.
class Problem {
 public:
  /// Throws SpecError when the parts do not fit together (an unknown fixed variable, say). Infeasibility is not an
  /// error.
  Problem(ModelSpec model, ClusterSpec cluster, WorkloadSpec workload, ProblemOptions options = {});

  const ModelSpec& model() const { return model_; }
  const ClusterSpec& cluster() const { return cluster_; }
  const WorkloadSpec& workload() const { return workload_; }
  const ProblemOptions& options() const { return options_; }

  /// Bytes of a device that a strategy may use: memory_fraction * hbm_bytes.
  double MemoryLimitBytes() const { return workload_.memory_fraction * cluster_.device.hbm_bytes; }
  /// Copies of the instance. In training there is one: copies of the model that share a step are data parallel ranks.
  std::int64_t Replicas(const Strategy& strategy) const {
    return workload_.IsTraining() ? 1 : cluster_.num_devices / strategy.InstanceSize();
  }

  /// 16 hex digits over everything that decides a search's result: specs (without their names) and options. Computed
  /// anew each time: most problems are never written.
  std::string Digest() const;

 private:
  ModelSpec model_;
  ClusterSpec cluster_;
  WorkloadSpec workload_;
  ProblemOptions options_;
};

}  // namespace shardscout
