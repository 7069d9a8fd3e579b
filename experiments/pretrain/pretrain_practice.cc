// The policy's own part of pretraining: `ppo` with weights that it has searches the problems of lessons, and what it
// asked for is added to them. Where it was too hopeful, its values learn that; where it beat the teacher, the teacher's
// strategies are worth less. One line of JSON each. Resumable: problems that OUT has are not searched again.
// experiments/README.md has the command.

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "agents/ppo_searcher.h"
#include "experiments/guarded_main.h"
#include "experiments/pretrain/random_problem.h"
#include "experiments/pretrain/teacher.h"
#include "shardscout/reward.h"
#include "shardscout/run_search.h"

namespace shardscout::pretrain {
namespace {

/// The lesson and what the policy asked for, each strategy once, scores over the best of both.
Lesson Practised(const Lesson& lesson, const std::shared_ptr<const agents::PretrainedWeights>& weights,
                 const EvaluatorRegistry& evaluators, std::int64_t budget) {
  if (lesson.strategies.empty()) return lesson;
  const Problem problem = RandomProblem(lesson.seed);
  const StrategySpace space(problem);
  const auto evaluator = evaluators.Make("analytical", problem);
  const WorkloadSpec& workload = problem.workload();
  EnvironmentOptions options;
  options.budget = budget;
  options.threads = 1;
  options.normaliser =
      ObjectiveOf(evaluator->Evaluate(lesson.strategies.front()), workload.objective, workload.kind).value;
  SearchEnvironment environment(space, *evaluator, options);
  agents::PpoSearcher({}, "ppo", weights).Search(environment, lesson.seed);
  std::vector<Scored> all = environment.Top(std::numeric_limits<std::size_t>::max());
  for (std::size_t i = 0; i < lesson.strategies.size(); ++i) {
    if (!environment.Known(lesson.strategies[i])) {
      all.push_back({.strategy = lesson.strategies[i], .evaluation = {}, .reward = lesson.scores[i]});
    }
  }
  std::stable_sort(all.begin(), all.end(), [](const Scored& a, const Scored& b) { return a.reward > b.reward; });
  Lesson practised;
  practised.seed = lesson.seed;
  practised.proved = lesson.proved;
  for (const Scored& scored : all) {
    practised.strategies.push_back(scored.strategy);
    practised.scores.push_back(scored.reward > 0 ? scored.reward / all.front().reward : scored.reward);
  }
  return practised;
}

int Main(int argc, char** argv) {
  if (argc < 5) {
    std::cerr << "usage: pretrain_practice WEIGHTS BUDGET OUT LESSONS...\n";
    return 2;
  }
  const auto weights = std::make_shared<const agents::PretrainedWeights>(agents::ReadPretrainedWeights(argv[1]));
  const std::int64_t budget = std::strtoll(argv[2], nullptr, 10);
  EvaluatorRegistry evaluators;
  RegisterBuiltinEvaluators(evaluators);
  std::set<std::uint64_t> practised;
  std::ifstream known(argv[3]);
  for (std::string line; std::getline(known, line);) practised.insert(ParseLesson(line).seed);
  known.close();
  std::ofstream out(argv[3], std::ios::app);
  const auto start = std::chrono::steady_clock::now();
  std::int64_t count = 0;
  for (int i = 4; i < argc; ++i) {
    std::ifstream in(argv[i]);
    for (std::string line; std::getline(in, line); ++count) {
      const Lesson lesson = ParseLesson(line);
      if (!practised.contains(lesson.seed)) out << ToLine(Practised(lesson, weights, evaluators, budget)) << std::endl;
    }
  }
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
  std::cout << count << " problems: " << spent.count() << " s\n";
  return 0;
}

}  // namespace
}  // namespace shardscout::pretrain

int main(int argc, char** argv) {
  return shardscout::GuardedMain([&] { return shardscout::pretrain::Main(argc, argv); });
}
