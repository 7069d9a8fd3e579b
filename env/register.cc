#include <memory>

#include "env/analytical/analytical_evaluator.h"
#include "env/simulator/simulator_evaluator.h"
#include "shardscout/evaluator.h"

namespace shardscout {

void RegisterBuiltinEvaluators(EvaluatorRegistry& registry) {
  registry.Register("analytical", "closed form: measured curves of kernels and collectives, pipeline",
                    [](const Problem& problem) { return std::make_unique<env::AnalyticalEvaluator>(problem); });
  registry.Register("simulator", "simulated passes: sends beside the work, two halves that take turns",
                    [](const Problem& problem) { return std::make_unique<env::SimulatorEvaluator>(problem); });
}

}  // namespace shardscout
