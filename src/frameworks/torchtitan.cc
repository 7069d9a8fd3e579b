#include "src/frameworks/torchtitan.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace shardscout::frameworks {
namespace {

std::string Text(std::int64_t value) { return std::to_string(value); }

bool OneOf(const std::string& value, std::initializer_list<std::string_view> known) {
  return std::find(known.begin(), known.end(), value) != known.end();
}

/// Schedules of one stage a rank; the others have two or more.
bool IsSingle(const TorchtitanArguments& a) { return OneOf(a.pipeline_parallel_schedule, {"1F1B", "GPipe"}); }

std::string WorldIsProduct(const TorchtitanArguments& a, const ModelSpec&) {
  const std::int64_t product =
      a.DataParallelSize() * a.context_parallel_degree * a.tensor_parallel_degree * a.pipeline_parallel_degree;
  if (product == a.world_size) return "";
  return "dp_replicate * dp_shard * cp * tp * pp, " + Text(product) + ", is not the world size " + Text(a.world_size);
}

std::string ExpertGrid(const TorchtitanArguments& a, const ModelSpec& model) {
  const std::int64_t ep = a.expert_parallel_degree;
  if (!model.HasMoe()) return ep == 1 ? "" : "expert_parallel_degree in a model without experts";
  const std::int64_t ranks = a.data_parallel_shard_degree * a.context_parallel_degree * a.tensor_parallel_degree;
  if (ranks % ep == 0) return "";
  return "dp_shard * cp * tp, " + Text(ranks) + ", does not divide by ep " + Text(ep);
}

std::string ExpertsDivide(const TorchtitanArguments& a, const ModelSpec& model) {
  if (!model.HasMoe() || model.moe.num_experts % a.expert_parallel_degree == 0) return "";
  return Text(model.moe.num_experts) + " experts do not divide by ep " + Text(a.expert_parallel_degree);
}

std::string ExpertsWithTensor(const TorchtitanArguments& a, const ModelSpec& model) {
  if (!model.HasMoe() || a.tensor_parallel_degree == 1 || a.expert_parallel_degree > 1) return "";
  return "experts take ranks from tp only where they are dealt: tp " + Text(a.tensor_parallel_degree) +
         " needs expert_parallel_degree above 1";
}

std::string HeadsSplit(const TorchtitanArguments& a, const ModelSpec& model) {
  const std::int64_t tp = a.tensor_parallel_degree;
  std::string heads = HeadsDivide(model.attention.num_heads, tp, "n_heads", "tp");
  if (!heads.empty() || model.attention.kind == AttentionKind::kMultiLatent) return heads;
  return HeadsDivide(model.attention.num_kv_heads, tp, "n_kv_heads", "tp");
}

std::string SequenceDivides(const TorchtitanArguments& a, const ModelSpec&) {
  const std::int64_t parts = a.tensor_parallel_degree * 2 * a.context_parallel_degree;
  if (a.seq_len % parts == 0) return "";
  return "seq_len " + Text(a.seq_len) + " must be divisible by tp * 2 * cp, " + Text(parts);
}

std::string MicrobatchDivides(const TorchtitanArguments& a, const ModelSpec&) {
  if (a.pipeline_parallel_degree == 1 || a.local_batch_size % a.pipeline_parallel_microbatch_size == 0) return "";
  return "local_batch_size " + Text(a.local_batch_size) + " must be divisible by the micro-batch size " +
         Text(a.pipeline_parallel_microbatch_size);
}

std::string GlobalBatchDivides(const TorchtitanArguments& a, const ModelSpec&) {
  const std::int64_t pass = a.local_batch_size * a.DataParallelSize();
  if (a.global_batch_size % pass == 0) return "";
  return "global_batch_size " + Text(a.global_batch_size) + " must be divisible by local_batch_size * dp, " +
         Text(pass);
}

std::string KnownSchedule(const TorchtitanArguments& a, const ModelSpec&) {
  if (IsSingle(a) || OneOf(a.pipeline_parallel_schedule,
                           {"Interleaved1F1B", "LoopedBFS", "InterleavedZeroBubble", "ZBVZeroBubble", "DualPipeV"})) {
    return "";
  }
  return "unknown pipeline_parallel_schedule \"" + a.pipeline_parallel_schedule + "\"";
}

std::string StagesFit(const TorchtitanArguments& a, const ModelSpec& model) {
  const std::int64_t pp = a.pipeline_parallel_degree;
  if (pp == 1) return "";
  const std::int64_t stages = a.VirtualStages(model);
  if (stages > model.num_layers) return Text(stages) + " stages of " + Text(model.num_layers) + " layers";
  if (stages % pp != 0) return Text(stages) + " virtual stages must be divisible by pp " + Text(pp);
  if (IsSingle(a) == (stages == pp)) return "";
  return a.pipeline_parallel_schedule + " with " + Text(stages / pp) + " stages a rank";
}

std::string MicrobatchesSuffice(const TorchtitanArguments& a, const ModelSpec& model) {
  const std::int64_t pp = a.pipeline_parallel_degree;
  if (pp == 1 || !IsSingle(a) || a.Microbatches() >= a.VirtualStages(model)) return "";
  return Text(a.Microbatches()) + " micro-batches are fewer than the " + Text(a.VirtualStages(model)) + " stages";
}

std::string MicrobatchRounds(const TorchtitanArguments& a, const ModelSpec&) {
  const std::int64_t pp = a.pipeline_parallel_degree, count = a.Microbatches();
  if (pp == 1 || a.pipeline_parallel_schedule != "Interleaved1F1B") return "";
  const std::int64_t rounds = std::max<std::int64_t>(1, count / pp);
  if (count % rounds == 0) return "";
  return Text(count) + " micro-batches must be a multiple of the rounds, " + Text(rounds);
}

std::string TiedWithPipeline(const TorchtitanArguments& a, const ModelSpec& model) {
  if (a.pipeline_parallel_degree == 1 || !model.tie_word_embeddings) return "";
  return "weight tying is not supported with a pipeline";
}

std::string CopiesAlone(const TorchtitanArguments& a, const ModelSpec&) {
  if (a.data_parallel_replicate_degree == 1 || a.ShardsParameters()) return "";
  if (a.world_size == a.data_parallel_replicate_degree && a.expert_parallel_degree == 1) return "";
  return "DDP has not more than one dimension of parallelism";
}

std::string MixedPrecision(const TorchtitanArguments& a, const ModelSpec&) {
  if (a.ShardsParameters() || a.world_size == a.data_parallel_replicate_degree) return "";
  return "products in 16 bits need dp_shard * cp above 1, or DDP alone";
}

std::string KnownPolicies(const TorchtitanArguments& a, const ModelSpec&) {
  if (!OneOf(a.fsdp_reshard_after_forward, {"default", "always", "never"})) {
    return "unknown fsdp_reshard_after_forward \"" + a.fsdp_reshard_after_forward + "\"";
  }
  if (OneOf(a.activation_checkpoint_mode, {"selective", "full", "memory_budget", "none"})) return "";
  return "unknown activation_checkpoint.mode \"" + a.activation_checkpoint_mode + "\"";
}

std::string PlainAttention(const TorchtitanArguments&, const ModelSpec& model) {
  if (model.HasLinearAttention()) return "no linear attention among its parallelized models";
  return model.attention.HasIndexer() ? "no indexer of sparse attention among its parallelized models" : "";
}

constexpr const char* kDims = "torchtitan/distributed/parallel_dims.py";
constexpr const char* kPipeline = "torchtitan/distributed/pipeline_parallel.py";
constexpr const char* kDecoder = "torchtitan/models/common/decoder.py";
constexpr const char* kConfigs = "torchtitan/config/configs.py";
constexpr const char* kSchedules = "torch/distributed/pipelining/schedules.py";

constexpr std::array<TorchtitanRule, 17> kRules = {{
    {"torchtitan.world", "dp_replicate * dp_shard * cp * tp * pp == world", kDims, WorldIsProduct},
    {"torchtitan.expert_grid", "(dp_shard * cp * tp) % ep == 0", kDims, ExpertGrid},
    {"torchtitan.experts_divide", "experts % ep == 0", "torchtitan/distributed/expert_parallel.py", ExpertsDivide},
    {"torchtitan.experts_with_tp", "experts with tp > 1 are dealt: ep > 1", kConfigs, ExpertsWithTensor},
    {"torchtitan.heads_divide", "heads % tp == 0; KV heads % tp == 0", kDecoder, HeadsSplit},
    {"torchtitan.sequence_divides", "seq_len % (tp * 2 * cp) == 0", kDims, SequenceDivides},
    {"torchtitan.microbatch_divides", "local_batch_size % pipeline_parallel_microbatch_size == 0", kPipeline,
     MicrobatchDivides},
    {"torchtitan.batch_divides", "global_batch_size % (local_batch_size * dp) == 0", "torchtitan/trainer.py",
     GlobalBatchDivides},
    {"torchtitan.schedule", "a schedule of torch.distributed.pipelining", kSchedules, KnownSchedule},
    {"torchtitan.stages", "virtual stages % pp == 0; one a rank in 1F1B, two or more in interleaved schedules",
     kPipeline, StagesFit},
    {"torchtitan.microbatches", "micro-batches >= stages in a schedule of one stage a rank", kSchedules,
     MicrobatchesSuffice},
    {"torchtitan.rounds", "micro-batches % (micro-batches / pp) == 0 in interleaved schedules", kSchedules,
     MicrobatchRounds},
    {"torchtitan.tied", "no pipeline where embeddings are tied", kDecoder, TiedWithPipeline},
    {"torchtitan.ddp_alone", "dp_replicate without dp_shard and cp only where it is the whole world",
     "torchtitan/models/llama3/parallelize.py", CopiesAlone},
    {"torchtitan.mixed_precision", "mixed_precision_param takes effect under FSDP, or DDP alone", kConfigs,
     MixedPrecision},
    {"torchtitan.policies", "fsdp_reshard_after_forward and activation_checkpoint.mode are known", kConfigs,
     KnownPolicies},
    {"torchtitan.attention", "softmax attention over all positions", "torchtitan/models", PlainAttention},
}};

}  // namespace

std::int64_t TorchtitanArguments::VirtualStages(const ModelSpec& model) const {
  if (pipeline_parallel_layers_per_stage == 0) {
    return pipeline_parallel_degree * (IsSingle(*this) ? 1 : 2);
  }
  return (model.num_layers + pipeline_parallel_layers_per_stage - 1) / pipeline_parallel_layers_per_stage;
}

std::span<const TorchtitanRule> TorchtitanRules() { return kRules; }

}  // namespace shardscout::frameworks
