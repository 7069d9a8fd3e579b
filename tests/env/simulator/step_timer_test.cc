#include "env/simulator/step_timer.h"

#include <gtest/gtest.h>

#include <vector>

#include "shardscout/preset_paths.h"
#include "shardscout/strategy_space.h"
#include "tests/baselines/random_problems.h"

namespace shardscout::env {
namespace {

WorkloadSpec Serve() {
  WorkloadSpec workload = testing::SmallWorkload(WorkloadKind::kServe, 64);
  workload.requests.emplace();
  return workload;
}

RankBatch Decodes(std::int64_t requests, std::int64_t positions) {
  return {.decodes = requests, .decode_positions = requests * positions, .chunks = {}};
}

RankBatch Prompt(std::int64_t tokens, std::int64_t before = 0, bool last = true) {
  return {.chunks = {{.tokens = tokens, .before = before, .last = last}}};
}

class StepTimerTest : public ::testing::Test {
 protected:
  StepTimerTest() : problem_(LoadModel("llama-3.1-8b"), LoadCluster("h100-sxm", 8), Serve()), variants_(problem_) {
    strategy_.batch_size = 64;
  }
  double Seconds(const std::vector<RankBatch>& ranks) { return ToSeconds(StepTimer(variants_, strategy_, {})(ranks)); }

  Problem problem_;
  LengthVariants variants_;
  Strategy strategy_;
};

TEST(RoundedCountTest, FiveDigits) {
  for (std::int64_t n = 0; n <= 32; ++n) EXPECT_EQ(RoundedCount(n), n);
  EXPECT_EQ(RoundedCount(33), 34);
  EXPECT_EQ(RoundedCount(63), 64);
  EXPECT_EQ(RoundedCount(1000), 992);
  EXPECT_EQ(RoundedCount(8192), 8192);
  std::int64_t last = 0;
  for (std::int64_t n = 1; n < 100000; n += 7) {
    EXPECT_LE(last, RoundedCount(n));
    last = RoundedCount(n);
    EXPECT_NEAR(static_cast<double>(last) / static_cast<double>(n), 1, 1.0 / 32);
  }
}

TEST_F(StepTimerTest, DecodesAreADecodePass) {
  for (const std::int64_t requests : {3, 16, 64}) {
    for (const std::int64_t positions : {28, 1024}) {
      strategy_.batch_size = requests;
      const Problem& alike = variants_.Decode(positions);
      EXPECT_EQ(alike.workload().DecodeContext() + 1, positions);
      const double pass_s = SimulatePasses(alike, strategy_, {}).decode_s;
      EXPECT_NEAR(Seconds({Decodes(requests, positions)}), pass_s, 1e-9 * pass_s);
    }
  }
}

/// A prompt alone is what the prefill pass takes, but for how its products are counted.
TEST_F(StepTimerTest, APromptIsAboutAPrefillPass) {
  for (const std::int64_t tokens : {512, 2048, 8192}) {
    strategy_.batch_size = 1;
    const double pass_s = SimulatePasses(variants_.Prefill(tokens), strategy_, {}).prefill_pass_s;
    EXPECT_NEAR(Seconds({Prompt(tokens)}), pass_s, 0.03 * pass_s) << tokens;
  }
}

/// In parts it takes as long as whole, and what a step costs by itself for each part.
TEST_F(StepTimerTest, PartsOfAPrompt) {
  const double whole_s = Seconds({Prompt(8192)});
  double parts_s = 0;
  for (std::int64_t before = 0; before < 8192; before += 2048) {
    parts_s += Seconds({Prompt(2048, before, before + 2048 == 8192)});
  }
  EXPECT_GT(parts_s, whole_s);
  EXPECT_LT(parts_s, 1.15 * whole_s);
  EXPECT_GT(Seconds({Prompt(2048, 6144)}), Seconds({Prompt(2048)})) << "attention to what came before";
}

TEST_F(StepTimerTest, DecodesBesideAPromptCostLessThanAStepOfTheirOwn) {
  RankBatch both = Decodes(32, 1024);
  both.chunks = Prompt(2048).chunks;
  const double both_s = Seconds({both});
  EXPECT_LT(both_s, Seconds({Decodes(32, 1024)}) + Seconds({Prompt(2048)}));
  EXPECT_GT(both_s, Seconds({Prompt(2048)}));
}

TEST_F(StepTimerTest, OnlyTokensThatGiveOneReachTheHead) {
  RankBatch many;
  for (int i = 0; i < 16; ++i) many.chunks.push_back({.tokens = 128, .before = 0, .last = true});
  RankBatch none = many;
  for (PrefillChunk& chunk : none.chunks) chunk.last = false;
  EXPECT_GE(Seconds({many}), Seconds({none}));
  // The head of all 2,048 tokens would take about 4 ms.
  EXPECT_LT(Seconds({many}) - Seconds({none}), 0.5e-3);
}

/// Nor where the head's product is cut, to be summed in the meantime.
TEST_F(StepTimerTest, ACutHeadIsOfTheTokensThatGiveOne) {
  strategy_.tensor_parallel_size = 8;
  strategy_.residual_layout = Layout::kFeatureSharded;
  strategy_.SetSharding(Operator::kLmHead, Sharding::kHidden);
  const double whole_s = Seconds({Prompt(8192)});
  strategy_.overlap = Overlap::kChunked;
  EXPECT_LE(Seconds({Prompt(8192)}), whole_s * (1 + 1e-9)) << "cut only where it gains";
}

/// Steps of as many tokens, of which different numbers reach the head, one after the other.
TEST_F(StepTimerTest, AStepIsTheSameWhateverCameBefore) {
  StepTimer timer(variants_, strategy_, {});
  const double decode_s = Seconds({Decodes(32, 64)}), prompt_s = Seconds({Prompt(32, 0, false)});
  EXPECT_GT(decode_s, prompt_s);
  EXPECT_EQ(ToSeconds(timer(std::vector{Prompt(32, 0, false)})), prompt_s);
  EXPECT_EQ(ToSeconds(timer(std::vector{Decodes(32, 64)})), decode_s);
  EXPECT_EQ(ToSeconds(timer(std::vector{Prompt(32, 64, false)})), Seconds({Prompt(32, 64, false)}));
}

TEST_F(StepTimerTest, TheBusiestRankCounts) {
  const double alone_s = Seconds({Decodes(32, 1024)});
  EXPECT_EQ(Seconds({Decodes(32, 1024), Decodes(2, 100)}), alone_s);
  EXPECT_EQ(Seconds({Decodes(2, 100), Decodes(32, 1024), RankBatch{}}), alone_s);
}

/// Tokens of a prompt that goes on cost a linear layer what as many of a fresh one do.
TEST(StepTimer, LinearAttentionSeesHowManyTokensOnly) {
  const ModelSpec hybrid = LoadModel("qwen3-next-80b-a3b");
  ModelSpec full = hybrid;
  full.linear_attention_layers.clear();
  full.linear_attention = {};
  const auto later_s = [](const ModelSpec& model) {
    const Problem problem(model, LoadCluster("h100-sxm", 8), Serve());
    LengthVariants variants(problem);
    Strategy s;
    s.batch_size = 64;
    StepTimer timer(variants, s, {});
    return ToSeconds(timer(std::vector{Prompt(1024, 30720)})) - ToSeconds(timer(std::vector{Prompt(1024)}));
  };
  EXPECT_GT(later_s(hybrid), 0);
  EXPECT_NEAR(later_s(hybrid) / later_s(full), 0.25, 1e-3);
}

TEST(StepTimer, LinearAttentionsDecodesAreADecodePass) {
  const Problem problem(LoadModel("qwen3-next-80b-a3b"), LoadCluster("h100-sxm", 8), Serve());
  LengthVariants variants(problem);
  Strategy s;
  s.batch_size = 16;
  const double pass_s = SimulatePasses(variants.Decode(1024), s, {}).decode_s;
  EXPECT_NEAR(ToSeconds(StepTimer(variants, s, {})(std::vector{Decodes(16, 1024)})), pass_s, 1e-9 * pass_s);
}

/// Whatever the strategy, a step has a time, and no more work is quicker than a little less would be.
TEST(StepTimer, EveryStrategyHasSteps) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    Rng rng(seed);
    const Problem drawn = testing::RandomProblem(rng);
    const Problem problem(drawn.model(), drawn.cluster(), Serve(), drawn.options());
    const StrategySpace space(problem);
    LengthVariants variants(problem);
    for (int k = 0; k < 5; ++k) {
      const Strategy s = space.Sample(rng);
      StepTimer timer(variants, s, {});
      RankBatch batch = Decodes(1 + static_cast<std::int64_t>(rng.Below(40)), 50);
      const Picoseconds decode = timer(std::vector{batch});
      batch.chunks = Prompt(100, 0, false).chunks;
      const Picoseconds mixed = timer(std::vector{batch});
      EXPECT_GT(decode, 0) << ToShortString(s);
      EXPECT_GT(static_cast<double>(mixed), 0.8 * static_cast<double>(decode)) << ToShortString(s);
      EXPECT_EQ(timer(std::vector{batch}), mixed);
      StepTimer again(variants, s, {});
      EXPECT_EQ(again(std::vector{batch}), mixed) << "whatever was asked before";
    }
  }
}

}  // namespace
}  // namespace shardscout::env
