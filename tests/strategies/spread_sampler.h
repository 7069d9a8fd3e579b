#pragma once

// Problems and strategies for what executes programs: all decisions, small sizes.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "shardscout/random.h"
#include "shardscout/strategy_space.h"

namespace shardscout::interpret {

inline ClusterSpec TinyCluster(std::int64_t devices) {
  ClusterSpec c;
  c.name = "tiny";
  c.device.name = "tiny";
  c.device.peak_flop_per_s.fill(1e12);
  c.device.hbm_bytes = 1e12;
  c.device.hbm_bytes_per_s = 1e12;
  c.tiers = {{.name = "all", .size = 0, .bytes_per_s = 1e11, .latency_s = 1e-6}};
  c.devices_per_node = devices;
  c.num_devices = devices;
  return c;
}

inline WorkloadSpec TinyWorkload(WorkloadKind kind) {
  WorkloadSpec w;
  w.name = "tiny";
  w.kind = kind;
  w.input_tokens = kind == WorkloadKind::kDecode ? 6 : 7;
  w.output_tokens = kind == WorkloadKind::kServe ? 2 : 3;
  w.max_batch_size = 24;
  return w;
}

/// Samples by variable like StrategySpace::Sample, but prefers values that were seldom chosen where there was a choice.
class SpreadSampler {
 public:
  Strategy Sample(const StrategySpace& space, Rng& rng) {
    Choices choices;
    chosen_.clear();
    std::vector<std::uint8_t> mask;
    for (int variable = 0; variable < kNumVariables; ++variable) {
      const auto values = space.Values(variable);
      if (variable >= space.NumVariables()) {
        choices.push_back(0);
        continue;
      }
      space.AllowedChoices(choices, mask);
      std::vector<double> weights(values.size(), 0);
      for (std::size_t i = 0; i < values.size(); ++i) {
        if (mask[i] == 0) continue;
        const auto seen = counts_.find({variable, values[i]});
        const double count = seen == counts_.end() ? 0.0 : static_cast<double>(seen->second);
        // Degrees: the space's scale-free prior, or the first of them would take all ranks. Small batches are cheap.
        const bool degree = variable < static_cast<int>(Variable::kBatchSize);
        const bool batch = variable == static_cast<int>(Variable::kBatchSize);
        weights[i] = space.PriorWeights(variable)[i] / (degree ? std::sqrt(1 + count) : 1 + count);
        if (batch) weights[i] /= static_cast<double>(values[i] * values[i]);
      }
      const std::size_t choice = rng.Choice(weights);
      choices.push_back(static_cast<int>(choice));
      if (std::count(mask.begin(), mask.end(), 1) > 1) chosen_.push_back({variable, values[choice]});
    }
    return space.Decode(choices);
  }
  /// Counts the strategy that was sampled last.
  void Count() {
    for (const auto& choice : chosen_) ++counts_[choice];
  }

 private:
  std::map<std::pair<int, std::int64_t>, std::int64_t> counts_;
  std::vector<std::pair<int, std::int64_t>> chosen_;
};

/// Tokens that the ranks of an instance compute together, the price of an execution.
inline std::int64_t Tokens(const Problem& problem, const Strategy& s) {
  const bool decode = problem.workload().kind == WorkloadKind::kDecode;
  const std::int64_t multiple = 2 * s.tensor_parallel_size * s.context_parallel_size;
  const std::int64_t input = problem.workload().input_tokens;
  const std::int64_t positions = decode ? 4 : (input + multiple - 1) / multiple * multiple;
  return s.batch_size * s.data_parallel_size * positions;
}

}  // namespace shardscout::interpret
