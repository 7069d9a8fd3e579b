#include "shardscout/stage_memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "env/analytical/analytical_evaluator.h"
#include "shardscout/strategy_space.h"
#include "tests/tiny_problems.h"

namespace shardscout {
namespace {

/// One a stage, and the fullest is what an evaluation says.
TEST(StageMemoryTest, TheFullestStageIsTheEvaluations) {
  int several = 0;
  for (const ModelSpec& model : {testing::MoeModel(5), testing::MixedWindowModel(6), testing::LinearModel(4)}) {
    const Problem problem = testing::SmallProblem(model, 16, WorkloadKind::kServe);
    const StrategySpace space(problem);
    const env::AnalyticalEvaluator evaluator(problem);
    Rng rng(7);
    for (int i = 0; i < 60; ++i) {
      const Strategy s = space.Sample(rng);
      const std::vector<MemoryUse> stages = MemoryByStage(problem, s);
      ASSERT_EQ(stages.size(), static_cast<std::size_t>(s.pipeline_parallel_size));
      several += stages.size() > 1 && stages.front() != stages.back() ? 1 : 0;
      const auto fullest = std::max_element(stages.begin(), stages.end(), [](const MemoryUse& a, const MemoryUse& b) {
        return a.TotalBytes() < b.TotalBytes();
      });
      EXPECT_EQ(*fullest, evaluator.Evaluate(s).memory) << ToShortString(s);
    }
  }
  EXPECT_GE(several, 20);
}

}  // namespace
}  // namespace shardscout
