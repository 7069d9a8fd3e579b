// An evaluator of one's own: what the analytical one says, with a step that is longer by what a site measured for each
// node that an instance spans. Any searcher then plans for that site.

#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "shardscout/run_search.h"

namespace {

using namespace shardscout;

class SiteEvaluator : public Evaluator {
 public:
  SiteEvaluator(const Problem& problem, std::unique_ptr<Evaluator> analytical)
      : problem_(problem), analytical_(std::move(analytical)) {}

  std::string_view Name() const override { return "site"; }
  Breakdown Explain(const Strategy& strategy) const override { return analytical_->Explain(strategy); }

  Evaluation Evaluate(const Strategy& strategy) const override {
    constexpr double kSlowdownPerNode = 0.03;  // The example's.
    const std::int64_t per_node = problem_.cluster().devices_per_node;
    const std::int64_t nodes = (strategy.InstanceSize() + per_node - 1) / per_node;
    const double slower = 1 + kSlowdownPerNode * static_cast<double>(nodes - 1);
    Evaluation evaluation = analytical_->Evaluate(strategy);
    Metrics& metrics = evaluation.metrics;
    metrics.tpot_s *= slower;
    metrics.throughput_tokens_per_s /= slower;
    metrics.throughput_per_device /= slower;
    metrics.cost_usd_per_million_tokens *= slower;
    metrics.energy_j_per_token *= slower;
    // What a limit is exceeded by follows the metric.
    if (const auto target = problem_.workload().tpot_target_s) evaluation.excess.tpot = metrics.tpot_s / *target - 1;
    return evaluation;
  }

 private:
  const Problem& problem_;
  std::unique_ptr<Evaluator> analytical_;
};

}  // namespace

int main() {
  const Problem problem(LoadModel("deepseek-v3"), LoadCluster("h100-sxm", 64), LoadWorkload("decode-chat"));
  SearcherRegistry searchers;
  RegisterBuiltinSearchers(searchers);
  EvaluatorRegistry builtin, evaluators;
  RegisterBuiltinEvaluators(builtin);
  RegisterBuiltinEvaluators(evaluators);
  evaluators.Register(
      "site", "The analytical evaluator, slower for each node of an instance",
      [&builtin](const Problem& of) { return std::make_unique<SiteEvaluator>(of, builtin.Make("analytical", of)); });
  for (const std::string evaluator : {"analytical", "site"}) {
    const SearchRequest request = {.searcher = "annealing", .evaluator = evaluator, .budget = 2000};
    const SearchReport report = RunSearch(problem, request, searchers, evaluators);
    if (!report.plan) return 1;
    const Strategy& strategy = report.plan->pools.front().strategy;
    std::cout << evaluator << ": " << report.plan->evaluation.metrics.throughput_per_device << " tokens/s/device by "
              << strategy.InstanceSize() << " devices an instance: " << ToShortString(strategy) << "\n";
  }
  return 0;
}
