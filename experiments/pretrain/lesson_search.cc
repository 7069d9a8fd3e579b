#include "experiments/pretrain/lesson_search.h"

#include "experiments/pretrain/random_problem.h"
#include "shardscout/reward.h"

namespace shardscout::pretrain {

LessonSearch::LessonSearch(std::uint64_t seed, const Strategy& best, const EvaluatorRegistry& evaluators,
                           std::int64_t budget)
    : problem_(RandomProblem(seed)), space_(problem_), evaluator_(evaluators.Make("analytical", problem_)) {
  const WorkloadSpec& workload = problem_.workload();
  EnvironmentOptions options;
  options.budget = budget;
  options.threads = 1;
  options.normaliser = ObjectiveOf(evaluator_->Evaluate(best), workload.objective, workload.kind).value;
  environment_ = std::make_unique<SearchEnvironment>(space_, *evaluator_, options);
}

}  // namespace shardscout::pretrain
