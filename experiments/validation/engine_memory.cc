#include "experiments/validation/engine_memory.h"

#include <algorithm>

#include "env/analytical/analytical_evaluator.h"
#include "shardscout/problem.h"

namespace shardscout::validation {

double PromptStepBytes(const ModelSpec& model, const ClusterSpec& cluster, const Strategy& strategy,
                       std::int64_t input_tokens, std::int64_t max_batched_tokens) {
  const std::int64_t tokens = std::max<std::int64_t>(1, max_batched_tokens / strategy.pipeline_parallel_size);
  WorkloadSpec workload;
  workload.kind = WorkloadKind::kPrefill;
  workload.memory_fraction = 1;
  workload.input_tokens = std::min(input_tokens, tokens);
  workload.output_tokens = 1;
  workload.batch_size = tokens / workload.input_tokens;
  const Problem problem(model, cluster, workload);
  Strategy s = strategy;
  s.num_microbatches = 1;
  s.batch_size = *workload.batch_size;
  const MemoryUse memory = env::AnalyticalEvaluator(problem).Evaluate(s).memory;
  return memory.activation_bytes + memory.communication_bytes;
}

double CacheBytes(const DeviceSpec& device, const CacheRule& rule, const MemoryUse& memory, double prompt_step_bytes) {
  const double steps = std::max(memory.activation_bytes + memory.communication_bytes, prompt_step_bytes);
  const double held = memory.weight_bytes + memory.linear_state_bytes;
  const double used = held + memory.reserved_bytes + steps;
  switch (rule.of) {
    case FractionOf::kAll:
      return rule.memory_fraction * device.hbm_bytes - used;
    case FractionOf::kFree:
      return rule.memory_fraction * (device.hbm_bytes - used);
    case FractionOf::kWeightsAndCache:
      return std::min(rule.memory_fraction * (device.hbm_bytes - memory.reserved_bytes) - held,
                      device.hbm_bytes - used);
  }
  return 0;
}

double MemoryFractionFor(const DeviceSpec& device, const MemoryUse& memory, double cache_bytes) {
  return std::min(1.0, (memory.TotalBytes() - memory.kv_cache_bytes + cache_bytes) / device.hbm_bytes);
}

}  // namespace shardscout::validation
