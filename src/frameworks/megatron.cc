#include "src/frameworks/megatron.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace shardscout::frameworks {
namespace {

constexpr std::size_t kMostStages = 65536;

std::string Text(std::int64_t value) { return std::to_string(value); }

std::string WorldDivides(const MegatronArguments& a, const ModelSpec&) {
  if (a.world_size % a.ModelRanks() == 0) return "";
  return "world size " + Text(a.world_size) + " is not divisible by tp * pp * cp, " + Text(a.ModelRanks());
}

std::string ExpertGridDivides(const MegatronArguments& a, const ModelSpec& model) {
  if (!model.HasMoe()) return "";
  const std::int64_t grid = a.ExpertTensorSize() * a.expert_model_parallel_size * a.pipeline_model_parallel_size;
  if (a.world_size % grid == 0) return "";
  return "world size " + Text(a.world_size) + " is not divisible by etp * ep * pp, " + Text(grid);
}

std::string HeadsSplit(const MegatronArguments& a, const ModelSpec& model) {
  const std::int64_t tp = a.tensor_model_parallel_size;
  const std::string heads = HeadsDivide(model.attention.num_heads, tp, "num-attention-heads", "tp");
  return heads.empty() ? KvHeadsDivide(model, tp, "tp") : heads;
}

std::string ExpertsDivide(const MegatronArguments& a, const ModelSpec& model) {
  if (!model.HasMoe()) {
    return a.expert_model_parallel_size == 1 ? "" : "expert-model-parallel-size in a model without experts";
  }
  if (model.moe.num_experts % a.expert_model_parallel_size == 0) return "";
  return Text(model.moe.num_experts) + " experts must be divisible by expert-model-parallel-size " +
         Text(a.expert_model_parallel_size);
}

std::string SequenceDivides(const MegatronArguments& a, const ModelSpec&) {
  if (a.seq_length == 0) return "";
  const std::int64_t parts = a.context_parallel_size > 1 ? 2 * a.context_parallel_size : 1;
  if (a.seq_length % parts != 0) return "seq-length " + Text(a.seq_length) + " must be divisible by 2 * cp";
  if (!a.sequence_parallel || a.seq_length % a.tensor_model_parallel_size == 0) return "";
  return "seq-length " + Text(a.seq_length) + " must be divisible by tp with sequence parallelism";
}

std::string SequenceParallelNeedsTensor(const MegatronArguments& a, const ModelSpec&) {
  return a.sequence_parallel && a.tensor_model_parallel_size == 1 ? "sequence-parallel needs tp above 1" : "";
}

std::string ExpertsNeedSequenceParallel(const MegatronArguments& a, const ModelSpec& model) {
  if (!model.HasMoe() || a.tensor_model_parallel_size == 1 || a.sequence_parallel) return "";
  return "experts with tp above 1 need sequence-parallel";
}

/// What is wrong with the order of E, t, m and L over the stages.
std::string WrongOrder(const std::string& all) {
  if (all.empty() || all.front() != 'E' || std::count(all.begin(), all.end(), 'E') != 1)
    return "E must come first, once";
  if (all.back() != 'L' || std::count(all.begin(), all.end(), 'L') != 1) return "L must come last, once";
  const std::size_t first_m = all.find('m');
  if (first_m != std::string::npos && all.find('t', first_m) != std::string::npos) return "m must come after all t";
  return "";
}

std::string LayoutFits(const MegatronArguments& a, const ModelSpec& model) {
  const std::int64_t pp = a.pipeline_model_parallel_size;
  if (a.pipeline_layout.empty()) {
    if (model.num_layers % pp == 0) return "";
    return Text(model.num_layers) + " layers do not divide over " + Text(pp) +
           " stages; give pipeline-model-parallel-layout";
  }
  const auto stages = ExpandLayout(a.pipeline_layout);
  if (!stages) return "\"" + a.pipeline_layout + "\" is no layout of E, t, m, L and |";
  if (stages->size() % static_cast<std::size_t>(pp) != 0) {
    return "the layout has " + std::to_string(stages->size()) + " stages, must be a multiple of pp " + Text(pp);
  }
  std::string all;
  for (const std::string& stage : *stages) all += stage;
  if (const std::string wrong = WrongOrder(all); !wrong.empty()) return "layout: " + wrong;
  const auto layers = std::count(all.begin(), all.end(), 't');
  if (layers == model.num_layers) return "";
  return "the layout has " + std::to_string(layers) + " layers, the model " + Text(model.num_layers);
}

std::string BatchDivides(const MegatronArguments& a, const ModelSpec&) {
  const std::int64_t pass = a.micro_batch_size * std::max<std::int64_t>(1, a.DataParallelSize());
  if (a.global_batch_size == 0 || a.global_batch_size % pass == 0) return "";
  return "global-batch-size " + Text(a.global_batch_size) + " must be divisible by micro-batch-size * dp, " +
         Text(pass);
}

std::string VirtualStagesDivide(const MegatronArguments& a, const ModelSpec& model) {
  if (a.virtual_stages == 1) return "";
  const std::int64_t pp = a.pipeline_model_parallel_size;
  if (pp == 1) return "virtual stages need pipeline-model-parallel-size above 1";
  if (!a.pipeline_layout.empty()) return "num-virtual-stages-per-pipeline-rank beside a layout, which says it itself";
  if (model.num_layers % (pp * a.virtual_stages) == 0) return "";
  return Text(model.num_layers) + " layers do not divide over " + Text(pp * a.virtual_stages) + " virtual stages";
}

std::string VirtualStagesFill(const MegatronArguments& a, const ModelSpec&) {
  std::int64_t virtual_stages = a.virtual_stages;
  if (const auto stages = ExpandLayout(a.pipeline_layout); !a.pipeline_layout.empty() && stages) {
    virtual_stages = static_cast<std::int64_t>(stages->size()) / a.pipeline_model_parallel_size;
  }
  if (virtual_stages == 1 || a.global_batch_size == 0) return "";
  const std::int64_t pass = a.micro_batch_size * std::max<std::int64_t>(1, a.DataParallelSize());
  if (a.global_batch_size / pass % a.pipeline_model_parallel_size == 0) return "";
  return Text(a.global_batch_size / pass) + " micro-batches must be divisible by pp with virtual stages";
}

std::string KnownRecomputation(const MegatronArguments& a, const ModelSpec&) {
  const std::string& granularity = a.recompute_granularity;
  if (granularity.empty() || granularity == "full" || granularity == "selective") return "";
  return "unknown recompute-granularity \"" + granularity + "\"";
}

std::string RecomputesLayers(const MegatronArguments& a, const ModelSpec& model) {
  if (a.recompute_layers == 0) return "";
  if (a.recompute_granularity != "full") return "recompute-num-layers needs recompute-granularity full";
  if (a.recompute_layers <= model.num_layers) return "";
  return "recompute-num-layers " + Text(a.recompute_layers) + " is more than the model's " + Text(model.num_layers);
}

std::string KnownDispatcher(const MegatronArguments& a, const ModelSpec&) {
  for (const std::string_view known : {"allgather", "alltoall", "flex"}) {
    if (a.moe_token_dispatcher_type == known) return "";
  }
  return "unknown moe-token-dispatcher-type \"" + a.moe_token_dispatcher_type + "\"";
}

constexpr const char* kValidate = "megatron/training/arguments.py validate_args";
constexpr const char* kState = "megatron/core/parallel_state.py";
constexpr const char* kConfig = "megatron/core/transformer/transformer_config.py __post_init__";

constexpr std::array<MegatronRule, 14> kRules = {{
    {"megatron.world_divides", "world % (tp * pp * cp) == 0", kValidate, WorldDivides},
    {"megatron.expert_grid", "world % (etp * ep * pp) == 0", kState, ExpertGridDivides},
    {"megatron.heads_divide", "heads % tp == 0; query groups and tp divide one another", kConfig, HeadsSplit},
    {"megatron.experts_divide", "experts % ep == 0", kConfig, ExpertsDivide},
    {"megatron.sequence_divides", "seq % (2 * cp) == 0 with cp > 1; seq % tp == 0 with sequence parallelism", kValidate,
     SequenceDivides},
    {"megatron.sp_needs_tp", "sequence-parallel with tp > 1", kValidate, SequenceParallelNeedsTensor},
    {"megatron.moe_needs_sp", "experts with tp > 1 need sequence-parallel", kValidate, ExpertsNeedSequenceParallel},
    {"megatron.layout", "layers % pp == 0, or a layout: E first, L last, t as many as layers, stages % pp == 0",
     "megatron/core/transformer/pipeline_parallel_layer_layout.py", LayoutFits},
    {"megatron.batch_divides", "global-batch-size % (micro-batch-size * dp) == 0", kValidate, BatchDivides},
    {"megatron.virtual_stages", "layers % (pp * virtual stages) == 0, pp > 1, no layout beside", kValidate,
     VirtualStagesDivide},
    {"megatron.virtual_batches", "micro-batches % pp == 0 with virtual stages",
     "megatron/core/pipeline_parallel/schedules.py", VirtualStagesFill},
    {"megatron.recompute", "recompute-granularity is full or selective", kConfig, KnownRecomputation},
    {"megatron.recompute_layers", "recompute-num-layers: granularity full, at most the model's layers", kConfig,
     RecomputesLayers},
    {"megatron.dispatcher", "moe-token-dispatcher-type is allgather, alltoall or flex", kConfig, KnownDispatcher},
}};

/// Reads "*12" at `at`; 1 where there is none.
std::optional<std::size_t> TakeCount(std::string_view text, std::size_t& at) {
  if (at >= text.size() || text[at] != '*') return 1;
  std::size_t count = 0;
  const char* const end = text.data() + text.size();
  const auto [next, error] = std::from_chars(text.data() + at + 1, end, count);
  if (error != std::errc() || count == 0 || count > kMostStages) return std::nullopt;
  at = static_cast<std::size_t>(next - text.data());
  return count;
}

/// The layout without parentheses and counts.
std::optional<std::string> Unrolled(std::string_view layout) {
  std::string flat;
  std::size_t at = 0;
  while (at < layout.size()) {
    std::string part(1, layout[at]);
    if (layout[at] == '(') {
      const std::size_t end = layout.find(')', at);
      if (end == std::string_view::npos) return std::nullopt;
      const std::optional<std::string> inner = Unrolled(layout.substr(at + 1, end - at - 1));
      if (!inner) return std::nullopt;
      part = *inner;
      at = end;
    } else if (std::string_view("EtmL|,").find(layout[at]) == std::string_view::npos) {
      return std::nullopt;
    }
    ++at;
    const std::optional<std::size_t> count = TakeCount(layout, at);
    if (!count || flat.size() + *count * part.size() > kMostStages) return std::nullopt;
    for (std::size_t i = 0; i < *count; ++i) flat += part;
  }
  return flat;
}

}  // namespace

std::span<const MegatronRule> MegatronRules() { return kRules; }

std::optional<std::vector<std::string>> ExpandLayout(std::string_view layout) {
  const std::optional<std::string> flat = Unrolled(layout);
  if (!flat) return std::nullopt;
  std::vector<std::string> stages(1);
  for (const char c : *flat) {
    if (c == '|') {
      stages.emplace_back();
    } else if (c != ',') {
      stages.back() += c;
    }
  }
  return stages;
}

std::string LayoutOf(const std::vector<std::int64_t>& layers) {
  std::string layout = "E";
  for (std::size_t i = 0; i < layers.size(); ++i) {
    layout += (i == 0 ? "t*" : "|t*") + Text(layers[i]);
  }
  return layout + "L";
}

}  // namespace shardscout::frameworks
