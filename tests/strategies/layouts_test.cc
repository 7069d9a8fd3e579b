#include "strategies/layouts.h"

#include <gtest/gtest.h>

#include <vector>

namespace shardscout::strategies {
namespace {

using Ranks = std::vector<std::int64_t>;

/// The worked example of program.h: tp 2, cp 2, dp 2; etp 2, ep 2.
Strategy Example() {
  Strategy s;
  s.tensor_parallel_size = 2;
  s.context_parallel_size = 2;
  s.data_parallel_size = 2;
  s.expert_tensor_parallel_size = 2;
  s.expert_parallel_size = 2;
  s.batch_size = 4;
  return s;
}

ModelSpec Model() {
  ModelSpec m;
  m.num_layers = 1;
  m.hidden_size = 8;
  m.vocab_size = 8;
  m.attention.num_heads = 4;
  m.attention.num_kv_heads = 1;
  m.attention.head_dim = 2;
  m.ffn_size = 16;
  m.layers = {LayerKind::kDense};
  return m;
}

Pass DecodePass() { return {.position = 9, .requests = {{0, 1, 2, 3}, {4, 5, 6, 7}}}; }

Pass PrefillPass(bool by_request) {
  return {.phase = Phase::kPrefill,
          .token_shard_by_request = by_request,
          .input_tokens = 7,
          .padded_input = 8,
          .requests = {{0, 1}, {2, 3}}};
}

/// Requests (decode) or positions of request 0 (prefill) of a rank under a split.
Ranks Held(Layouts& layouts, TokenSplit split, std::int64_t rank) {
  Ranks out;
  for (Tag row : *layouts.LocalTokens({.tokens = split}, rank)) {
    if (layouts.pass().phase == Phase::kDecode) {
      out.push_back(RequestOf(row));
    } else if (RequestOf(row) == 0) {
      out.push_back(PositionOf(row));
    }
  }
  return out;
}

TEST(LayoutsTest, GroupsOfTheWorkedExample) {
  const ModelSpec model = Model();
  const Strategy s = Example();
  const Layouts layouts(model, s, DecodePass());
  EXPECT_EQ(layouts.Members({2, 1}, 5), (Ranks{4, 5}));
  EXPECT_EQ(layouts.Members({2, 2}, 3), (Ranks{1, 3}));
  EXPECT_EQ(layouts.Members({2, 2}, 4), (Ranks{4, 6}));
  EXPECT_EQ(layouts.Members({4, 2}, 3), (Ranks{1, 3, 5, 7}));
  EXPECT_EQ(layouts.Summands(kPartialExpert, 5), (std::uint64_t{1} << 5) | (std::uint64_t{1} << 7));
  EXPECT_EQ(layouts.Summands(kPartialExpert | kPartialExpertTensor, 5), std::uint64_t{0xf0});
  EXPECT_EQ(layouts.Summands(kPartialTensor | kPartialContextData, 5), std::uint64_t{0xff});
}

TEST(LayoutsTest, DecodeTokensRunTensorOuterContextInner) {
  const ModelSpec model = Model();
  const Strategy s = Example();
  Layouts layouts(model, s, DecodePass());
  // Requests 0..3 of dp rank 0 are slots (t, c) = (0, 0), (0, 1), (1, 0), (1, 1); rank = t + 2 c.
  EXPECT_EQ(Held(layouts, TokenSplit::kTensor, 0), (Ranks{0}));
  EXPECT_EQ(Held(layouts, TokenSplit::kTensor, 1), (Ranks{2}));
  EXPECT_EQ(Held(layouts, TokenSplit::kTensor, 2), (Ranks{1}));
  EXPECT_EQ(Held(layouts, TokenSplit::kCell, 2), (Ranks{1, 3}));
  EXPECT_EQ(Held(layouts, TokenSplit::kContext, 2), (Ranks{0, 1, 2, 3}));
  EXPECT_EQ(Held(layouts, TokenSplit::kContextTensor, 2), (Ranks{0, 1}));
  EXPECT_EQ(Held(layouts, TokenSplit::kStageTensor, 1), (Ranks{2, 3, 6, 7}));
  EXPECT_EQ(Held(layouts, TokenSplit::kExpertTensor, 6), (Ranks{5, 7}));
  EXPECT_EQ(Held(layouts, TokenSplit::kBlock, 6), (Ranks{4, 5, 6, 7}));
}

TEST(LayoutsTest, PrefillPositionsAreZigzagAndCutByPositionOrRequest) {
  const ModelSpec model = Model();
  const Strategy s = Example();
  Layouts by_position(model, s, PrefillPass(false));
  EXPECT_EQ(Held(by_position, TokenSplit::kCell, 0), (Ranks{0, 1, 6, 7}));
  EXPECT_EQ(Held(by_position, TokenSplit::kCell, 2), (Ranks{2, 3, 4, 5}));
  EXPECT_EQ(Held(by_position, TokenSplit::kTensor, 1), (Ranks{6, 7}));
  EXPECT_EQ(Held(by_position, TokenSplit::kTensor, 3), (Ranks{4, 5}));
  Layouts by_request(model, s, PrefillPass(true));
  EXPECT_EQ(Held(by_request, TokenSplit::kTensor, 0), (Ranks{0, 1, 6, 7}));
  EXPECT_EQ(Held(by_request, TokenSplit::kTensor, 1), (Ranks{}));  // Holds request 1.
}

TEST(LayoutsTest, ColumnsOfKvHeadsAreReplicatedAndOfTheStageTensorOuter) {
  const ModelSpec model = Model();
  const Strategy s = Example();
  Layouts layouts(model, s, DecodePass());
  // q heads 2, 3 on rank 1, and the only KV head.
  EXPECT_EQ(*layouts.LocalColumns({.kind = TensorKind::kQkv, .features = FeatureSplit::kTensor}, 1),
            (Tags{4, 5, 6, 7, 8, 9, 10, 11}));
  // Rank 5 = (t 1, c 0, d 1): slice 1 * 4 + 2 of 8, of the gate's and the up projection's 16 columns.
  EXPECT_EQ(
      *layouts.LocalColumns({.kind = TensorKind::kGate, .ffn = FfnKind::kDense, .features = FeatureSplit::kStage}, 5),
      (Tags{12, 13, 28, 29}));
}

TEST(LayoutsTest, CacheOwnersOfAPosition) {
  const ModelSpec model = Model();
  const Strategy s = Example();
  const Layouts layouts(model, s, DecodePass());
  const CachePlan sequence{.positions_over_tp = true};
  // position mod (cp * tp) = c * tp + t: position 6 belongs to (t 0, c 1), rank 2.
  for (std::int64_t rank = 0; rank < 4; ++rank) EXPECT_EQ(layouts.OwnsPosition(sequence, rank, 6), rank == 2);
  EXPECT_TRUE(layouts.OwnsPosition({}, 0, 6));
  EXPECT_FALSE(layouts.OwnsPosition({}, 2, 6));
  EXPECT_TRUE(layouts.OwnsRequest({.requests_over_tp = true}, 1, 2));
  EXPECT_FALSE(layouts.OwnsRequest({.requests_over_tp = true}, 1, 1));
}

}  // namespace
}  // namespace shardscout::strategies
