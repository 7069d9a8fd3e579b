// The space of a framework: exactly the strategies that its rules admit, and no dead end on the way to them.

#include <gtest/gtest.h>

#include <optional>
#include <set>
#include <string>

#include "shardscout/error.h"
#include "shardscout/strategy_space.h"
#include "strategies/sharding_rules.h"
#include "tests/baselines/random_problems.h"

namespace shardscout {
namespace {

using testing::MoeModel;
using testing::MultiLatentModel;
using testing::RandomProblemFor;

Problem For(const Problem& problem, std::optional<Framework> framework) {
  ProblemOptions options = problem.options();
  options.framework = framework;
  return {problem.model(), problem.cluster(), problem.workload(), options};
}

/// By the rules alone, without a tree.
bool RulesAdmit(const strategies::ShardingRules& rules, const Strategy& s) {
  if (!rules.Degrees(s) || !rules.ExpertMesh(s) || !rules.Microbatches(s)) return false;
  if (!rules.Residual(s, s.residual_layout) || !rules.FfnGroup(s, s.dense_ffn_group)) return false;
  if (!rules.Exchange(s, s.expert_exchange) || s.overlap != Overlap::kNone) return false;
  for (std::size_t i = 0; i < kNumShardedOperators; ++i) {
    if (!rules.Admits(s, static_cast<Operator>(i), s.shardings[i])) return false;
  }
  return rules.Training(s, Variable::kVirtualPipelineParallelSize, s.virtual_pipeline_parallel_size) &&
         rules.Training(s, Variable::kHeadLayers, s.head_layers) &&
         rules.Training(s, Variable::kZeroStage, s.zero_stage) &&
         rules.Training(s, Variable::kRecomputation, static_cast<std::int64_t>(s.recomputation)) &&
         rules.Training(s, Variable::kRecomputedLayers, s.recomputed_layers);
}

std::set<Strategy> MembersWhere(const StrategySpace& space, const std::function<bool(const Strategy&)>& is_one) {
  std::set<Strategy> members;
  space.ForEach([&](const Strategy& s) {
    if (is_one(s)) members.insert(s);
    return true;
  });
  return members;
}

class FrameworkSpace : public ::testing::TestWithParam<Framework> {};

TEST_P(FrameworkSpace, HoldsExactlyWhatTheRulesAdmit) {
  constexpr double kFewEnough = 60000;
  int compared = 0, empty = 0;
  for (std::uint64_t seed = 1; compared < 25; ++seed) {
    Rng rng = Rng::Stream(seed, "framework");
    const Problem any = RandomProblemFor(GetParam(), rng, seed);
    const StrategySpace all(any);
    if (all.Size().strategies > kFewEnough) continue;
    ++compared;
    const Problem framed = For(any, GetParam());
    const strategies::ShardingRules rules(framed);
    const std::set<Strategy> expected = MembersWhere(all, [&](const Strategy& s) { return RulesAdmit(rules, s); });
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::optional<StrategySpace> space;
    try {
      space.emplace(framed);
    } catch (const SpecError&) {
      EXPECT_TRUE(expected.empty()) << ToShortString(*expected.begin());
      ++empty;
      continue;
    }
    const std::set<Strategy> members = MembersWhere(*space, [](const Strategy&) { return true; });
    EXPECT_EQ(members.size(), expected.size());
    EXPECT_TRUE(members == expected);
    const SpaceSize size = space->Size();
    EXPECT_TRUE(size.exact);
    EXPECT_EQ(size.strategies, static_cast<double>(expected.size()));
    for (int i = 0; i < 5; ++i) {
      const Strategy sample = space->Sample(rng);
      EXPECT_EQ(space->WhyNot(sample), "");
      EXPECT_TRUE(expected.contains(space->Neighbour(sample, rng)));
      EXPECT_TRUE(expected.contains(space->Repair(all.Sample(rng))));
    }
  }
  // Of the random models, two in three have what DTensor's plans do not.
  EXPECT_LE(empty, GetParam() == Framework::kDtensor ? 22 : 8);
}

TEST_P(FrameworkSpace, FixedValuesHoldThere) {
  if (!Infers(GetParam()) || GetParam() == Framework::kDtensor) GTEST_SKIP() << "runs no such model";
  const Problem plain = testing::SmallProblem(MoeModel(4, 0, 0), 16, WorkloadKind::kDecode, 16);
  const Problem framed = For(plain, GetParam());
  const StrategySpace space(framed);
  Rng rng(3);
  for (int i = 0; i < 30; ++i) {
    const Strategy member = space.Sample(rng);
    const int variable = static_cast<int>(rng.Below(static_cast<std::size_t>(kNumVariables)));
    ProblemOptions options = framed.options();
    options.fixed[VariableName(variable)] = ValueName(variable, GetVariable(member, variable));
    const Problem fixed(framed.model(), framed.cluster(), framed.workload(), options);
    SCOPED_TRACE(VariableName(variable) + "=" + options.fixed[VariableName(variable)] + " of " + ToShortString(member));
    EXPECT_EQ(StrategySpace(fixed).WhyNot(member), "") << ToShortString(member) << " " << VariableName(variable);
  }
}

INSTANTIATE_TEST_SUITE_P(All, FrameworkSpace, ::testing::ValuesIn(AllFrameworks().begin(), AllFrameworks().end()),
                         [](const auto& param_info) {
                           std::string name(ToString(param_info.param));
                           std::erase(name, '-');
                           return name;
                         });

Strategy Wide(std::int64_t tp, std::int64_t dp, std::int64_t ep, std::int64_t etp) {
  Strategy s;
  s.tensor_parallel_size = tp;
  s.data_parallel_size = dp;
  s.expert_parallel_size = ep;
  s.expert_tensor_parallel_size = etp;
  return s;
}

/// What the frameworks differ in, as their documentation has it.
TEST(FrameworkRules, WhoRunsWhichDegrees) {
  const Problem plain = testing::SmallProblem(MoeModel(4, 0, 0), 8, WorkloadKind::kDecode, 16);
  const auto runs = [&](Framework framework, const Strategy& s) {
    const Problem framed = For(plain, framework);
    const strategies::ShardingRules rules(framed);
    return rules.Degrees(s) && rules.ExpertMesh(s);
  };
  using enum Framework;
  // Experts both dealt and cut.
  for (const Framework framework : {kSglang, kTensorRtLlm, kMegatron}) EXPECT_TRUE(runs(framework, Wide(1, 8, 4, 2)));
  for (const Framework framework : {kVllm, kDeepSpeed}) EXPECT_FALSE(runs(framework, Wide(1, 8, 4, 2)));
  // Attention both tensor and data parallel.
  for (const Framework framework : {kVllm, kSglang, kMegatron}) EXPECT_TRUE(runs(framework, Wide(2, 4, 8, 1)));
  for (const Framework framework : {kTensorRtLlm, kDeepSpeed}) EXPECT_FALSE(runs(framework, Wide(2, 4, 8, 1)));
  // Copies of the experts inside an instance.
  EXPECT_TRUE(runs(kMegatron, Wide(1, 8, 4, 1)));
  for (const Framework framework : {kVllm, kSglang, kTensorRtLlm}) EXPECT_FALSE(runs(framework, Wide(1, 8, 4, 1)));
}

TEST(FrameworkRules, ModelsThatAFrameworkCannotRunAreRefusedWithItsName) {
  const Problem plain = testing::SmallProblem(MoeModel(4, 0, 0), 8, WorkloadKind::kDecode, 16);
  ProblemOptions options;
  options.framework = Framework::kDeepSpeed;
  options.fixed = {{"pipeline_parallel_size", "2"}};
  const Problem framed(plain.model(), plain.cluster(), plain.workload(), options);
  try {
    const StrategySpace space(framed);
    FAIL();
  } catch (const SpecError& error) {
    EXPECT_NE(std::string(error.what()).find("--for deepspeed"), std::string::npos) << error.what();
  }
}

TEST(Framework, NamesAndVersions) {
  EXPECT_EQ(ParseFramework("vllm", "--for"), Framework::kVllm);
  EXPECT_EQ(ParseFramework("vllm@0.24", "--for"), Framework::kVllm);
  EXPECT_EQ(ParseFramework("trtllm", "--for"), Framework::kTensorRtLlm);
  const auto error_of = [](const char* name) -> std::string {
    try {
      ParseFramework(name, "--for");
    } catch (const SpecError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_NE(error_of("vlm").find("did you mean \"vllm\""), std::string::npos) << error_of("vlm");
  EXPECT_NE(error_of("vllm@0.20").find("0.24"), std::string::npos) << error_of("vllm@0.20");
}

}  // namespace
}  // namespace shardscout
