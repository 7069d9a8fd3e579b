#include "shardscout/strategy.h"

#include <iterator>

#include "shardscout/error.h"

namespace shardscout {
namespace {

class Fnv1a {
 public:
  template <class T>
  void Add(T value, int bytes) {
    const auto bits = static_cast<std::uint64_t>(value);
    for (int i = 0; i < bytes; ++i) hash_ = (hash_ ^ ((bits >> (8 * i)) & 0xFFu)) * 0x100000001B3u;
  }
  std::uint64_t hash() const { return hash_; }

 private:
  std::uint64_t hash_ = 0xCBF29CE484222325u;
};

template <class Enum, std::size_t N>
std::string_view NameOf(const std::string_view (&names)[N], Enum value) {
  const auto index = static_cast<std::size_t>(value);
  SHARDSCOUT_CHECK_OP(index, <, N);
  return names[index];
}

constexpr std::string_view kLayouts[] = {"replicated", "token_sharded", "feature_sharded", "partial"};
constexpr std::string_view kDenseFfnGroups[] = {"tp", "stage"};
constexpr std::string_view kExpertExchanges[] = {"all_to_all", "gather_scatter", "gather_reduce"};
constexpr std::string_view kOverlaps[] = {"none", "two_batch", "chunked"};
constexpr std::string_view kOperators[] = {"embedding", "qkv",      "attention", "attn_out",    "router",
                                           "ffn_up",    "ffn_down", "expert_up", "expert_down", "lm_head",
                                           "dispatch",  "combine",  "residual",  "pipeline"};
constexpr std::string_view kShardings[] = {"none", "token", "heads", "hidden", "sequence", "ffn", "vocab"};
constexpr std::string_view kRecomputations[] = {"none", "selective", "full"};
constexpr std::string_view kLayoutLetters = "RTFP";
static_assert(std::size(kOperators) == kNumOperators);

/// Strategies of inference hash and read as they did before there was training.
bool HasTrainingVariables(const Strategy& s) {
  return s.virtual_pipeline_parallel_size > 1 || s.zero_stage > 0 || s.recomputation != Recomputation::kNone ||
         s.head_layers > 0;
}

}  // namespace

std::uint64_t Hash(const Strategy& s) {
  Fnv1a fnv;
  for (const std::int64_t size :
       {s.pipeline_parallel_size, s.tensor_parallel_size, s.context_parallel_size, s.data_parallel_size,
        s.expert_parallel_size, s.expert_tensor_parallel_size, s.batch_size, s.num_microbatches}) {
    fnv.Add(size, 8);
  }
  fnv.Add(s.residual_layout, 1);
  fnv.Add(s.dense_ffn_group, 1);
  fnv.Add(s.expert_exchange, 1);
  fnv.Add(s.overlap, 1);
  for (const Sharding sharding : s.shardings) fnv.Add(sharding, 1);
  if (!HasTrainingVariables(s)) return fnv.hash();
  fnv.Add(s.virtual_pipeline_parallel_size, 8);
  fnv.Add(s.head_layers, 8);
  fnv.Add(s.zero_stage, 1);
  fnv.Add(s.recomputation, 1);
  fnv.Add(s.recomputed_layers, 8);
  return fnv.hash();
}

std::string_view ToString(Layout layout) { return NameOf(kLayouts, layout); }
std::string_view ToString(DenseFfnGroup group) { return NameOf(kDenseFfnGroups, group); }
std::string_view ToString(ExpertExchange exchange) { return NameOf(kExpertExchanges, exchange); }
std::string_view ToString(Overlap overlap) { return NameOf(kOverlaps, overlap); }
std::string_view ToString(Operator op) { return NameOf(kOperators, op); }
std::string_view ToString(Sharding sharding) { return NameOf(kShardings, sharding); }

std::string_view ToString(Recomputation recomputation) { return NameOf(kRecomputations, recomputation); }

std::string ToShortString(const Strategy& s) {
  std::string text;
  const auto size = [&text](std::string_view name, std::int64_t value) {
    text += name;
    text += std::to_string(value);
    text += ' ';
  };
  size("pp", s.pipeline_parallel_size);
  size("tp", s.tensor_parallel_size);
  size("cp", s.context_parallel_size);
  size("dp", s.data_parallel_size);
  size("ep", s.expert_parallel_size);
  size("etp", s.expert_tensor_parallel_size);
  size("b", s.batch_size);
  size("m", s.num_microbatches);
  text += kLayoutLetters[static_cast<std::size_t>(s.residual_layout)];
  text += ' ';
  text += ToString(s.dense_ffn_group);
  text += ' ';
  text += ToString(s.expert_exchange);
  if (s.overlap != Overlap::kNone) {
    text += ' ';
    text += ToString(s.overlap);
  }
  text += " |";
  for (const Sharding sharding : s.shardings) {
    text += ' ';
    text += ToString(sharding);
  }
  if (!HasTrainingVariables(s)) return text;
  text += " | ";
  size("v", s.virtual_pipeline_parallel_size);
  size("zero", s.zero_stage);
  text += ToString(s.recomputation);
  if (s.recomputed_layers > 0) text += " " + std::to_string(s.recomputed_layers);
  if (s.head_layers > 0) text += " head" + std::to_string(s.head_layers);
  return text;
}

}  // namespace shardscout
