#include "strategies/sharding_templates.h"

#include <array>

namespace shardscout {
namespace {

constexpr int kNumSizes = static_cast<int>(Variable::kNumMicrobatches) + 1;

struct Layers {
  Layout residual{};
  DenseFfnGroup group{};
  ExpertExchange exchange{};
  std::array<Sharding, kNumShardedOperators> shardings{};  ///< embedding, qkv, attention, attn_out, router, ...
};

}  // namespace

std::vector<Strategy> ShardingTemplates() {
  using L = Layout;
  using G = DenseFfnGroup;
  using X = ExpertExchange;
  constexpr Sharding kNo = Sharding::kNone, kTok = Sharding::kToken, kHea = Sharding::kHeads, kHid = Sharding::kHidden,
                     kSeq = Sharding::kSequence, kFfn = Sharding::kFfn, kVoc = Sharding::kVocab;
  const Layers all[] = {
      {L::kReplicated, G::kTp, X::kGatherReduce, {kVoc, kHea, kHea, kHea, kNo, kFfn, kFfn, kFfn, kFfn, kVoc}},
      {L::kTokenSharded, G::kTp, X::kAllToAll, {kVoc, kHea, kHea, kHea, kTok, kFfn, kFfn, kFfn, kFfn, kVoc}},
      {L::kTokenSharded, G::kTp, X::kAllToAll, {kVoc, kTok, kTok, kTok, kTok, kTok, kTok, kFfn, kFfn, kVoc}},
      {L::kTokenSharded, G::kTp, X::kAllToAll, {kVoc, kTok, kTok, kTok, kTok, kFfn, kFfn, kFfn, kFfn, kVoc}},
      {L::kReplicated, G::kTp, X::kGatherReduce, {kVoc, kNo, kSeq, kHea, kNo, kFfn, kFfn, kFfn, kFfn, kVoc}},
      {L::kTokenSharded, G::kStage, X::kAllToAll, {kVoc, kHea, kHea, kHea, kTok, kFfn, kFfn, kFfn, kFfn, kVoc}},
      {L::kFeatureSharded, G::kTp, X::kAllToAll, {kHid, kHea, kHea, kHid, kTok, kFfn, kHid, kFfn, kHid, kVoc}},
  };
  std::vector<Strategy> templates;
  for (const Layers& layers : all) {
    Strategy s;
    s.residual_layout = layers.residual;
    s.dense_ffn_group = layers.group;
    s.expert_exchange = layers.exchange;
    s.shardings = layers.shardings;
    templates.push_back(s);
  }
  return templates;
}

Strategy WithLayers(const StrategySpace& space, const Strategy& sizes, const Strategy& layers) {
  Strategy wanted = sizes;
  for (int v = kNumSizes; v < kNumVariables; ++v) SetVariable(wanted, v, GetVariable(layers, v));
  return space.Repair(wanted);
}

}  // namespace shardscout
