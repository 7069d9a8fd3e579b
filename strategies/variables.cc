#include <array>
#include <string>

#include "shardscout/error.h"
#include "shardscout/strategy_space.h"

namespace shardscout {
namespace {

constexpr std::array<const char*, kFirstShardingVariable> kFieldNames = {"pipeline_parallel_size",
                                                                         "tensor_parallel_size",
                                                                         "context_parallel_size",
                                                                         "data_parallel_size",
                                                                         "expert_parallel_size",
                                                                         "expert_tensor_parallel_size",
                                                                         "batch_size",
                                                                         "num_microbatches",
                                                                         "residual_layout",
                                                                         "dense_ffn_group",
                                                                         "expert_exchange",
                                                                         "overlap"};

constexpr std::array<const char*, kNumVariables - kNumInferenceVariables> kTrainingNames = {
    "training.virtual_pipeline_parallel_size", "training.head_layers", "training.zero_stage", "training.recomputation",
    "training.recomputed_layers"};

/// kFirstSharding for all shardings.
Variable KindOf(int variable) {
  return IsSharding(variable) ? Variable::kFirstSharding : static_cast<Variable>(variable);
}

}  // namespace

std::string VariableName(int variable) {
  SHARDSCOUT_CHECK(variable >= 0 && variable < kNumVariables);
  if (variable < kFirstShardingVariable) return kFieldNames[static_cast<std::size_t>(variable)];
  if (!IsSharding(variable)) return kTrainingNames[static_cast<std::size_t>(variable - kNumInferenceVariables)];
  return "shardings." + std::string(ToString(static_cast<Operator>(variable - kFirstShardingVariable)));
}

std::string ValueName(int variable, std::int64_t value) {
  SHARDSCOUT_CHECK(variable >= 0 && variable < kNumVariables);
  switch (KindOf(variable)) {
    case Variable::kResidualLayout:
      return std::string(ToString(static_cast<Layout>(value)));
    case Variable::kDenseFfnGroup:
      return std::string(ToString(static_cast<DenseFfnGroup>(value)));
    case Variable::kExpertExchange:
      return std::string(ToString(static_cast<ExpertExchange>(value)));
    case Variable::kOverlap:
      return std::string(ToString(static_cast<Overlap>(value)));
    case Variable::kFirstSharding:
      return std::string(ToString(static_cast<Sharding>(value)));
    case Variable::kRecomputation:
      return std::string(ToString(static_cast<Recomputation>(value)));
    default:
      return std::to_string(value);
  }
}

std::int64_t GetVariable(const Strategy& s, int variable) {
  if (IsSharding(variable)) {
    return static_cast<std::int64_t>(s.shardings[static_cast<std::size_t>(variable - kFirstShardingVariable)]);
  }
  switch (static_cast<Variable>(variable)) {
    case Variable::kPipelineParallelSize:
      return s.pipeline_parallel_size;
    case Variable::kTensorParallelSize:
      return s.tensor_parallel_size;
    case Variable::kContextParallelSize:
      return s.context_parallel_size;
    case Variable::kDataParallelSize:
      return s.data_parallel_size;
    case Variable::kExpertParallelSize:
      return s.expert_parallel_size;
    case Variable::kExpertTensorParallelSize:
      return s.expert_tensor_parallel_size;
    case Variable::kBatchSize:
      return s.batch_size;
    case Variable::kNumMicrobatches:
      return s.num_microbatches;
    case Variable::kResidualLayout:
      return static_cast<std::int64_t>(s.residual_layout);
    case Variable::kDenseFfnGroup:
      return static_cast<std::int64_t>(s.dense_ffn_group);
    case Variable::kExpertExchange:
      return static_cast<std::int64_t>(s.expert_exchange);
    case Variable::kOverlap:
      return static_cast<std::int64_t>(s.overlap);
    case Variable::kVirtualPipelineParallelSize:
      return s.virtual_pipeline_parallel_size;
    case Variable::kHeadLayers:
      return s.head_layers;
    case Variable::kZeroStage:
      return s.zero_stage;
    case Variable::kRecomputation:
      return static_cast<std::int64_t>(s.recomputation);
    case Variable::kRecomputedLayers:
      return s.recomputed_layers;
    case Variable::kFirstSharding:
      break;
  }
  SHARDSCOUT_CHECK(false && "unknown variable");
  return 0;
}

void SetVariable(Strategy& s, int variable, std::int64_t value) {
  if (IsSharding(variable)) {
    s.shardings[static_cast<std::size_t>(variable - kFirstShardingVariable)] = static_cast<Sharding>(value);
    return;
  }
  switch (static_cast<Variable>(variable)) {
    case Variable::kPipelineParallelSize:
      s.pipeline_parallel_size = value;
      return;
    case Variable::kTensorParallelSize:
      s.tensor_parallel_size = value;
      return;
    case Variable::kContextParallelSize:
      s.context_parallel_size = value;
      return;
    case Variable::kDataParallelSize:
      s.data_parallel_size = value;
      return;
    case Variable::kExpertParallelSize:
      s.expert_parallel_size = value;
      return;
    case Variable::kExpertTensorParallelSize:
      s.expert_tensor_parallel_size = value;
      return;
    case Variable::kBatchSize:
      s.batch_size = value;
      return;
    case Variable::kNumMicrobatches:
      s.num_microbatches = value;
      return;
    case Variable::kResidualLayout:
      s.residual_layout = static_cast<Layout>(value);
      return;
    case Variable::kDenseFfnGroup:
      s.dense_ffn_group = static_cast<DenseFfnGroup>(value);
      return;
    case Variable::kExpertExchange:
      s.expert_exchange = static_cast<ExpertExchange>(value);
      return;
    case Variable::kOverlap:
      s.overlap = static_cast<Overlap>(value);
      return;
    case Variable::kVirtualPipelineParallelSize:
      s.virtual_pipeline_parallel_size = value;
      return;
    case Variable::kHeadLayers:
      s.head_layers = value;
      return;
    case Variable::kZeroStage:
      s.zero_stage = value;
      return;
    case Variable::kRecomputation:
      s.recomputation = static_cast<Recomputation>(value);
      return;
    case Variable::kRecomputedLayers:
      s.recomputed_layers = value;
      return;
    case Variable::kFirstSharding:
      break;
  }
  SHARDSCOUT_CHECK(false && "unknown variable");
}

}  // namespace shardscout
