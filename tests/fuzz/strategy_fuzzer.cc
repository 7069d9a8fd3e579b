// A strategy: written and read back, judged by the spaces of several small problems, repaired into them, and priced.

#include <memory>
#include <vector>

#include "env/analytical/analytical_evaluator.h"
#include "shardscout/plan.h"
#include "shardscout/strategy_space.h"
#include "tests/fuzz/fuzz.h"
#include "tests/tiny_problems.h"

namespace shardscout::fuzz {
namespace {

struct Place {
  explicit Place(const ModelSpec& model, WorkloadKind kind)
      : problem(testing::SmallProblem(model, 8, kind)), space(problem), evaluator(problem) {}
  const Problem problem;
  const StrategySpace space;
  const env::AnalyticalEvaluator evaluator;
};

std::vector<std::unique_ptr<Place>> MakePlaces() {
  std::vector<std::unique_ptr<Place>> places;
  places.push_back(std::make_unique<Place>(testing::DenseModel(), WorkloadKind::kServe));
  places.push_back(std::make_unique<Place>(testing::MoeModel(), WorkloadKind::kDecode));
  places.push_back(std::make_unique<Place>(testing::IndexerModel(), WorkloadKind::kPrefill));
  places.push_back(std::make_unique<Place>(testing::LinearModel(), WorkloadKind::kServe));
  return places;
}

void Run(std::string_view text) {
  static const std::vector<std::unique_ptr<Place>> places = MakePlaces();
  Strategy strategy;
  if (!Accepted([&] { strategy = ParseStrategy(text, kPlace); })) return;
  FUZZ_EXPECT(ParseStrategy(ToJson(strategy), kPlace) == strategy);
  FUZZ_EXPECT(ParseStrategy(ToJson(strategy, 2), kPlace) == strategy);
  FUZZ_EXPECT(!ToShortString(strategy).empty());
  for (const auto& place : places) {
    const bool member = place->space.WhyNot(strategy).empty();
    const Strategy repaired = place->space.Repair(strategy);
    FUZZ_EXPECT(place->space.Contains(repaired));
    if (!member) continue;
    FUZZ_EXPECT(repaired == strategy);
    FUZZ_EXPECT(place->space.Decode(place->space.Encode(strategy)) == strategy);
    const Evaluation evaluation = place->evaluator.Evaluate(strategy);
    FUZZ_EXPECT(ParseEvaluation(ToJson(evaluation), kPlace) == evaluation);
  }
}

}  // namespace
}  // namespace shardscout::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  shardscout::fuzz::Run(shardscout::fuzz::Text(data, size));
  return 0;
}
