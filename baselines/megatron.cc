#include "baselines/megatron.h"

#include <optional>
#include <string>
#include <string_view>

#include "shardscout/megatron_rule.h"

namespace shardscout::baselines {
namespace {

class Megatron final : public Searcher {
 public:
  std::string_view Name() const override { return "megatron"; }
  std::string ConfigJson() const override { return "{}"; }

  SearchStatus Search(SearchEnvironment& environment, std::uint64_t) override {
    for (const MegatronCandidate& candidate : MegatronCandidates(environment.space())) {
      for (auto strategy = candidate.by_batch.rbegin(); strategy != candidate.by_batch.rend(); ++strategy) {
        const std::optional<Scored> scored = environment.Evaluate(*strategy);
        if (!scored || scored->evaluation.Feasible()) return SearchStatus::kFinished;
      }
    }
    return SearchStatus::kFinished;
  }
};

}  // namespace

std::unique_ptr<Searcher> MakeMegatron(const MegatronConfig&) { return std::make_unique<Megatron>(); }

}  // namespace shardscout::baselines
