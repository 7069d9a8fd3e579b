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
#include "env/searcher_config.h"
#include "experiments/guarded_main.h"
#include "experiments/pretrain/lesson_search.h"
#include "experiments/pretrain/teacher.h"
#include "shardscout/run_search.h"

namespace shardscout::pretrain {
namespace {

/// The lesson and what the policy asked for, each strategy once, scores over the best of both.
Lesson Practised(const Lesson& lesson, agents::PpoSearcher& policy, const EvaluatorRegistry& evaluators,
                 std::int64_t budget) {
  LessonSearch search(lesson.seed, lesson.strategies.front(), evaluators, budget);
  const SearchEnvironment& environment = search.environment();
  policy.Search(search.environment(), lesson.seed);
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

constexpr int kFirstFile = 5;

/// Scores have six digits in lessons.
constexpr double kBeaten = 1e-5;

int Main(int argc, char** argv) {
  if (argc <= kFirstFile) {
    std::cerr << "usage: pretrain_practice WEIGHTS BUDGET SETTINGS OUT LESSONS...\n"
                 "SETTINGS: of ppo, as JSON, such as '{}'.\n";
    return 2;
  }
  const auto config = env::ReadSettings<agents::PpoConfig>({argv[3], "SETTINGS", {}});
  agents::PpoSearcher policy(config, "ppo",
                             std::make_shared<const agents::PretrainedWeights>(agents::ReadPretrainedWeights(argv[1])));
  const std::int64_t budget = std::strtoll(argv[2], nullptr, 10);
  EvaluatorRegistry evaluators;
  RegisterBuiltinEvaluators(evaluators);
  std::set<std::uint64_t> known;
  std::ifstream before(argv[4]);
  for (std::string line; std::getline(before, line);) known.insert(ParseLesson(line).seed);
  before.close();
  std::ofstream out(argv[4], std::ios::app);
  const auto start = std::chrono::steady_clock::now();
  std::int64_t searched = 0, beaten = 0;
  for (int i = kFirstFile; i < argc; ++i) {
    std::ifstream in(argv[i]);
    for (std::string line; std::getline(in, line);) {
      const Lesson lesson = ParseLesson(line);
      if (known.contains(lesson.seed) || lesson.strategies.empty()) continue;
      const Lesson practised = Practised(lesson, policy, evaluators, budget);
      const auto teachers = std::find(practised.strategies.begin(), practised.strategies.end(), lesson.strategies[0]);
      const double worth = practised.scores[static_cast<std::size_t>(teachers - practised.strategies.begin())];
      ++searched;
      beaten += worth < 1 - kBeaten ? 1 : 0;
      out << ToLine(practised) << std::endl;
    }
  }
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
  std::cout << searched << " problems, the lesson's best strategy beaten on " << beaten << ": " << spent.count()
            << " s\n";
  return 0;
}

}  // namespace
}  // namespace shardscout::pretrain

int main(int argc, char** argv) {
  return shardscout::GuardedMain([&] { return shardscout::pretrain::Main(argc, argv); });
}
