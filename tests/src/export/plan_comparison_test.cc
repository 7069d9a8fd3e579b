#include "shardscout/plan_comparison.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "shardscout/comparison_report.h"
#include "shardscout/evaluator.h"
#include "shardscout/strategy_space.h"
#include "tests/tiny_problems.h"

namespace shardscout {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kHostile = "</script><script>alert('c')</script>\" & d.json";

class PlanComparisonTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!HaveCharts()) GTEST_SKIP() << "built without Chart.js";
  }

  static Problem TheProblem() {
    ModelSpec model = testing::MoeModel();
    model.name = kHostile;
    return testing::SmallProblem(model, 8, WorkloadKind::kServe);
  }

  ComparedPlan PlanOf(const std::string& name, const Problem& problem, const Strategy& strategy) const {
    EvaluatorRegistry evaluators;
    RegisterBuiltinEvaluators(evaluators);
    const auto evaluator = evaluators.Make("analytical", problem);
    return {name, problem, strategy, evaluator->Evaluate(strategy), evaluator->Explain(strategy)};
  }

  static StrategyDifference DifferenceOf(const StrategySpace& space, const Strategy& ours, const Strategy& theirs) {
    EvaluatorRegistry evaluators;
    RegisterBuiltinEvaluators(evaluators);
    const auto evaluator = evaluators.Make("analytical", space.problem());
    return CompareStrategies(space, ours, theirs, [&](const Strategy& s) { return evaluator->Evaluate(s); });
  }

  static std::size_t Count(const std::string& text, const std::string& part) {
    std::size_t count = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
    return count;
  }
};

TEST_F(PlanComparisonTest, ShowsEachDifferenceAndNoOtherDecision) {
  const Problem problem = TheProblem();
  const StrategySpace space(problem);
  Strategy ours, theirs;
  ours.tensor_parallel_size = 2;
  ours = space.Repair(ours);
  theirs = WithVariable(space, ours, static_cast<int>(Variable::kTensorParallelSize), 4);
  const StrategyDifference difference = DifferenceOf(space, ours, theirs);
  const std::string page =
      PlanComparisonHtml(PlanOf("mine", problem, ours), PlanOf("theirs", problem, theirs), difference);
  for (int variable = 0; variable < kNumVariables; ++variable) {
    const std::string row = "<td data-label=\"decision\"><code>" + VariableName(variable) + "</code></td>";
    EXPECT_EQ(Count(page, row), GetVariable(ours, variable) == GetVariable(theirs, variable) ? 0U : 1U) << row;
  }
  EXPECT_THAT(page, HasSubstr("Where the time goes"));
  EXPECT_THAT(page, HasSubstr("Memory of a device"));
}

/// The plan with more throughput has a good "+", and the other one, the other way round, a bad "-".
TEST_F(PlanComparisonTest, TheSignOfAChangeIsItsMeaning) {
  const Problem problem = TheProblem();
  const StrategySpace space(problem);
  Strategy small, large;
  small.batch_size = 1;
  large.batch_size = 16;
  small = space.Repair(small);
  large = space.Repair(large);
  const ComparedPlan one = PlanOf("one", problem, small), many = PlanOf("many", problem, large);
  ASSERT_LT(one.evaluation.metrics.throughput_per_device, many.evaluation.metrics.throughput_per_device);
  const auto row = [](const std::string& page, const std::string& what) {
    const std::size_t at = page.find("<td>" + what);
    return page.substr(at, page.find("</tr>", at) - at);
  };
  EXPECT_THAT(row(PlanComparisonHtml(many, one, {}), "tokens/s/device"), HasSubstr("class=\"good\">+"));
  EXPECT_THAT(row(PlanComparisonHtml(one, many, {}), "tokens/s/device"), HasSubstr("class=\"bad\">-"));
  EXPECT_THAT(row(PlanComparisonHtml(many, one, {}), "TPOT"), HasSubstr("class=\"bad\">+"));
}

TEST_F(PlanComparisonTest, NamesCannotBreakOut) {
  const Problem problem = TheProblem();
  const StrategySpace space(problem);
  Rng rng(3);
  const ComparedPlan plan = PlanOf(kHostile, problem, space.Sample(rng));
  const std::string same = PlanComparisonHtml(plan, plan, DifferenceOf(space, plan.strategy, plan.strategy));
  EXPECT_THAT(same, Not(HasSubstr("<script>alert")));
  EXPECT_EQ(Count(same, "</script>"), 4U);
  EXPECT_THAT(same, HasSubstr("Nowhere: both split the model in the same way."));

  ModelSpec other = problem.model();
  other.num_layers += 1;
  other.layers.push_back(LayerKind::kMoe);
  const Problem larger(other, problem.cluster(), problem.workload());
  const std::string page = PlanComparisonHtml(plan, PlanOf(kHostile, larger, plan.strategy), {});
  EXPECT_THAT(page, HasSubstr("for different problems"));
  EXPECT_THAT(page, Not(HasSubstr("<script>alert")));
}

}  // namespace
}  // namespace shardscout
