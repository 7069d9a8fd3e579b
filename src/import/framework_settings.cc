#include "src/import/framework_settings.h"

#include <algorithm>
#include <numeric>
#include <span>

#include "shardscout/error.h"
#include "src/frameworks/degrees.h"

namespace shardscout::importers {
namespace {

using frameworks::MegatronArguments;
using frameworks::SglangArguments;
using frameworks::TensorRtLlmArguments;
using frameworks::VllmArguments;

void NoteUnused(const Settings& settings, Deployment& deployment) {
  std::string names;
  for (const std::string& name : settings.Unused()) names += (names.empty() ? "" : ", ") + name;
  if (!names.empty()) deployment.notes.push_back("not modelled: " + names);
}

template <class Arguments>
void CheckModelRules(std::span<const frameworks::Rule<Arguments>> rules, const Arguments& arguments,
                     const ModelSpec* model, Deployment& deployment) {
  if (model == nullptr) return;
  for (const frameworks::BrokenRule& broken : frameworks::CheckRules(rules, arguments, *model)) {
    deployment.broken_rules.push_back(broken.id + ": " + broken.message);
  }
}

/// More than any cluster here has.
constexpr std::int64_t kMostRanks = std::int64_t{1} << 24;

/// Degrees that do not divide mean nothing.
void ExpectDivides(const Settings& settings, std::int64_t whole, std::int64_t part, const char* what) {
  if (part > 0 && whole % part == 0) return;
  throw SpecError(settings.place(),
                  std::string(what) + ": " + std::to_string(whole) + " does not divide by " + std::to_string(part));
}

std::string WithoutAuto(const std::optional<std::string>& dtype) {
  if (!dtype || *dtype == "auto") return "";
  return dtype->starts_with("fp8") ? "fp8" : *dtype == "bfloat16" ? "bf16" : *dtype;
}

void NoteRedundantExperts(std::int64_t redundant, Deployment& deployment) {
  if (redundant == 0) return;
  deployment.notes.push_back("not modelled: " + std::to_string(redundant) +
                             " redundant experts (priced with each expert once, evenly loaded)");
}

}  // namespace

Deployment DeploymentOfVllm(Settings& settings, const ModelSpec* model) {
  VllmArguments a;
  a.tensor_parallel_size = settings.SizeOr1({"tensor-parallel-size", "tp"});
  a.pipeline_parallel_size = settings.SizeOr1({"pipeline-parallel-size", "pp"});
  a.data_parallel_size = settings.SizeOr1({"data-parallel-size", "dp"});
  a.prefill_context_parallel_size = settings.SizeOr1({"prefill-context-parallel-size", "pcp"});
  a.decode_context_parallel_size = settings.SizeOr1({"decode-context-parallel-size", "dcp"});
  a.enable_expert_parallel = settings.Flag({"enable-expert-parallel", "ep"});
  a.all2all_backend = settings.Text({"all2all-backend"}).value_or("");
  a.enable_dbo = settings.Flag({"enable-dbo"});
  a.enable_eplb = settings.Flag({"enable-eplb"});
  a.num_redundant_experts = settings.Text({"eplb-config.num-redundant-experts"}).value_or("0") == "0"
                                ? 0
                                : settings.SizeOr1({"eplb-config.num-redundant-experts"});
  a.layer_partition = settings.Sizes({"env.VLLM-PP-LAYER-PARTITION"});
  const std::optional<std::int64_t> sequences = settings.Size({"max-num-seqs"});
  const std::optional<std::int64_t> tokens = settings.Size({"max-num-batched-tokens"});
  a.max_num_seqs = sequences.value_or(0);
  a.max_num_batched_tokens = tokens.value_or(0);

  Deployment d;
  d.framework = Framework::kVllm;
  d.model = settings.Text({"model"}).value_or("");
  if (model != nullptr && !model->HasMoe()) {
    d.replicas = a.data_parallel_size;  // Of a dense model they share nothing.
    a.data_parallel_size = 1;
  }
  d.degrees = DegreesOf(a);
  d.cache_split = a.decode_context_parallel_size;
  if (!a.all2all_backend.empty() && a.all2all_backend != "allgather_reducescatter") {
    d.expert_exchange = ExpertExchange::kAllToAll;
  }
  d.two_batch_overlap = a.enable_dbo;
  d.layer_partition = a.layer_partition;
  d.max_batch_size = sequences;
  d.max_positions = settings.Size({"max-model-len"});
  d.memory_fraction = settings.Fraction({"gpu-memory-utilization"});
  d.kv_dtype = WithoutAuto(settings.Text({"kv-cache-dtype"}));
  settings.Ignore({"data-parallel-size-local",
                   "dpl",
                   "data-parallel-address",
                   "dpa",
                   "data-parallel-rpc-port",
                   "dpp",
                   "data-parallel-start-rank",
                   "dpr",
                   "data-parallel-rank",
                   "dpn",
                   "data-parallel-backend",
                   "dpb",
                   "data-parallel-hybrid-lb",
                   "data-parallel-external-lb",
                   "headless",
                   "nnodes",
                   "node-rank",
                   "master-addr",
                   "master-port",
                   "host",
                   "port",
                   "distributed-executor-backend",
                   "served-model-name",
                   "trust-remote-code",
                   "api-key",
                   "download-dir",
                   "disaggregation-mode",
                   "is-prefill-worker",
                   "is-decode-worker",
                   "kv-transfer-config.kv-connector",
                   "kv-transfer-config.kv-role",
                   "eplb-config.window-size",
                   "eplb-config.step-interval",
                   "eplb-config.log-balancedness"});
  NoteRedundantExperts(a.num_redundant_experts, d);
  NoteUnused(settings, d);
  CheckModelRules(frameworks::VllmRules(), a, model, d);
  return d;
}

Deployment DeploymentOfSglang(Settings& settings, const ModelSpec* model) {
  SglangArguments a;
  a.tp_size = settings.SizeOr1({"tp-size", "tensor-parallel-size", "tp"});
  a.pp_size = settings.SizeOr1({"pp-size", "pipeline-parallel-size", "pp"});
  a.dp_size = settings.SizeOr1({"dp-size", "data-parallel-size", "dp"});
  a.ep_size = settings.SizeOr1({"ep-size", "expert-parallel-size", "ep"});
  a.attn_cp_size = settings.SizeOr1({"attn-cp-size", "attention-context-parallel-size"});
  a.enable_dp_attention = settings.Flag({"enable-dp-attention"}) && a.dp_size > 1;
  a.enable_dp_lm_head = settings.Flag({"enable-dp-lm-head"}) && a.enable_dp_attention;
  if (settings.Text({"moe-dense-tp-size"})) a.moe_dense_tp_size = settings.SizeOr1({"moe-dense-tp-size"});
  a.moe_a2a_backend = settings.Text({"moe-a2a-backend"}).value_or("none");
  if (settings.Flag({"enable-deepep-moe"})) a.moe_a2a_backend = "deepep";
  a.enable_eplb = settings.Flag({"enable-eplb"});
  const std::string redundant = settings.Text({"ep-num-redundant-experts"}).value_or("0");
  if (redundant != "0") a.ep_num_redundant_experts = settings.SizeOr1({"ep-num-redundant-experts"});
  a.nnodes = settings.SizeOr1({"nnodes"});
  const std::optional<std::int64_t> requests = settings.Size({"max-running-requests"});
  a.max_running_requests = requests.value_or(0);
  a.layer_partition = settings.Sizes({"env.SGLANG-PP-LAYER-PARTITION"});
  ExpectDivides(settings, a.tp_size, (a.enable_dp_attention ? a.dp_size : 1) * a.attn_cp_size,
                "tp-size over dp-size * attn-cp-size");
  ExpectDivides(settings, a.tp_size, a.ep_size, "tp-size over ep-size");

  Deployment d;
  d.framework = Framework::kSglang;
  if (a.moe_a2a_backend != "none" && a.ep_size != a.tp_size) {
    d.notes.push_back("moe-a2a-backend " + a.moe_a2a_backend + " sets ep-size to tp-size " + std::to_string(a.tp_size));
    a.ep_size = a.tp_size;
  }
  d.model = settings.Text({"model-path", "model"}).value_or("");
  d.degrees = DegreesOf(a);
  if (!a.enable_dp_attention) d.replicas = a.dp_size;
  if (a.moe_a2a_backend != "none") d.expert_exchange = ExpertExchange::kAllToAll;
  d.dense_ffn_over_stage = a.enable_dp_attention && a.moe_dense_tp_size == 0;
  d.two_batch_overlap = settings.Flag({"enable-two-batch-overlap"});
  d.layer_partition = a.layer_partition;
  if (requests) d.max_batch_size = std::max<std::int64_t>(1, *requests / a.dp_size);
  d.max_positions = settings.Size({"context-length"});
  d.kv_dtype = WithoutAuto(settings.Text({"kv-cache-dtype"}));
  settings.Ignore({"node-rank", "dist-init-addr", "host", "port", "trust-remote-code", "served-model-name",
                   "deepep-mode", "mem-fraction-static", "chunked-prefill-size", "disaggregation-mode",
                   "disaggregation-transfer-backend", "disaggregation-bootstrap-port"});
  NoteRedundantExperts(a.ep_num_redundant_experts, d);
  NoteUnused(settings, d);
  CheckModelRules(frameworks::SglangRules(), a, model, d);
  return d;
}

Deployment DeploymentOfTensorRtLlm(Settings& settings, const ModelSpec* model) {
  TensorRtLlmArguments a;
  a.tensor_parallel_size = settings.SizeOr1({"tensor-parallel-size", "tp-size"});
  a.pipeline_parallel_size = settings.SizeOr1({"pipeline-parallel-size", "pp-size"});
  a.context_parallel_size = settings.SizeOr1({"context-parallel-size", "cp-size"});
  a.cp_type = settings.Text({"cp-config.cp-type"}).value_or("");
  if (settings.Has("moe-tensor-parallel-size"))
    a.moe_tensor_parallel_size = settings.SizeOr1({"moe-tensor-parallel-size"});
  if (settings.Has("moe-expert-parallel-size") || settings.Has("ep-size")) {
    a.moe_expert_parallel_size = settings.SizeOr1({"moe-expert-parallel-size", "ep-size"});
  }
  a.moe_cluster_parallel_size = settings.SizeOr1({"moe-cluster-parallel-size"});
  a.enable_attention_dp = settings.Flag({"enable-attention-dp"});
  a.enable_lm_head_tp_in_adp = settings.Flag({"enable-lm-head-tp-in-adp"});
  a.gpus_per_node = settings.Size({"gpus-per-node"}).value_or(8);
  a.moe_backend = settings.Text({"moe-config.backend"}).value_or("");
  a.pp_partition = settings.Sizes({"pp-partition"});
  const std::optional<std::int64_t> batch = settings.Size({"max-batch-size"});
  a.max_batch_size = batch.value_or(0);
  a.max_num_tokens = settings.Size({"max-num-tokens"}).value_or(0);

  Deployment d;
  d.framework = Framework::kTensorRtLlm;
  d.model = settings.Text({"model", "model-path"}).value_or("");
  d.degrees = DegreesOf(a);
  if (a.moe_backend == "WIDEEP") d.expert_exchange = ExpertExchange::kAllToAll;
  d.layer_partition = a.pp_partition;
  // Of a rank and pass; as many passes are under way as there are stages.
  if (batch) d.max_batch_size = *batch * a.pipeline_parallel_size;
  d.max_positions = settings.Size({"max-seq-len"});
  d.kv_dtype = WithoutAuto(settings.Text({"kv-cache-config.dtype"}));
  if (a.context_parallel_size > 1 && !a.Helix()) {
    d.notes.push_back("context_parallel_size splits heads (Ulysses): taken as tensor parallelism of attention");
  }
  settings.Ignore({"kv-cache-config.free-gpu-memory-fraction",
                   "free-gpu-memory-fraction",
                   "kv-cache-config.enable-block-reuse",
                   "attention-dp-config.enable-balance",
                   "attention-dp-config.batching-wait-iters",
                   "attention-dp-config.timeout-iters",
                   "cuda-graph-config.enable-padding",
                   "cuda-graph-config.max-batch-size",
                   "cuda-graph-config.batch-sizes",
                   "host",
                   "port",
                   "backend",
                   "trust-remote-code",
                   "kv-cache-config.tokens-per-block",
                   "print-iter-log",
                   "served-model-name",
                   "extra-engine-args",
                   "extra-llm-api-options",
                   "disaggregation-mode",
                   "cache-transceiver-config.backend",
                   "disable-overlap-scheduler"});
  NoteUnused(settings, d);
  CheckModelRules(frameworks::TensorRtLlmRules(), a, model, d);
  return d;
}

Deployment DeploymentOfMegatron(Settings& settings, const ModelSpec* model) {
  MegatronArguments a;
  a.tensor_model_parallel_size = settings.SizeOr1({"tensor-model-parallel-size"});
  a.pipeline_model_parallel_size = settings.SizeOr1({"pipeline-model-parallel-size"});
  a.context_parallel_size = settings.SizeOr1({"context-parallel-size"});
  a.expert_model_parallel_size = settings.SizeOr1({"expert-model-parallel-size"});
  if (settings.Has("expert-tensor-parallel-size")) {
    a.expert_tensor_parallel_size = settings.SizeOr1({"expert-tensor-parallel-size"});
  }
  a.sequence_parallel = settings.Flag({"sequence-parallel"});
  a.moe_token_dispatcher_type = settings.Text({"moe-token-dispatcher-type"}).value_or("allgather");
  a.pipeline_layout = settings.Text({"pipeline-model-parallel-layout"}).value_or("");
  a.micro_batch_size = settings.SizeOr1({"micro-batch-size"});
  const std::optional<std::int64_t> global_batch = settings.Size({"global-batch-size"});
  a.global_batch_size = global_batch.value_or(0);
  a.seq_length = settings.Size({"seq-length"}).value_or(0);

  Deployment d;
  d.framework = Framework::kMegatron;
  const bool launched = settings.Has("nproc-per-node");
  const std::int64_t grid = a.ExpertTensorSize() * a.expert_model_parallel_size * a.pipeline_model_parallel_size;
  const bool moe = model != nullptr ? model->HasMoe() : settings.Has("num-experts");
  if (a.ModelRanks() > kMostRanks || grid > kMostRanks) {
    throw SpecError(settings.place(), "the degrees ask for more than " + std::to_string(kMostRanks) + " devices");
  }
  if (launched) {
    a.world_size = settings.SizeOr1({"nproc-per-node"}) * settings.SizeOr1({"nnodes"});
  } else {
    a.world_size = moe ? std::lcm(a.ModelRanks(), grid) : a.ModelRanks();
    d.notes.push_back("the file does not say how many devices there are: taken as " + std::to_string(a.world_size) +
                      ", the fewest that both grids fill");
  }
  ExpectDivides(settings, a.world_size, a.ModelRanks(), "the world over tp * pp * cp");
  if (moe) ExpectDivides(settings, a.world_size, grid, "the world over etp * ep * pp");
  d.degrees = DegreesOf(a);
  if (!moe) {
    d.replicas = d.degrees.attention_data;
    d.degrees.attention_data = 1;
  }
  d.expert_exchange =
      a.moe_token_dispatcher_type == "allgather" ? ExpertExchange::kGatherScatter : ExpertExchange::kAllToAll;
  d.sequence_parallel = a.sequence_parallel;
  if (const auto stages = frameworks::ExpandLayout(a.pipeline_layout); !a.pipeline_layout.empty() && stages) {
    // Virtual stages of one rank follow one another by pp.
    std::vector<std::int64_t> layers(static_cast<std::size_t>(a.pipeline_model_parallel_size));
    for (std::size_t i = 0; i < stages->size(); ++i) {
      layers[i % layers.size()] += std::count((*stages)[i].begin(), (*stages)[i].end(), 't');
    }
    d.layer_partition = std::move(layers);
  }
  if (global_batch) {
    d.max_batch_size = std::max<std::int64_t>(1, *global_batch / a.DataParallelSize());
    d.num_microbatches = std::max<std::int64_t>(1, *d.max_batch_size / a.micro_batch_size);
  }
  settings.Ignore({"num-layers",
                   "hidden-size",
                   "num-attention-heads",
                   "multi-latent-attention",
                   "num-experts",
                   "moe-router-topk",
                   "mtp-num-layers",
                   "use-distributed-optimizer",
                   "max-position-embeddings",
                   "kv-lora-rank",
                   "qk-head-dim",
                   "qk-pos-emb-head-dim",
                   "v-head-dim",
                   "q-lora-rank",
                   "group-query-attention",
                   "num-query-groups",
                   "kv-channels",
                   "ffn-hidden-size",
                   "moe-ffn-hidden-size",
                   "moe-shared-expert-intermediate-size",
                   "nnodes",
                   "node-rank",
                   "master-addr",
                   "master-port"});
  NoteUnused(settings, d);
  CheckModelRules(frameworks::MegatronRules(), a, model, d);
  return d;
}

namespace {

/// What partition_config does to the matrix whose name has `part`, by the names in its patterns; "" where none has.
std::string PartitionType(Settings& settings, std::string_view part) {
  const std::string specs = "tensor-parallel.partition-config.layer-specs.";
  for (int i = 0;; ++i) {
    const std::string here = specs + std::to_string(i) + ".";
    const std::string name = here + "patterns", type = here + "partition-type";
    const std::optional<std::string> patterns = settings.Text({name});
    if (!patterns) return "";
    const bool routed = patterns->find("experts\\.[") != std::string::npos;
    if (!routed && patterns->find(part) != std::string::npos) return settings.Text({type}).value_or("");
  }
}

}  // namespace

Deployment DeploymentOfDeepSpeed(Settings& settings, const ModelSpec*) {
  Deployment d;
  d.framework = Framework::kDeepSpeed;
  d.degrees.attention_tensor = settings.SizeOr1({"tensor-parallel.autotp-size"});
  d.degrees.expert_tensor = d.degrees.attention_tensor;
  d.max_batch_size = settings.Size({"train-micro-batch-size-per-gpu"});
  const std::string down = PartitionType(settings, "down_proj"), head = PartitionType(settings, "lm_head");
  if (down == "column" || down == "skip") {
    d.shardings.emplace_back(Operator::kFfnDown, down == "skip" ? Sharding::kNone : Sharding::kHidden);
  }
  d.shardings.emplace_back(Operator::kLmHead, head == "column" ? Sharding::kVocab : Sharding::kNone);
  d.shardings.emplace_back(Operator::kEmbedding, Sharding::kNone);
  d.notes.emplace_back("partition_config is read by the names in its patterns; attention is taken as column, then row");
  return d;
}

}  // namespace shardscout::importers
