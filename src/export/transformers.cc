#include "src/export/transformers.h"

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "src/export/lowering.h"
#include "src/export/torchrun.h"
#include "src/frameworks/hub_names.h"

namespace shardscout::exporters {

using frameworks::TransformersArguments;

namespace {

/// Adds a layer's entries.
class PlanWriter {
 public:
  explicit PlanWriter(TransformersArguments& arguments) : arguments_(arguments) {}
  void Layer(const std::string& name, const char* style) {
    arguments_.tp_plan.emplace_back("model.layers.*." + name, style);
  }
  void Model(const char* name, const char* style) { arguments_.tp_plan.emplace_back(name, style); }

 private:
  TransformersArguments& arguments_;
};

void AddAttention(PlanWriter& plan, const AttentionSpec& attention, const Strategy& s) {
  if (attention.kind == AttentionKind::kMultiLatent) {
    plan.Layer(attention.q_lora_rank > 0 ? "self_attn.q_b_proj" : "self_attn.q_proj", "colwise");
    plan.Layer("self_attn.kv_a_proj_with_mqa", "mla_kv_a_proj");
    plan.Layer("self_attn.kv_b_proj", "colwise");
    plan.Layer("self_attn.o_proj", "rowwise");
    return;
  }
  const bool whole = s.ShardingOf(Operator::kAttention) == Sharding::kNone;
  for (const char* name : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}) {
    plan.Layer(name, whole ? "colwise_gather_output" : "colwise");
  }
  if (attention.sinks && !whole) plan.Layer("self_attn.sinks", "colwise");
  plan.Layer("self_attn.o_proj", whole ? "rowwise_split_input" : "rowwise");
}

void AddFfn(PlanWriter& plan, const ModelSpec& model, const Strategy& s, const std::string& of) {
  const bool up = s.ShardingOf(Operator::kFfnUp) == Sharding::kFfn;
  if (up && model.gated_ffn) plan.Layer(of + "gate_proj", "colwise");
  if (up) plan.Layer(of + "up_proj", "colwise");
  plan.Layer(of + "down_proj", up ? "rowwise" : "rowwise_split_input");
}

void AddExperts(PlanWriter& plan, const ModelSpec& model, const Strategy& s) {
  if (s.BlockSize() == 1) return;
  const bool dealt = s.expert_parallel_size > 1;
  // gpt-oss calls its gate a router.
  if (dealt) plan.Layer(model.moe.router_bias ? "mlp.router" : "mlp.gate", "ep_router");
  plan.Layer("mlp.experts.gate_up_proj", dealt ? "grouped_gemm" : "packed_colwise");
  plan.Layer("mlp.experts.down_proj", dealt ? "grouped_gemm" : "rowwise");
  if (model.moe.expert_bias && dealt) {
    plan.Layer("mlp.experts.gate_up_proj_bias", "grouped_gemm");
    plan.Layer("mlp.experts.down_proj_bias", "grouped_gemm");
  }
  plan.Layer("mlp.experts", "moe_tp_experts");
}

std::string LoaderOf(const Plan& plan, const Problem& problem, const Strategy& s) {
  std::ostringstream out;
  out << Preamble(Framework::kTransformers, plan, problem, s)
      << "import json\n\nfrom transformers import AutoModelForCausalLM\n\n\ndef load():\n"
      << "    with open(\"tp_plan.json\") as plan:\n"
      << "        return AutoModelForCausalLM.from_pretrained(\"" << frameworks::HubName(plan.model_name)
      << "\", dtype=\"auto\", tp_plan=json.load(plan))\n";
  return out.str();
}

}  // namespace

TransformersArguments TransformersArgumentsOf(const Problem& problem, const Strategy& s) {
  TransformersArguments a;
  a.tp_size = s.tensor_parallel_size;
  if (a.tp_size == 1) return a;
  const ModelSpec& model = problem.model();
  PlanWriter plan(a);
  if (s.ShardingOf(Operator::kEmbedding) == Sharding::kVocab) plan.Model("model.embed_tokens", "embedding_rowwise");
  AddAttention(plan, model.attention, s);
  if (model.HasDense()) AddFfn(plan, model, s, "mlp.");
  if (model.HasMoe()) AddExperts(plan, model, s);
  if (model.HasSharedExpert()) {
    AddFfn(plan, model, s, "mlp.shared_experts.");
    AddFfn(plan, model, s, "mlp.shared_expert.");
  }
  if (s.ShardingOf(Operator::kLmHead) == Sharding::kVocab) plan.Model("lm_head", "colwise_gather_output");
  return a;
}

ExportResult TransformersExporter::Export(const Plan& plan, const Reevaluate& reevaluate) const {
  const Problem problem = UnpinnedProblem(plan, Framework::kTransformers);
  const Lowered lowered = Lower(Framework::kTransformers, problem, plan.pools.front().strategy, reevaluate);
  const TransformersArguments a = TransformersArgumentsOf(problem, lowered.strategy);
  ThrowIfBroken(Framework::kTransformers, CheckRules(frameworks::TransformersRules(), a, problem.model()));

  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const auto& [name, style] : a.tp_plan) json[name] = style;
  ExportResult result = ResultOf(Framework::kTransformers, problem, lowered);
  result.files.push_back({"tp_plan.json", json.dump(2) + "\n"});
  result.files.push_back({"transformers_load.py", LoaderOf(plan, problem, lowered.strategy)});
  const Torchrun launch = TorchrunOf(a.tp_size, problem.cluster().devices_per_node);
  result.command = launch.command + " serve.py";
  if (!launch.note.empty()) result.notes.push_back(launch.note);
  result.notes.emplace_back("serve.py is your own: it calls transformers_load.load() and generates");
  return result;
}

}  // namespace shardscout::exporters
