#include "src/export/deepspeed.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string>

#include "src/export/lowering.h"
#include "src/export/torchrun.h"
#include "src/frameworks/deepspeed.h"
#include "src/frameworks/hub_names.h"

namespace shardscout::exporters {

using frameworks::DeepSpeedArguments;

namespace {

using nlohmann::ordered_json;

ordered_json Layer(const std::string& pattern, const char* type, bool gather = false) {
  ordered_json layer;
  layer["patterns"].push_back(pattern);
  layer["partition_type"] = type;
  if (gather) layer["gather_output"] = true;
  return layer;
}

ordered_json LayerSpecs(const ModelSpec& model, const Strategy& s) {
  const bool latent = model.attention.kind == AttentionKind::kMultiLatent;
  const Sharding down = s.ShardingOf(Operator::kFfnDown);
  const bool ffn = s.ShardingOf(Operator::kFfnUp) == Sharding::kFfn;
  // A down projection that is not cut by rows takes whole activations.
  const bool gather_up = ffn && down != Sharding::kFfn;
  ordered_json specs = ordered_json::array();
  if (s.tensor_parallel_size > 1) {
    const std::string projections = latent ? "(q|q_b|kv_b)" : "(q|k|v)";
    specs.push_back(Layer(R"(.*\.self_attn\.)" + projections + R"(_proj\.weight$)", "column"));
    if (latent) specs.push_back(Layer(R"(.*\.self_attn\.(q_a|kv_a)_.*)", "skip"));
    specs.push_back(Layer(R"(.*\.self_attn\.o_proj\.weight$)", "row"));
  }
  if (s.expert_tensor_parallel_size > 1) {
    specs.push_back(Layer(R"(.*\.experts\.[0-9]+\.(gate_proj|up_proj|w1|w3)\.weight$)", "column"));
    specs.push_back(Layer(R"(.*\.experts\.[0-9]+\.(down_proj|w2)\.weight$)", "row"));
    specs.push_back(Layer(R"(.*\.(mlp|block_sparse_moe)\.gate\.weight$)", "skip"));
  }
  if (ffn) {
    specs.push_back(Layer(R"(.*\.mlp\.(shared_experts?\.)?(gate|up)_proj\.weight$)", "column", gather_up));
    const std::string pattern = R"(.*\.mlp\.(shared_experts?\.)?down_proj\.weight$)";
    if (down == Sharding::kFfn) specs.push_back(Layer(pattern, "row"));
    if (down == Sharding::kHidden) specs.push_back(Layer(pattern, "column", true));
    if (down == Sharding::kNone) specs.push_back(Layer(pattern, "skip"));
  }
  if (s.ShardingOf(Operator::kLmHead) == Sharding::kVocab) {
    specs.push_back(Layer(R"(.*lm_head\.weight$)", "column", true));
    specs.push_back(Layer(".*(embed_tokens|norm).*", "skip"));
  } else {
    specs.push_back(Layer(".*(embed_tokens|lm_head|norm).*", "skip"));
  }
  return specs;
}

DeepSpeedArguments ArgumentsOf(const Plan& plan, const Problem& problem, const Strategy& s) {
  const bool training = problem.workload().IsTraining();
  DeepSpeedArguments a;
  a.world_size = s.InstanceSize();
  a.num_stages = s.pipeline_parallel_size;
  a.autotp_size = s.tensor_parallel_size;
  a.autoep_size = s.expert_parallel_size;
  if (a.autoep_size > 1) a.autoep_preset = frameworks::AutoEpPresetOf(frameworks::HubName(plan.model_name));
  a.zero_stage = s.zero_stage;
  a.train_micro_batch_size_per_gpu = s.batch_size / (training ? s.num_microbatches : 1);
  if (training) {
    a.gradient_accumulation_steps = s.num_microbatches;
    a.train_batch_size = s.batch_size * s.data_parallel_size;
  }
  return a;
}

/// Whether the plan's memory has the buckets of ZeRO 1 and 2.
bool HasBuckets(const Problem& problem, const Strategy& s) {
  const std::optional<TrainingSpec>& training = problem.workload().training;
  return training && training->exchange_bucket_elements > 0 && (s.zero_stage == 1 || s.zero_stage == 2);
}

ordered_json ConfigOf(const Problem& problem, const Strategy& s, const DeepSpeedArguments& a) {
  ordered_json config;
  const std::optional<TrainingSpec>& training = problem.workload().training;
  if (training) config["train_batch_size"] = a.train_batch_size;
  config["train_micro_batch_size_per_gpu"] = a.train_micro_batch_size_per_gpu;
  if (training) config["gradient_accumulation_steps"] = a.gradient_accumulation_steps;
  config["bf16"]["enabled"] = true;
  if (training) config["data_types"]["grad_accum_dtype"] = training->fp32_gradients ? "fp32" : "bf16";
  config["zero_optimization"]["stage"] = a.zero_stage;
  if (training && a.zero_stage > 0) config["zero_optimization"]["overlap_comm"] = training->overlap_gradients;
  if (HasBuckets(problem, s)) {
    // A multiple of two elements, which NCCL's buffers begin at (stage_1_and_2.py).
    const std::int64_t elements = std::max<std::int64_t>(training->exchange_bucket_elements / 2 * 2, 2);
    config["zero_optimization"]["reduce_bucket_size"] = elements;
    config["zero_optimization"]["allgather_bucket_size"] = elements;
  }
  if (a.autoep_size > 1) {
    config["expert_parallel"] = {{"enabled", true},
                                 {"autoep_size", a.autoep_size},
                                 {"expert_tensor_parallel_size", 1},
                                 {"preset_model", a.autoep_preset}};
  }
  if (training && a.autotp_size == 1) return config;
  config["tensor_parallel"]["autotp_size"] = a.autotp_size;
  ordered_json& partition = config["tensor_parallel"]["partition_config"];
  partition["use_default_specs"] = false;
  partition["strict_mode"] = true;
  partition["layer_specs"] = LayerSpecs(problem.model(), s);
  return config;
}

/// What a configuration cannot say: stages and recomputation are arguments of the model.
std::string SetupOf(const Plan& plan, const Problem& problem, const Strategy& s) {
  const bool again = s.recomputation == Recomputation::kFull;
  std::ostringstream out;
  out << Preamble(Framework::kDeepSpeed, plan, problem, s) << "import deepspeed\n";
  if (s.pipeline_parallel_size > 1) {
    out << "from deepspeed.pipe import PipelineModule\n\n\n"
        << "def initialize(layers, loss_fn, **arguments):\n"
        << "    \"\"\"layers: embedding, decoder layers, norm and head, in order, as LayerSpec's.\"\"\"\n"
        << "    model = PipelineModule(layers=layers, num_stages=" << s.pipeline_parallel_size
        << ", loss_fn=loss_fn,\n                           partition_method=\"type:DecoderLayer\", "
        << "activation_checkpoint_interval=" << (again ? 1 : 0) << ")\n";
  } else {
    out << "\n\ndef initialize(model, **arguments):\n"
        << "    \"\"\"model: of Hugging Face's transformers.\"\"\"\n"
        << "    model." << (again ? "gradient_checkpointing_enable" : "gradient_checkpointing_disable") << "()\n";
  }
  out << "    return deepspeed.initialize(model=model, config=\"deepspeed.json\", **arguments)\n";
  return out.str();
}

}  // namespace

ExportResult DeepSpeedExporter::Export(const Plan& plan, const Reevaluate& reevaluate) const {
  const Problem problem = UnpinnedProblem(plan, Framework::kDeepSpeed);
  const Lowered lowered = Lower(Framework::kDeepSpeed, problem, plan.pools.front().strategy, reevaluate);
  const Strategy& s = lowered.strategy;
  const DeepSpeedArguments a = ArgumentsOf(plan, problem, s);
  ThrowIfBroken(Framework::kDeepSpeed, CheckRules(frameworks::DeepSpeedRules(), a, problem.model()));

  ExportResult result = ResultOf(Framework::kDeepSpeed, problem, lowered);
  result.files.push_back({"deepspeed.json", ConfigOf(problem, s, a).dump(2) + "\n"});
  if (!problem.workload().IsTraining()) {
    result.notes.emplace_back(
        "pass it as config to deepspeed.initialize; AutoTP matches the weights' names of the model");
    return result;
  }
  result.files.push_back({"deepspeed_setup.py", SetupOf(plan, problem, s)});
  const Torchrun launch = TorchrunOf(a.world_size, problem.cluster().devices_per_node);
  result.command = launch.command + " train.py";
  if (!launch.note.empty()) result.notes.push_back(launch.note);
  result.notes.emplace_back("train.py is your own: it calls deepspeed_setup.initialize, whose model, optimizer (" +
                            std::string(ToString(problem.workload().training->optimizer)) + ") and data are its own");
  if ((s.zero_stage == 1 || s.zero_stage == 2) && !HasBuckets(problem, s)) {
    result.notes.emplace_back(
        "DeepSpeed's buckets (5e8 elements by default) are not in the plan's memory: exchange_bucket_elements in the "
        "workload prices them, and is written here");
  }
  if (problem.workload().training->precision == TrainingPrecision::kFp8) {
    result.notes.emplace_back("products in FP8 are the model's own layers' (Transformer Engine): no key says it");
  }
  return result;
}

}  // namespace shardscout::exporters
