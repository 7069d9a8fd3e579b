#include "env/simulator/simulator_evaluator.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <vector>

#include "env/analytical/training_cost.h"
#include "env/simulator/serving_simulation.h"
#include "env/simulator/training_simulation.h"

namespace shardscout::env {
namespace {

/// What one micro-batch's way through the stages is made of.
struct StageUse {
  Picoseconds begin = std::numeric_limits<Picoseconds>::max(), end = 0;
  Picoseconds computing = 0;
  Picoseconds Exposed() const { return end - begin - computing; }  ///< Communication that no computing hides.
};

std::vector<StageUse> UseOf(const PassMaker& maker) {
  const Pass pass = maker.Make(1, 1, true);
  const Schedule schedule = Simulate(pass.graph);
  std::vector<StageUse> stages(static_cast<std::size_t>(pass.graph.num_streams() / kStreamsOfAStage));
  for (SimTaskId t = 0; t < pass.graph.num_tasks(); ++t) {
    const auto i = static_cast<std::size_t>(t);
    StageUse& stage = stages[static_cast<std::size_t>(pass.graph.StreamOf(t) / kStreamsOfAStage)];
    stage.begin = std::min(stage.begin, schedule.begin[i]);
    stage.end = std::max(stage.end, schedule.end[i]);
    // In reference mode sends lie among the kernels.
    const bool computes =
        StreamKind(pass.graph.StreamOf(t)) == StageStream::kKernels && pass.tasks[i].block != BlockKind::kTransfer;
    if (computes) stage.computing += pass.graph.DurationOf(t);
  }
  return stages;
}

}  // namespace

Evaluation SimulatorEvaluator::Evaluate(const Strategy& strategy) const {
  if (problem_.workload().IsTraining()) {
    const Schedule schedule = Simulate(MakeTrainingPass(problem_, strategy, options_.reference).graph);
    return TrainingEvaluation(problem_, strategy, ToSeconds(schedule.makespan), analytical_.Evaluate(strategy).memory,
                              ModelFlopPerToken(problem_));
  }
  Evaluation evaluation = EvaluationOf(problem_, strategy, SimulatePasses(problem_, strategy, options_),
                                       analytical_.Evaluate(strategy).memory);
  if (problem_.workload().requests && !options_.reference) {
    EvaluateRequests(problem_, strategy, options_, variants_, evaluation);
  }
  return evaluation;
}

Breakdown SimulatorEvaluator::Explain(const Strategy& strategy) const {
  Breakdown breakdown = analytical_.Explain(strategy);
  if (problem_.workload().IsTraining()) return breakdown;
  for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
    if (!problem_.workload().HasPhase(phase)) continue;
    const std::vector<StageUse> stages = UseOf(PassMaker(problem_, strategy, phase, options_));
    double computing_s = 0, exposed_s = 0;
    auto stage = stages.begin();
    for (StageTime& time : breakdown.stages) {
      if (time.phase != phase) continue;
      time.time_s = ToSeconds(stage->end - stage->begin);
      computing_s += ToSeconds(stage->computing);
      exposed_s += ToSeconds(stage->Exposed());
      ++stage;
    }
    double rows_s[2] = {0, 0};  // Of kernels and of collectives.
    for (const BreakdownRow& row : breakdown.rows)
      rows_s[row.collective ? 1 : 0] += row.phase == phase ? row.time_s : 0;
    for (BreakdownRow& row : breakdown.rows) {
      if (row.phase != phase || row.time_s <= 0) continue;
      row.time_s *= row.collective ? exposed_s / rows_s[1] : computing_s / rows_s[0];
    }
  }
  return breakdown;
}

}  // namespace shardscout::env
