// What exporters write, importers read: export -> import gives the same strategy, and what is emitted keeps the
// framework's rules.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "shardscout/deployment.h"
#include "shardscout/error.h"
#include "shardscout/exporter.h"
#include "shardscout/random.h"
#include "shardscout/run_search.h"
#include "shardscout/strategy_space.h"

namespace shardscout {
namespace {

/// More requests are better, and all keep the limits.
Evaluation MoreIsBetter(const Strategy& strategy) {
  Evaluation evaluation;
  evaluation.metrics.throughput_per_device = static_cast<double>(strategy.batch_size);
  evaluation.memory = {.weight_bytes = 20e9, .kv_cache_bytes = 30e9, .activation_bytes = 1e9, .limit_bytes = 72e9};
  return evaluation;
}

struct Case {
  const char* model;
  const char* workload;
  std::int64_t devices;
};

class RoundTrip : public testing::TestWithParam<Framework> {};

/// Exports the strategy and reads it back; how it went is counted.
struct Counts {
  int lossless = 0, lowered = 0, refused = 0;
};

void ExportAndImport(Framework framework, const Problem& problem, const Strategy& strategy, Counts& counts) {
  ExporterRegistry exporters;
  RegisterBuiltinExporters(exporters);
  const Plan plan = PlanOf(problem, {MakePool(problem, strategy)});
  const std::string where = std::string(ToString(framework)) + " " + ToShortString(strategy);
  ExportResult result;
  try {
    result = exporters.Get(std::string(ToString(framework))).Export(plan, MoreIsBetter);
  } catch (const SpecError& error) {
    EXPECT_NE(std::string(error.what()), "") << where;
    ++counts.refused;
    return;
  }
  (result.dropped.empty() ? counts.lossless : counts.lowered) += 1;
  EXPECT_EQ(result.dropped.empty(), result.lowered_evaluation == std::nullopt) << where;
  EXPECT_EQ(StrategySpace(problem).WhyNot(result.lowered), "") << where;
  if (result.dropped.empty()) {
    EXPECT_EQ(result.lowered, strategy) << where;
  }

  ASSERT_EQ(result.files.size(), 1u);
  std::string text = result.files.front().text;
  if (framework == Framework::kMegatron) {
    // How many devices there are is said by the launch alone.
    const std::string cat = "$(cat megatron.args)";
    text = result.command.substr(0, result.command.find(cat)) + text;
  }
  ASSERT_TRUE(LooksLikeDeployment(text)) << text;
  const std::vector<Deployment> deployments = ReadDeployments(text, result.files.front().name, &problem.model());
  ASSERT_EQ(deployments.size(), 1u);
  const Deployment& deployment = deployments.front();
  EXPECT_EQ(deployment.framework, framework);
  EXPECT_TRUE(deployment.broken_rules.empty()) << where << ": " << deployment.broken_rules.front() << "\n" << text;
  for (const std::string& note : deployment.notes) EXPECT_FALSE(note.starts_with("not modelled")) << note;
  const DeployedStrategy back = StrategyOf(problem, deployment, MoreIsBetter);
  EXPECT_EQ(ToShortString(back.strategy), ToShortString(result.lowered)) << where << "\n" << text;
  EXPECT_EQ(back.strategy, result.lowered) << where;
}

TEST_P(RoundTrip, GivesTheSameStrategy) {
  const Framework framework = GetParam();
  Counts of_space, of_framework;
  for (const Case& c : {Case{"deepseek-v3", "decode-chat", 64},
                        {"deepseek-v3", "prefill-chat", 32},
                        {"mixtral-8x22b", "serve-chat", 32},
                        {"qwen3-235b-a22b", "decode-chat", 24},
                        {"llama-3.1-70b", "decode-chat", 32},
                        {"llama-3.1-8b", "prefill-chat", 12}}) {
    const auto problem_for = [&](std::optional<Framework> only) {
      return Problem(LoadModel(c.model), LoadCluster("h100-sxm", c.devices), LoadWorkload(c.workload),
                     ProblemOptions{{}, {Overlap::kNone}, only});
    };
    const Problem any = problem_for(std::nullopt), framed = problem_for(framework);
    const StrategySpace all(any), own(framed);
    Rng rng = Rng::Stream(7, std::string(c.model) + c.workload);
    for (int i = 0; i < 8; ++i) {
      ExportAndImport(framework, any, all.Sample(rng), of_space);
      const int lowered = of_framework.lowered, refused = of_framework.refused;
      const Strategy member = own.Sample(rng);
      ExportAndImport(framework, any, member, of_framework);
      EXPECT_EQ(of_framework.lowered + of_framework.refused, lowered + refused)
          << "of " << ToString(framework) << "'s own space, but not exported as it is: " << ToShortString(member);
    }
  }
  EXPECT_GE(of_space.lossless + of_space.lowered, 30);
  EXPECT_EQ(of_framework.lossless, 48);
}

/// The best strategy of all, and the best that the framework runs.
TEST_P(RoundTrip, OfOptimalPlans) {
  SearcherRegistry searchers;
  RegisterBuiltinSearchers(searchers);
  EvaluatorRegistry evaluators;
  RegisterBuiltinEvaluators(evaluators);
  Counts of_all, of_framework;
  for (const Case& c : {Case{"deepseek-v3", "decode-chat", 32}, Case{"llama-3.1-70b", "serve-chat", 12}}) {
    for (const std::optional<Framework> only : {std::optional<Framework>(), std::optional(GetParam())}) {
      const Problem problem(LoadModel(c.model), LoadCluster("h100-sxm", c.devices), LoadWorkload(c.workload),
                            ProblemOptions{{}, {Overlap::kNone}, only});
      SearchRequest request;
      request.searcher = "exact";
      const SearchReport report = RunSearch(problem, request, searchers, evaluators);
      ASSERT_TRUE(report.best) << c.model;
      ExportAndImport(GetParam(), Problem(problem.model(), problem.cluster(), problem.workload()),
                      report.best->strategy, only ? of_framework : of_all);
    }
  }
  EXPECT_EQ(of_framework.lossless, 2);
  EXPECT_EQ(of_all.lossless + of_all.lowered, 2);
}

INSTANTIATE_TEST_SUITE_P(Frameworks, RoundTrip,
                         testing::Values(Framework::kVllm, Framework::kSglang, Framework::kTensorRtLlm,
                                         Framework::kMegatron, Framework::kDeepSpeed),
                         [](const auto& param_info) {
                           std::string name(ToString(param_info.param));
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace shardscout
