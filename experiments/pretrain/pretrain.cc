// Pretrains the policy that `ppo` starts from on the lessons of pretrain_lessons, and writes its weights.
// experiments/README.md has the command.

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <set>
#include <string>
#include <vector>

#include "agents/imitation.h"
#include "experiments/guarded_main.h"
#include "experiments/pretrain/random_problem.h"
#include "experiments/pretrain/teacher.h"
#include "shardscout/error.h"
#include "strategies/strategy_features.h"

namespace shardscout::pretrain {
namespace {

constexpr int kFirstFile = 6;

std::vector<Lesson> ReadLessons(int count, char** paths) {
  std::vector<Lesson> lessons;
  for (int i = 0; i < count; ++i) {
    std::ifstream in(paths[i]);
    for (std::string line; std::getline(in, line);) {
      Lesson lesson = ParseLesson(line);
      if (!lesson.strategies.empty()) lessons.push_back(std::move(lesson));
    }
  }
  return lessons;
}

int Main(int argc, char** argv) {
  if (argc <= kFirstFile) {
    std::cerr << "usage: pretrain WEIGHTS SEED EPOCHS WIDTH INNER_WIDTH LESSONS...\n";
    return 2;
  }
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  const std::vector<Lesson> lessons = ReadLessons(argc - kFirstFile, argv + kFirstFile);
  std::set<std::string> names;
  std::size_t proved = 0;
  for (const Lesson& lesson : lessons) {
    const Problem problem = RandomProblem(lesson.seed);
    for (const std::string& name : StrategyFeatureNames(StrategySpace(problem))) names.insert(name);
    proved += lesson.proved ? 1 : 0;
  }
  agents::ImitationConfig config;
  config.epochs = std::strtoll(argv[3], nullptr, 10);
  config.width = std::strtoull(argv[4], nullptr, 10);
  config.inner_width = std::strtoull(argv[5], nullptr, 10);
  agents::Imitation imitation({names.begin(), names.end()}, config);
  for (const Lesson& lesson : lessons) {
    const Problem problem = RandomProblem(lesson.seed);
    imitation.Add(StrategySpace(problem), lesson.strategies, lesson.scores, IsHeldOut(lesson.seed));
  }
  std::cout << lessons.size() << " lessons, " << proved << " with a proved optimum, " << names.size()
            << " features of a strategy, read in " << seconds() << " s\n";
  agents::PretrainedWeights weights = imitation.Train(
      std::strtoull(argv[2], nullptr, 10), [&](std::int64_t epoch, const auto& learned, const auto& held) {
        std::cout << "epoch " << epoch + 1 << ": policy " << learned.policy << " nats, value " << learned.value
                  << "; held out " << held.policy << " nats, " << held.value << "; " << seconds() << " s" << std::endl;
      });
  weights.origin = "imitation of " + std::to_string(lessons.size()) + " random problems' best strategies, seed " +
                   std::string(argv[2]) + ", " + std::string(argv[3]) + " epochs";
  agents::WritePretrainedWeights(weights, argv[1]);
  return 0;
}

}  // namespace
}  // namespace shardscout::pretrain

int main(int argc, char** argv) {
  return shardscout::GuardedMain([&] { return shardscout::pretrain::Main(argc, argv); });
}
