// A searcher of one's own, compared with one that Shardscout has: steepest ascent from random starts. Its settings, if
// it had any, would come through SearcherSettings.

#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "shardscout/random.h"
#include "shardscout/run_search.h"

namespace {

using namespace shardscout;

/// Looks at some neighbours at a time and goes to the best of them; where none is better, starts anew.
class SteepestAscent : public Searcher {
 public:
  std::string_view Name() const override { return "steepest-ascent"; }
  std::string ConfigJson() const override { return "{}"; }

  SearchStatus Search(SearchEnvironment& environment, std::uint64_t seed) override {
    constexpr int kNeighbours = 16;
    Rng rng(seed);  // The only source of randomness, so that a seed gives the same search anywhere.
    while (environment.ended() == EndReason::kNone) {
      std::optional<Scored> at = environment.Evaluate(environment.space().Sample(rng));
      while (at) {
        std::vector<Strategy> near;
        for (int i = 0; i < kNeighbours; ++i) near.push_back(environment.space().Neighbour(at->strategy, rng));
        const Scored before = *at;
        for (const Scored& scored : environment.Evaluate(near)) {  // A batch is evaluated in parallel.
          if (Better(scored, *at)) at = scored;
        }
        if (at->strategy == before.strategy) break;
      }
    }
    return SearchStatus::kFinished;  // Budget, time and Ctrl-C are read off the environment.
  }
};

}  // namespace

int main() {
  const Problem problem(LoadModel("llama-3.1-70b"), LoadCluster("h100-sxm", 16), LoadWorkload("decode-chat"));
  SearcherRegistry searchers;
  RegisterBuiltinSearchers(searchers);
  searchers.Register("steepest-ascent",
                     {.description = "Steepest ascent from random starts",
                      .factory = [](const SearcherSettings&) { return std::make_unique<SteepestAscent>(); },
                      .settings = {}});
  EvaluatorRegistry evaluators;
  RegisterBuiltinEvaluators(evaluators);
  for (const std::string searcher : {"random", "steepest-ascent"}) {
    const SearchReport report = RunSearch(problem, {.searcher = searcher, .budget = 2000}, searchers, evaluators);
    if (!report.plan) return 1;
    std::cout << searcher << ": " << report.best->reward << " x Megatron\n";
  }
  return 0;
}
