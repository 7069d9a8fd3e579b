#include <memory>

#include "env/analytical/analytical_evaluator.h"
#include "shardscout/evaluator.h"

namespace shardscout {

void RegisterBuiltinEvaluators(EvaluatorRegistry& registry) {
  registry.Register("analytical", "closed form: roofline operators, latency-bandwidth collectives, pipeline",
                    [](const Problem& problem) { return std::make_unique<env::AnalyticalEvaluator>(problem); });
}

}  // namespace shardscout
