// How good pretrained weights are where they were not trained: `ppo` with them on the random problems of the lessons
// that `pretrain` holds out, one row of CSV a problem and seed, and a summary behind them. Settings of the agent and of
// pretraining are chosen by it. experiments/README.md has the command.

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "agents/ppo_searcher.h"
#include "env/searcher_config.h"
#include "experiments/guarded_main.h"
#include "experiments/pretrain/random_problem.h"
#include "experiments/pretrain/teacher.h"
#include "shardscout/comparison_statistics.h"
#include "shardscout/run_search.h"

namespace shardscout::pretrain {
namespace {

constexpr std::array<std::size_t, 5> kReadAt = {10, 25, 50, 100, 500};

std::vector<Lesson> HeldOut(const std::string& path, std::size_t limit) {
  std::vector<Lesson> lessons;
  std::ifstream in(path);
  for (std::string line; lessons.size() < limit && std::getline(in, line);) {
    Lesson lesson = ParseLesson(line);
    if (IsHeldOut(lesson.seed) && !lesson.strategies.empty()) lessons.push_back(std::move(lesson));
  }
  return lessons;
}

/// Best so far over the lesson's best after kReadAt evaluations.
std::vector<double> Shares(const SearchReport& report, double best) {
  std::vector<double> shares;
  for (const std::size_t at : kReadAt) {
    const std::size_t last = std::min(at, report.best_so_far.size());
    shares.push_back(last == 0 ? 0 : std::max(0.0, report.best_so_far[last - 1]) / best);
  }
  return shares;
}

std::string Describe(const Problem& problem) {
  const ModelSpec& model = problem.model();
  const ClusterSpec& cluster = problem.cluster();
  std::string text(ToString(problem.workload().kind));
  text += "," + std::string(ToString(problem.workload().objective)) + "," +
          (model.attention.kind == AttentionKind::kMultiLatent ? "latent" : "other");
  text += model.HasMoe() ? "," + std::to_string(model.moe.num_experts) : ",0";
  text +=
      "," + std::to_string(static_cast<int>(cluster.tiers.front().kind)) + "," + std::to_string(cluster.num_devices);
  return text;
}

int Main(int argc, char** argv) {
  if (argc < 5) {
    std::cerr << "usage: judge_policy WEIGHTS LESSONS MOST_PROBLEMS BUDGET [SEEDS [NAME=VALUE...]]\n";
    return 2;
  }
  const auto weights = std::make_shared<agents::PretrainedWeights>(agents::ReadPretrainedWeights(argv[1]));
  const std::vector<Lesson> lessons = HeldOut(argv[2], std::strtoull(argv[3], nullptr, 10));
  const std::uint64_t seeds = argc > 5 ? std::strtoull(argv[5], nullptr, 10) : 1;
  SearcherSettings settings;
  for (int i = 6; i < argc; ++i) settings.assignments.emplace_back(argv[i]);
  const auto config = env::ReadSettings<agents::PpoConfig>(settings);
  SearcherRegistry searchers;
  searchers.Register("ppo", {"",
                             [&](const SearcherSettings&) -> std::unique_ptr<Searcher> {
                               return std::make_unique<agents::PpoSearcher>(config, "ppo", weights);
                             },
                             {}});
  EvaluatorRegistry evaluators;
  RegisterBuiltinEvaluators(evaluators);
  SearchRequest request;
  request.budget = std::strtoll(argv[4], nullptr, 10);
  std::array<std::vector<double>, kReadAt.size()> shares;
  std::cout
      << "problem,seed,proved,workload,objective,attention,experts,tier,devices,at_10,at_25,at_50,at_100,at_500\n";
  for (const Lesson& lesson : lessons) {
    const Problem problem = RandomProblem(lesson.seed);
    const double best = EvaluateStrategy(problem, lesson.strategies.front(), "analytical", evaluators).reward;
    for (request.seed = 1; request.seed <= seeds; ++request.seed) {
      const std::vector<double> shares_of = Shares(RunSearch(problem, request, searchers, evaluators), best);
      std::cout << lesson.seed << "," << request.seed << "," << lesson.proved << "," << Describe(problem);
      for (std::size_t i = 0; i < kReadAt.size(); ++i) {
        std::cout << "," << shares_of[i];
        shares[i].push_back(shares_of[i]);
      }
      std::cout << std::endl;
    }
  }
  for (std::size_t i = 0; i < kReadAt.size() && !shares[i].empty(); ++i) {
    double mean = 0;
    for (const double share : shares[i]) mean += share / static_cast<double>(shares[i].size());
    const auto near = std::count_if(shares[i].begin(), shares[i].end(), [](double share) { return share >= 0.99; });
    std::cout << "# at " << kReadAt[i] << ": interquartile mean " << InterquartileMean(shares[i]) << ", mean " << mean
              << ", at 0.99 or above " << static_cast<double>(near) / static_cast<double>(shares[i].size()) << "\n";
  }
  return 0;
}

}  // namespace
}  // namespace shardscout::pretrain

int main(int argc, char** argv) {
  return shardscout::GuardedMain([&] { return shardscout::pretrain::Main(argc, argv); });
}
