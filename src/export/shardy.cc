#include "src/export/shardy.h"

#include <sstream>
#include <string>
#include <vector>

#include "src/export/lowering.h"

namespace shardscout::exporters {

using frameworks::MeshAxis;
using frameworks::ShardyArguments;
using frameworks::StageMesh;
using frameworks::TensorSharding;

namespace {

/// "\"a1\", \"a0\""
std::string Quoted(const std::vector<std::string>& axes) {
  std::string text;
  for (const std::string& axis : axes) text += (text.empty() ? "\"" : ", \"") + axis + "\"";
  return text;
}

std::string MlirOf(const TensorSharding& t) {
  std::ostringstream out;
  out << "tensor<";
  for (const std::int64_t dim : t.dims) out << (dim == 0 ? "?" : std::to_string(dim)) << "x";
  out << t.element << "> {sdy.sharding = #sdy.sharding<@mesh, [";
  for (std::size_t i = 0; i < t.axes.size(); ++i) out << (i == 0 ? "{" : ", {") << Quoted(t.axes[i]) << "}";
  out << "]>}";
  return out.str();
}

/// As a Python tuple's element: one axis by itself, several as a tuple.
std::string SpecOf(const TensorSharding& t) {
  std::string text = "P(";
  for (std::size_t i = 0; i < t.axes.size(); ++i) {
    if (i > 0) text += ", ";
    const std::vector<std::string>& axes = t.axes[i];
    text += axes.empty() ? "None" : axes.size() == 1 ? Quoted(axes) : "(" + Quoted(axes) + ")";
  }
  return text + ")";
}

bool IsActivation(const TensorSharding& t) { return t.name.starts_with("prefill.") || t.name.starts_with("decode."); }

/// "tp = a0, cp = 1, ..."
std::string GroupsText(const StageMesh& mesh) {
  using Group = StageMesh::Group;
  std::string text;
  for (const auto& [group, name] :
       {std::pair(Group::kTp, "tp"), std::pair(Group::kCp, "cp"), std::pair(Group::kDp, "dp"),
        std::pair(Group::kEtp, "etp"), std::pair(Group::kEp, "ep"), std::pair(Group::kEdp, "edp"),
        std::pair(Group::kKvHeads, "KV heads")}) {
    std::string axes;
    for (const std::string& axis : mesh.AxesOf(group)) axes += (axes.empty() ? "" : "*") + axis;
    text += (text.empty() ? "" : ", ") + std::string(name) + " = " + (axes.empty() ? "1" : axes);
  }
  return text;
}

/// The preamble in another language's comments.
std::string Commented(const std::string& preamble, const std::string& mark) {
  std::string text;
  std::istringstream lines(preamble);
  for (std::string line; std::getline(lines, line);) text += mark + line.substr(1) + "\n";
  return text;
}

std::string ModuleOf(const std::string& head, const ShardyArguments& a) {
  std::ostringstream out;
  out << head << "sdy.mesh @mesh = <[";
  for (std::size_t i = 0; i < a.mesh.size(); ++i) {
    out << (i == 0 ? "\"" : ", \"") << a.mesh[i].name << "\"=" << a.mesh[i].size;
  }
  out << "]>\n";
  for (const bool activations : {false, true}) {
    out << "func.func private @" << (activations ? "activations" : "weights") << "(";
    bool first = true;
    for (const TensorSharding& t : a.tensors) {
      if (IsActivation(t) != activations) continue;
      out << (first ? "\n" : ",\n") << "  // " << t.name << "\n  " << MlirOf(t);
      first = false;
    }
    out << ")\n";
  }
  return out.str();
}

std::string ScriptOf(const std::string& head, const ShardyArguments& a) {
  std::ostringstream out;
  std::int64_t devices = 1;
  out << head << "import jax\nimport numpy as np\nfrom jax.sharding import Mesh, NamedSharding\n"
      << "from jax.sharding import PartitionSpec as P\n\n"
      << "# Outermost first: neighbours on the last axis are neighbouring devices.\nAXES = {";
  for (std::size_t i = 0; i < a.mesh.size(); ++i) {
    out << (i == 0 ? "\"" : ", \"") << a.mesh[i].name << "\": " << a.mesh[i].size;
    devices *= a.mesh[i].size;
  }
  out << "}\n";
  for (const bool activations : {false, true}) {
    out << "\n" << (activations ? "ACTIVATIONS" : "WEIGHTS") << " = {\n";
    for (const TensorSharding& t : a.tensors) {
      if (IsActivation(t) == activations) out << "    \"" << t.name << "\": " << SpecOf(t) << ",\n";
    }
    out << "}\n";
  }
  out << "\n\ndef mesh(devices=None):\n    devices = jax.devices() if devices is None else devices\n"
      << "    return Mesh(np.array(devices[:" << devices << "]).reshape(tuple(AXES.values())), tuple(AXES))\n"
      << "\n\ndef sharding(mesh, name):\n    return NamedSharding(mesh, (WEIGHTS | ACTIVATIONS)[name])\n";
  return out.str();
}

std::vector<std::string> NotesOf(const Problem& problem, const Strategy& s) {
  std::vector<std::string> notes = {
      "weights are those of one layer; jax.lax.with_sharding_constraint(x, sharding(mesh, name)) holds an activation "
      "to "
      "its layout, and XLA chooses the collective in between"};
  if (s.context_parallel_size > 1 && problem.workload().HasPhase(Phase::kPrefill)) {
    notes.emplace_back(
        "shardings are blocks: feed positions in zigzag order (rank i has chunks i and 2 cp - 1 - i), or "
        "causal attention is not balanced over cp as it is priced");
  }
  if (s.ShardingOf(Operator::kAttention) == Sharding::kSequence) {
    notes.emplace_back(
        "shardings are blocks: write new positions into the cache in turn over its ranks, or they fill "
        "one after another");
  }
  return notes;
}

}  // namespace

ExportResult ShardyExporter::Export(const Plan& plan, const Reevaluate& reevaluate) const {
  const Problem problem = UnpinnedProblem(plan, Framework::kShardy);
  const Lowered lowered = Lower(Framework::kShardy, problem, plan.pools.front().strategy, reevaluate);
  const Strategy& s = lowered.strategy;
  const ShardyArguments a = ShardyArgumentsOf(problem, s);
  ThrowIfBroken(Framework::kShardy, CheckRules(frameworks::ShardyRules(), a, problem.model()));

  ExportResult result = ResultOf(Framework::kShardy, problem, lowered);
  const std::string head = Preamble(Framework::kShardy, plan, problem, s) +
                           "# Mesh: " + GroupsText(*StageMesh::Of(s, problem.model())) +
                           ".\n# Experts are reached by " + std::string(ToString(s.expert_exchange)) + ".\n";
  result.files.push_back({"shardings.mlir", ModuleOf(Commented(head, "//"), a)});
  result.files.push_back({"jax_shardings.py", ScriptOf(head, a)});
  for (std::string& note : NotesOf(problem, s)) result.notes.push_back(std::move(note));
  return result;
}

}  // namespace shardscout::exporters
