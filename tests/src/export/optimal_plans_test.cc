// What searches end in, proved optima, through every exporter: written as it is, lowered with what that drops, or
// refused by the exporter's name.

#include <string>
#include <utility>
#include <vector>

#include "tests/builtin_registries.h"
#include "tests/src/export/written_plans.h"

namespace shardscout::exporters {
namespace {

std::vector<Problem> Problems() {
  std::vector<Problem> problems;
  for (const char* const model :
       {"llama-3.1-8b", "llama-3.1-70b", "mixtral-8x7b", "gpt-oss-120b", "qwen3-30b-a3b", "deepseek-v3"}) {
    for (const char* const workload : {"decode-chat", "prefill-chat", "serve-chat"}) {
      const std::int64_t devices = std::string(model) == "deepseek-v3" ? 32 : 16;
      problems.emplace_back(LoadModel(model), LoadCluster("h100-sxm", devices), LoadWorkload(workload));
    }
  }
  WorkloadSpec training = LoadWorkload("train-4k");
  training.training->global_batch_size = 64;
  for (const auto& [model, devices] : {std::pair("llama-3.1-8b", 8), {"llama-3.1-8b", 32}, {"qwen3-30b-a3b", 8}}) {
    problems.emplace_back(LoadModel(model), LoadCluster("h100-sxm", devices), training);
  }
  return problems;
}

Plan OptimumOf(const Problem& problem, const testing::BuiltinRegistries& registries) {
  const SearchReport report = registries.Run(problem, "exact", std::int64_t{1} << 40);
  EXPECT_EQ(report.status, SearchStatus::kProvenOptimal) << problem.model().name << " " << problem.workload().name;
  return report.plan.value();
}

TEST(OptimalPlans, EveryExporterWritesThemOrSaysWhyNot) {
  const testing::BuiltinRegistries registries;
  std::vector<Plan> optima;
  for (const Problem& problem : Problems()) optima.push_back(OptimumOf(problem, registries));
  ExporterRegistry exporters;
  RegisterBuiltinExporters(exporters);
  for (const std::string& target : exporters.List()) {
    int written = 0;
    for (const Plan& optimum : optima) {
      const std::string where = target + " " + optimum.model_name + " " + optimum.workload_name;
      const Problem problem = ParseProblem(optimum.problem_json, where);
      const auto evaluator = registries.evaluators.Make("analytical", problem);
      const Strategy& planned = optimum.pools.front().strategy;
      try {
        const ExportResult result = exporters.Get(target).Export(
            optimum, [&](const Strategy& strategy) { return evaluator->Evaluate(strategy); });
        ++written;
        EXPECT_FALSE(result.files.empty()) << where;
        EXPECT_TRUE(!result.dropped.empty() || result.lowered == planned) << where;
        // Nothing that the framework runs in place of an optimum can be better.
        if (result.lowered_evaluation && result.lowered_evaluation->Feasible()) {
          EXPECT_LE(result.lowered_evaluation->metrics.throughput_per_device,
                    optimum.evaluation.metrics.throughput_per_device * (1 + 1e-9))
              << where;
        }
      } catch (const SpecError& error) {
        const std::string name = target.substr(0, target.find('@'));
        EXPECT_NE(std::string(error.what()).find("--to " + name), std::string::npos) << where << ": " << error.what();
      }
    }
    EXPECT_GE(written, 3) << target;
  }
}

}  // namespace
}  // namespace shardscout::exporters
