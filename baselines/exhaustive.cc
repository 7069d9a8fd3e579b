#include "baselines/exhaustive.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "env/searcher_config.h"
#include "shardscout/reward.h"

namespace shardscout::baselines {
namespace {

class Exhaustive final : public Searcher {
 public:
  explicit Exhaustive(const ExhaustiveConfig& config) : config_(config) {}

  std::string_view Name() const override { return "exhaustive"; }
  std::string ConfigJson() const override { return env::SettingsJson(config_); }
  std::optional<Certificate> Proof() const override { return proof_; }

  SearchStatus Search(SearchEnvironment& environment, std::uint64_t) override {
    proof_.reset();
    std::vector<Strategy> batch;
    bool whole = true;  // Every strategy was answered.
    const auto ask = [&] {
      if (!batch.empty()) whole = environment.Evaluate(batch).size() == batch.size() && whole;
      batch.clear();
      return whole;
    };
    environment.space().ForEach([&](const Strategy& strategy) {
      batch.push_back(strategy);
      return batch.size() < static_cast<std::size_t>(config_.minibatch_size) || ask();
    });
    if (!ask() || !environment.best()) return SearchStatus::kFinished;
    const Scored& best = *environment.best();
    if (!best.evaluation.Feasible()) return SearchStatus::kProvenInfeasible;
    const WorkloadSpec& workload = environment.problem().workload();
    const double value = ObjectiveOf(best.evaluation, workload.objective, workload.kind).value;
    proof_ = {.value = value, .bound = value, .gap = 0, .space = "every canonical strategy of the problem, evaluated"};
    return SearchStatus::kProvenOptimal;
  }

 private:
  const ExhaustiveConfig config_;
  std::optional<Certificate> proof_;
};

}  // namespace

std::unique_ptr<Searcher> MakeExhaustive(const ExhaustiveConfig& config) {
  return std::make_unique<Exhaustive>(config);
}

}  // namespace shardscout::baselines
