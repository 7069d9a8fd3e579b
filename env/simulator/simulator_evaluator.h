#pragma once

#include <string_view>

#include "env/analytical/analytical_evaluator.h"
#include "env/simulator/pass_simulation.h"
#include "env/simulator/step_timer.h"
#include "shardscout/evaluator.h"

namespace shardscout::env {

/// The evaluator `simulator`: passes simulated (pass_simulation.h), memory and metrics as the analytical one has them;
/// where a `serve` workload describes its requests, those simulated one by one (serving_simulation.h); training's
/// pipeline by its schedule (training_simulation.h). In reference mode it agrees with the analytical evaluator (in
/// training where all stages take as long).
class SimulatorEvaluator final : public Evaluator {
 public:
  explicit SimulatorEvaluator(const Problem& problem, SimulatorOptions options = {})
      : problem_(problem), options_(options), analytical_(problem), variants_(problem) {}

  std::string_view Name() const override { return "simulator"; }
  Evaluation Evaluate(const Strategy& strategy) const override;
  /// The analytical rows: kernels in proportion to what the stages compute in the simulation, collectives to what of
  /// them no computing hides.
  Breakdown Explain(const Strategy& strategy) const override;

 private:
  const Problem& problem_;
  SimulatorOptions options_;
  AnalyticalEvaluator analytical_;
  mutable LengthVariants variants_;
};

}  // namespace shardscout::env
