#include "src/frameworks/dtensor.h"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

namespace shardscout::frameworks {
namespace {

constexpr std::string_view kFeatures = "Shard(-1)";

template <std::size_t N>
bool OneOf(const std::string& value, const std::string_view (&known)[N]) {
  return std::find(std::begin(known), std::end(known), value) != std::end(known);
}

std::string KnownStyles(const DtensorArguments& a, const ModelSpec&) {
  static constexpr std::string_view kStyles[] = {"ColwiseParallel",     "RowwiseParallel",
                                                 "SequenceParallel",    "PrepareModuleInput",
                                                 "PrepareModuleOutput", "PrepareModuleInputOutput"};
  for (const ModuleStyle& m : a.plan) {
    if (!OneOf(m.style, kStyles)) return m.module + ": unknown style \"" + m.style + "\"";
  }
  return "";
}

std::string KnownPlacements(const DtensorArguments& a, const ModelSpec&) {
  static constexpr std::string_view kPlacements[] = {"Replicate()", "Shard(0)", "Shard(1)", "Shard(-1)"};
  for (const ModuleStyle& m : a.plan) {
    for (const std::string* placement : {&m.input, &m.output, &m.wanted, &m.given}) {
      const bool may_lack = placement == &m.wanted || placement == &m.given;
      if (!(may_lack && placement->empty()) && !OneOf(*placement, kPlacements)) {
        return m.module + ": unknown placement \"" + *placement + "\"";
      }
    }
  }
  return "";
}

std::string NamedOnce(const DtensorArguments& a, const ModelSpec&) {
  std::set<std::string> seen;
  for (const ModuleStyle& m : a.plan) {
    if (!seen.insert(m.module).second) return m.module + " has two styles";
  }
  return "";
}

std::string LinearModules(const DtensorArguments& a, const ModelSpec& model) {
  if (a.tp_size == 1) return "";
  if (model.HasMoe()) return "routed experts are no nn.Linear";
  if (model.attention.kind == AttentionKind::kMultiLatent) return "multi-latent attention has no such modules";
  return model.HasLinearAttention() ? "linear attention has no such modules" : "";
}

std::string HeadsSplit(const DtensorArguments& a, const ModelSpec& model) {
  const ModuleStyle* key = a.Find("layers.*.attention.wk");
  if (key == nullptr || key->output != kFeatures) return "";
  const std::string heads = HeadsDivide(model.attention.num_heads, a.tp_size, "heads", "the mesh");
  return heads.empty() ? HeadsDivide(model.attention.num_kv_heads, a.tp_size, "KV heads", "the mesh") : heads;
}

std::string SizesDivide(const DtensorArguments& a, const ModelSpec& model) {
  for (const ModuleStyle& m : a.plan) {
    const bool columns = m.style == "ColwiseParallel";
    if (!columns && m.style != "RowwiseParallel") continue;
    const std::string name = m.module.substr(m.module.rfind('.') + 1);
    const std::int64_t width = name == "tok_embeddings"       ? model.hidden_size
                               : name == "output"             ? model.vocab_size
                               : name == "w1" || name == "w3" ? model.ffn_size
                                                              : model.attention.num_heads * model.attention.head_dim;
    const std::int64_t depth = name == "tok_embeddings" ? model.vocab_size
                               : name == "w2"           ? model.ffn_size
                               : name == "wo"           ? model.attention.num_heads * model.attention.head_dim
                                                        : model.hidden_size;
    // An embedding's rows are its vocabulary.
    const std::int64_t size = columns ? (name == "w2" || name == "wo" ? model.hidden_size : width) : depth;
    if (size % a.tp_size != 0) {
      return m.module + ": " + std::to_string(size) + " does not divide over " + std::to_string(a.tp_size) + " ranks";
    }
  }
  return "";
}

/// Prepare... modules take what reaches them; weights by columns want whole inputs, by rows split ones: style.py
/// redistributes from input_layouts. What a plan must not do is name a module whose split output nobody asks for.
std::string OutputsMeetInputs(const DtensorArguments& a, const ModelSpec&) {
  const auto follows = [&](const std::string& first, const std::string& second) -> std::string {
    const ModuleStyle* from = a.Find(first);
    const ModuleStyle* to = a.Find(second);
    if (from == nullptr || from->output != kFeatures) return "";
    if (to != nullptr && to->input == kFeatures) return "";
    return first + " leaves " + std::string(kFeatures) + ", which " + second + " does not take";
  };
  for (const auto& [first, second] : {std::pair("layers.*.attention.wv", "layers.*.attention.wo"),
                                      std::pair("layers.*.feed_forward.w3", "layers.*.feed_forward.w2")}) {
    if (std::string broken = follows(first, second); !broken.empty()) return broken;
  }
  return "";
}

std::string TiedAlike(const DtensorArguments& a, const ModelSpec& model) {
  if (!model.tie_word_embeddings || a.tp_size == 1) return "";
  const ModuleStyle* embedding = a.Find("tok_embeddings");
  const ModuleStyle* head = a.Find("output");
  const bool by_vocabulary = embedding != nullptr && embedding->style == "RowwiseParallel";
  const bool head_too = head != nullptr && head->style == "ColwiseParallel";
  const bool others = (embedding != nullptr && embedding->style == "ColwiseParallel") ||
                      (head != nullptr && head->style == "RowwiseParallel");
  return by_vocabulary == head_too && !others ? "" : "tok_embeddings and output are one parameter, and split otherwise";
}

constexpr const char* kApi = "torch/distributed/tensor/parallel/api.py";
constexpr const char* kStyle = "torch/distributed/tensor/parallel/style.py";

constexpr std::array<DtensorRule, 8> kRules = {{
    {"dtensor.style", "a ParallelStyle of torch.distributed.tensor.parallel", kStyle, KnownStyles},
    {"dtensor.placement", "Replicate() or Shard(dim)", "torch/distributed/tensor/placement_types.py", KnownPlacements},
    {"dtensor.once", "one style a module", kApi, NamedOnce},
    {"dtensor.linear", "Colwise- and RowwiseParallel take nn.Linear and nn.Embedding", kStyle, LinearModules},
    {"dtensor.heads_divide", "heads and KV heads divide by the mesh where they are split", kStyle, HeadsSplit},
    {"dtensor.sizes_divide", "what is split divides by the mesh", kStyle, SizesDivide},
    {"dtensor.flow", "a split output is taken as split", kStyle, OutputsMeetInputs},
    {"dtensor.tied", "tied embeddings are split alike", kApi, TiedAlike},
}};

}  // namespace

const ModuleStyle* DtensorArguments::Find(const std::string& module) const {
  const auto found = std::find_if(plan.begin(), plan.end(), [&](const ModuleStyle& m) { return m.module == module; });
  return found == plan.end() ? nullptr : &*found;
}

std::span<const DtensorRule> DtensorRules() { return kRules; }

}  // namespace shardscout::frameworks
