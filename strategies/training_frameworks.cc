#include "strategies/training_frameworks.h"

namespace shardscout::strategies {
namespace {

/// What the others' tensor parallelism knows: nothing that spans positions, no norm over what it splits.
bool IsPlain(const ModelSpec& model) { return !model.HasLinearAttention() && !model.attention.HasIndexer(); }

bool WholeKvHeads(const ModelSpec& model, std::int64_t tp) {
  return model.attention.kind == AttentionKind::kMultiLatent || model.attention.num_kv_heads % tp == 0;
}

/// Positions in two parts a context parallel rank, and in one a tp rank.
bool PositionsSplit(const Problem& problem, const Strategy& s) {
  return problem.workload().input_tokens % (2 * s.context_parallel_size * s.tensor_parallel_size) == 0;
}

}  // namespace

bool TrainsWithDegrees(Framework framework, const Problem& problem, const Strategy& s) {
  if (framework == Framework::kMegatron) return true;
  const ModelSpec& model = problem.model();
  const std::int64_t pp = s.pipeline_parallel_size, tp = s.tensor_parallel_size;
  if (!IsPlain(model) || !WholeKvHeads(model, tp) || model.num_layers % pp != 0) return false;
  switch (framework) {
    case Framework::kTorchtitan:
      return PositionsSplit(problem, s) && (pp == 1 || !model.tie_word_embeddings) &&
             (s.context_parallel_size * s.data_parallel_size > 1 || s.InstanceSize() == 1);
    case Framework::kDeepSpeed:
      return s.context_parallel_size == 1 && (pp == 1 || tp == 1) && (tp == 1 || !model.HasMoe());
    case Framework::kMaxText:
      return pp == 1 && PositionsSplit(problem, s) && model.vocab_size % tp == 0 &&
             model.hidden_size % (s.context_parallel_size * s.data_parallel_size) == 0;
    default:
      return false;
  }
}

bool TrainsWithExpertMesh(Framework framework, const Strategy& s) {
  const std::int64_t ep = s.expert_parallel_size, etp = s.expert_tensor_parallel_size;
  switch (framework) {
    case Framework::kTorchtitan:
      return etp == 1 && (ep > 1 || s.tensor_parallel_size == 1);
    case Framework::kDeepSpeed:
      return etp == 1 && (ep == 1 || s.pipeline_parallel_size == 1);
    case Framework::kMaxText:
      return etp == s.tensor_parallel_size && s.data_parallel_size % ep == 0;
    default:
      return true;
  }
}

bool TrainsWithZero(Framework framework, const Strategy& s, std::int64_t stage) {
  const bool dealt = s.expert_parallel_size > 1;
  const bool shared = s.context_parallel_size * s.data_parallel_size > 1;
  if (!shared) return stage == 0;
  switch (framework) {
    case Framework::kTorchtitan: {
      const bool copies_alone = s.InstanceSize() == s.data_parallel_size && !dealt;
      return stage >= 2 || (stage == 0 && copies_alone);
    }
    case Framework::kDeepSpeed:
      if (s.pipeline_parallel_size > 1) return stage <= 1;
      return stage <= 2 || (s.tensor_parallel_size == 1 && !dealt);
    case Framework::kMaxText:
      return stage == 3 || (stage <= 1 && s.context_parallel_size == 1 && !dealt);
    default:
      // Its distributed optimizer shares the optimizer's states; gradients and weights only its FSDP would.
      return stage <= 1;
  }
}

}  // namespace shardscout::strategies
