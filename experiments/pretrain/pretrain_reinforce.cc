// PPO after imitation: the weights that `pretrain` wrote draw strategies for the problems of lessons that it learned,
// and learn from what the analytical evaluator makes of them. experiments/README.md has the command.

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "agents/reinforcement.h"
#include "experiments/guarded_main.h"
#include "experiments/pretrain/lesson_search.h"
#include "experiments/pretrain/teacher.h"
#include "shardscout/random.h"
#include "shardscout/run_search.h"

namespace shardscout::pretrain {
namespace {

constexpr int kFirstFile = 5;

/// A problem and the best strategy that is known of it.
struct Known {
  std::uint64_t seed = 0;
  Strategy best;
};

std::vector<Known> ReadKnown(int count, char** paths) {
  std::vector<Known> known;
  for (int i = 0; i < count; ++i) {
    std::ifstream in(paths[i]);
    for (std::string line; std::getline(in, line);) {
      const Lesson lesson = ParseLesson(line);
      if (!lesson.strategies.empty() && !IsHeldOut(lesson.seed)) known.push_back({lesson.seed, lesson.strategies[0]});
    }
  }
  return known;
}

agents::Exercise ExerciseOf(const Known& known, const EvaluatorRegistry& evaluators) {
  constexpr std::int64_t kEnough = 1 << 20;
  const auto search = std::make_shared<LessonSearch>(known.seed, known.best, evaluators, kEnough);
  const auto score = [search](std::span<const Strategy> strategies) {
    std::vector<double> scores;
    for (const Scored& scored : search->environment().Evaluate(strategies)) scores.push_back(scored.reward);
    return scores;
  };
  return {.space = std::shared_ptr<const StrategySpace>(search, &search->space()), .score = score};
}

int Main(int argc, char** argv) {
  if (argc <= kFirstFile) {
    std::cerr << "usage: pretrain_reinforce FROM_WEIGHTS TO_WEIGHTS SEED STEPS LESSONS...\n";
    return 2;
  }
  const auto start = std::chrono::steady_clock::now();
  const std::uint64_t seed = std::strtoull(argv[3], nullptr, 10);
  agents::ReinforcementConfig config;
  config.steps = std::strtoll(argv[4], nullptr, 10);
  std::vector<Known> known = ReadKnown(argc - kFirstFile, argv + kFirstFile);
  Rng rng = Rng::Stream(seed, "exercises");
  rng.Shuffle(known);
  EvaluatorRegistry evaluators;
  RegisterBuiltinEvaluators(evaluators);
  constexpr std::int64_t kReported = 50;
  double mean_of = 0, best_of = 0;
  agents::PretrainedWeights weights = agents::Reinforce(
      agents::ReadPretrainedWeights(argv[1]), config, seed,
      [&](std::int64_t draw) { return ExerciseOf(known[static_cast<std::size_t>(draw) % known.size()], evaluators); },
      [&](std::int64_t step, double mean, double best) {
        mean_of += mean / kReported;
        best_of += best / kReported;
        if ((step + 1) % kReported != 0) return;
        const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
        std::cout << "step " << step + 1 << ": of " << config.samples << " drawn mean " << mean_of << ", best "
                  << best_of << "; " << spent.count() << " s" << std::endl;
        mean_of = best_of = 0;
      });
  weights.origin += "; PPO, " + std::string(argv[4]) + " steps of " + std::to_string(config.problems_a_step) +
                    " problems, seed " + argv[3];
  agents::WritePretrainedWeights(weights, argv[2]);
  return 0;
}

}  // namespace
}  // namespace shardscout::pretrain

int main(int argc, char** argv) {
  return shardscout::GuardedMain([&] { return shardscout::pretrain::Main(argc, argv); });
}
