#include "tests/fuzz/exercise.h"

#include <cmath>
#include <functional>
#include <memory>
#include <optional>

#include "env/analytical/analytical_evaluator.h"
#include "shardscout/plan.h"
#include "shardscout/strategy_space.h"
#include "tests/fuzz/fuzz.h"

namespace shardscout::fuzz {
namespace {

/// A space and its masks take time by these; larger ones are for the tests that search.
constexpr std::int64_t kMostDevices = 16;
constexpr std::int64_t kMostLayers = 256;
constexpr std::int64_t kMostExperts = 1024;

void ExpectFinite(const Breakdown& breakdown) {
  for (const BreakdownRow& row : breakdown.rows) {
    FUZZ_EXPECT(std::isfinite(row.time_s) && std::isfinite(row.bytes) && std::isfinite(row.flop));
  }
  for (const double bytes : breakdown.bytes_by_tier) FUZZ_EXPECT(std::isfinite(bytes));
}

}  // namespace

void Exercise(const Problem& problem) {
  const ModelSpec& model = problem.model();
  FUZZ_EXPECT(CountParameters(model).active <= CountParameters(model).total);
  FUZZ_EXPECT(KvElementsPerToken(model) >= 0);
  FUZZ_EXPECT(LinearStateBytes(model) >= 0);
  if (model.num_layers > kMostLayers) return;
  const std::string text = ToJson(problem);
  const Problem again = ParseProblem(text, kPlace);
  FUZZ_EXPECT(ToJson(again) == text);
  FUZZ_EXPECT(again.Digest() == problem.Digest());
  if (problem.cluster().num_devices > kMostDevices || model.moe.num_experts > kMostExperts) return;
  std::unique_ptr<StrategySpace> space;
  if (!Accepted([&] { space = std::make_unique<StrategySpace>(problem); })) return;
  const env::AnalyticalEvaluator evaluator(problem);
  // The sample differs from input to input.
  Rng rng(std::hash<std::string>()(text));
  const Strategy strategy = space->Sample(rng);
  FUZZ_EXPECT(space->Contains(strategy));
  const Evaluation evaluation = evaluator.Evaluate(strategy);
  FUZZ_EXPECT(ParseEvaluation(ToJson(evaluation), kPlace) == evaluation);
  ExpectFinite(evaluator.Explain(strategy));
}

}  // namespace shardscout::fuzz
