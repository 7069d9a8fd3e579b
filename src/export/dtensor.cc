#include "src/export/dtensor.h"

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "src/export/lowering.h"
#include "src/export/torchrun.h"

namespace shardscout::exporters {

using frameworks::DtensorArguments;
using frameworks::ModuleStyle;

namespace {

const std::string kWhole = "Replicate()";
const std::string kFeatures = "Shard(-1)";

/// Adds modules; `tokens` is how tokens are split where they are.
class PlanWriter {
 public:
  PlanWriter(DtensorArguments& arguments, std::string tokens, bool residual_is_split)
      : arguments_(arguments), tokens_(std::move(tokens)), residual_(residual_is_split ? tokens_ : kWhole) {}

  const std::string& tokens() const { return tokens_; }
  const std::string& residual() const { return residual_; }

  void Norm(const std::string& module) {
    if (residual_ != kWhole) arguments_.plan.push_back({module, "SequenceParallel", residual_, "", residual_, ""});
  }
  void Columns(const std::string& module, const std::string& input, const std::string& output) {
    arguments_.plan.push_back({module, "ColwiseParallel", input, "", output, ""});
  }
  void Rows(const std::string& module, const std::string& input, const std::string& output) {
    arguments_.plan.push_back({module, "RowwiseParallel", input, "", output, ""});
  }
  /// A module without split weights of its own, which takes and leaves `inside`.
  void Around(const std::string& module, const std::string& input, const std::string& inside,
              const std::string& output) {
    if (input != inside && output != inside) {
      arguments_.plan.push_back({module, "PrepareModuleInputOutput", input, inside, output, inside});
    } else if (input != inside) {
      arguments_.plan.push_back({module, "PrepareModuleInput", input, inside, inside, ""});
    } else if (output != inside) {
      arguments_.plan.push_back({module, "PrepareModuleOutput", inside, "", output, inside});
    }
  }
  void Before(const std::string& module, const std::string& input, const std::string& inside) {
    Around(module, input, inside, inside);
  }

 private:
  DtensorArguments& arguments_;
  std::string tokens_, residual_;
};

/// What an operator wants where it is not split itself.
std::string Unsplit(const PlanWriter& plan, Sharding sharding) {
  return sharding == Sharding::kToken ? plan.tokens() : kWhole;
}

void AddAttention(PlanWriter& plan, const Strategy& s) {
  const std::string of = "layers.*.attention";
  plan.Norm("layers.*.attention_norm");
  const bool rows = s.ShardingOf(Operator::kQkv) == Sharding::kHidden;
  plan.Before(of, plan.residual(), rows ? kFeatures : kWhole);
  for (const char* name : {".wq", ".wk", ".wv"}) {
    rows ? plan.Rows(of + name, kFeatures, kFeatures) : plan.Columns(of + name, kWhole, kFeatures);
  }
  const Sharding out = s.ShardingOf(Operator::kAttnOut);
  if (out == Sharding::kHeads) {
    plan.Rows(of + ".wo", kFeatures, plan.residual());
  } else if (out == Sharding::kHidden) {
    plan.Columns(of + ".wo", kFeatures, plan.residual());
  } else {
    plan.Around(of + ".wo", kFeatures, Unsplit(plan, out), plan.residual());
  }
}

void AddFfn(PlanWriter& plan, const ModelSpec& model, const Strategy& s) {
  const std::string of = "layers.*.feed_forward";
  plan.Norm("layers.*.ffn_norm");
  const Sharding up = s.ShardingOf(Operator::kFfnUp), down = s.ShardingOf(Operator::kFfnDown);
  const bool split = up == Sharding::kFfn || up == Sharding::kHidden;
  const std::string wanted = up == Sharding::kHidden ? kFeatures : Unsplit(plan, up);
  plan.Before(of, plan.residual(), wanted);
  for (const char* name : {".w1", ".w3"}) {
    if (name == std::string(".w3") && !model.gated_ffn) continue;
    if (up == Sharding::kFfn) plan.Columns(of + name, kWhole, kFeatures);
    if (up == Sharding::kHidden) plan.Rows(of + name, kFeatures, kFeatures);
  }
  const std::string left = split ? kFeatures : wanted;
  if (down == Sharding::kFfn) {
    plan.Rows(of + ".w2", left, plan.residual());
  } else if (down == Sharding::kHidden) {
    plan.Columns(of + ".w2", left, plan.residual());
  } else {
    plan.Around(of + ".w2", left, Unsplit(plan, down), plan.residual());
  }
}

void AddEnds(PlanWriter& plan, const Strategy& s) {
  switch (s.ShardingOf(Operator::kEmbedding)) {
    case Sharding::kVocab:
      plan.Rows("tok_embeddings", kWhole, plan.residual());
      break;
    case Sharding::kHidden:
      plan.Columns("tok_embeddings", kWhole, plan.residual());
      break;
    default:
      plan.Around("tok_embeddings", kWhole, kWhole, plan.residual());
  }
  plan.Norm("norm");
  switch (s.ShardingOf(Operator::kLmHead)) {
    case Sharding::kVocab:
      plan.Columns("output", plan.residual(), kWhole);
      break;
    case Sharding::kHidden:
      plan.Rows("output", plan.residual(), kWhole);
      break;
    default:
      plan.Before("output", plan.residual(), kWhole);
  }
}

std::string CallOf(const ModuleStyle& m) {
  // Attention is called with more than its input.
  const bool attention = m.module == "layers.*.attention";
  const auto tuple = [&](const std::string& placement) {
    return "(" + placement + ",)" + (attention ? " + OTHERS" : "");
  };
  if (m.style == "SequenceParallel") {
    return "SequenceParallel(sequence_dim=" + m.input.substr(6, 1) + ")";
  }
  if (m.style == "PrepareModuleInput") {
    return "PrepareModuleInput(input_layouts=" + tuple(m.input) + ", desired_input_layouts=" + tuple(m.wanted) + ")";
  }
  if (m.style == "PrepareModuleOutput") {
    return "PrepareModuleOutput(output_layouts=" + m.given + ", desired_output_layouts=" + m.output + ")";
  }
  if (m.style == "PrepareModuleInputOutput") {
    return "PrepareModuleInputOutput(input_layouts=" + tuple(m.input) + ", desired_input_layouts=" + tuple(m.wanted) +
           ", output_layouts=" + m.given + ", desired_output_layouts=" + m.output + ")";
  }
  return m.style + "(input_layouts=" + m.input + ", output_layouts=" + m.output + ")";
}

std::string ScriptOf(const Plan& plan, const Problem& problem, const Strategy& s, const DtensorArguments& a) {
  std::ostringstream out;
  out << Preamble(Framework::kDtensor, plan, problem, s)
      << "from torch.distributed.device_mesh import init_device_mesh\n"
         "from torch.distributed.tensor import Replicate, Shard\n"
         "from torch.distributed.tensor.parallel import (ColwiseParallel, PrepareModuleInput, "
         "PrepareModuleInputOutput,\n"
         "                                               PrepareModuleOutput, RowwiseParallel, SequenceParallel,\n"
         "                                               parallelize_module)\n\n"
         "OTHERS = (None,)  # The arguments of attention's forward beside its input: here freqs_cis.\n\n"
         "PLAN = {\n";
  for (const ModuleStyle& m : a.plan) out << "    \"" << m.module << "\": " << CallOf(m) << ",\n";
  out << "}\n\n\ndef parallelize(model):\n    mesh = init_device_mesh(\"cuda\", (" << a.tp_size
      << ",), mesh_dim_names=(\"tp\",))\n"
         "    return parallelize_module(model, mesh[\"tp\"], PLAN)\n";
  return out.str();
}

std::string JsonOf(const DtensorArguments& a) {
  nlohmann::ordered_json json;
  json["mesh"] = {{"tp", a.tp_size}};
  json["plan"] = nlohmann::ordered_json::array();
  for (const ModuleStyle& m : a.plan) {
    nlohmann::ordered_json entry = {{"module", m.module}, {"style", m.style}, {"input", m.input}};
    if (!m.wanted.empty()) entry["wanted"] = m.wanted;
    if (!m.given.empty()) entry["given"] = m.given;
    entry["output"] = m.output;
    json["plan"].push_back(std::move(entry));
  }
  return json.dump(2) + "\n";
}

}  // namespace

DtensorArguments DtensorArgumentsOf(const Problem& problem, const Strategy& s) {
  DtensorArguments a;
  a.tp_size = s.tensor_parallel_size;
  if (a.tp_size == 1) return a;
  const bool decode = problem.workload().kind == WorkloadKind::kDecode;
  PlanWriter plan(a, decode ? "Shard(0)" : "Shard(1)", s.residual_layout == Layout::kTokenSharded);
  AddAttention(plan, s);
  AddFfn(plan, problem.model(), s);
  AddEnds(plan, s);
  return a;
}

ExportResult DtensorExporter::Export(const Plan& plan, const Reevaluate& reevaluate) const {
  const Problem problem = UnpinnedProblem(plan, Framework::kDtensor);
  const Lowered lowered = Lower(Framework::kDtensor, problem, plan.pools.front().strategy, reevaluate);
  const DtensorArguments a = DtensorArgumentsOf(problem, lowered.strategy);
  ThrowIfBroken(Framework::kDtensor, CheckRules(frameworks::DtensorRules(), a, problem.model()));

  ExportResult result = ResultOf(Framework::kDtensor, problem, lowered);
  result.files.push_back({"dtensor_plan.json", JsonOf(a)});
  result.files.push_back({"dtensor_plan.py", ScriptOf(plan, problem, lowered.strategy, a)});
  const Torchrun launch = TorchrunOf(a.tp_size, problem.cluster().devices_per_node);
  result.command = launch.command + " serve.py";
  if (!launch.note.empty()) result.notes.push_back(launch.note);
  result.notes.emplace_back(
      "serve.py is your own: it calls dtensor_plan.parallelize(model); modules are named as in PyTorch's tutorial on "
      "tensor parallelism (tok_embeddings, layers.*.attention.wq, layers.*.feed_forward.w1, norm, output)");
  return result;
}

}  // namespace shardscout::exporters
