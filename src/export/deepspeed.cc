#include "src/export/deepspeed.h"

#include <nlohmann/json.hpp>
#include <string>

#include "src/export/lowering.h"

namespace shardscout::exporters {
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

}  // namespace

ExportResult DeepSpeedExporter::Export(const Plan& plan, const Reevaluate& reevaluate) const {
  const Problem problem = UnpinnedProblem(plan, "--to deepspeed");
  const Lowered lowered = Lower(Framework::kDeepSpeed, problem, plan.pools.front().strategy, reevaluate);
  const Strategy& s = lowered.strategy;
  ordered_json config;
  config["train_micro_batch_size_per_gpu"] = s.batch_size;
  config["bf16"]["enabled"] = true;
  config["zero_optimization"]["stage"] = 0;
  config["tensor_parallel"]["autotp_size"] = s.tensor_parallel_size;
  ordered_json& partition = config["tensor_parallel"]["partition_config"];
  partition["use_default_specs"] = false;
  partition["strict_mode"] = true;
  partition["layer_specs"] = LayerSpecs(problem.model(), s);

  ExportResult result = ResultOf(Framework::kDeepSpeed, problem, lowered);
  result.files.push_back({"deepspeed.json", config.dump(2) + "\n"});
  result.notes.emplace_back("pass it as config to deepspeed.initialize; AutoTP matches the weights' names of the model");
  return result;
}

}  // namespace shardscout::exporters
