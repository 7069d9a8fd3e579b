// When does the exact answer suffice, and when is there something to search? Of each problem of a suite: how much of
// what the simulator says an additive model explains, and what the proved optimum of the analytical model is worth in
// the simulator. One row of CSV on stdout for each problem. README.md has the command and what the columns mean.

#include <omp.h>

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "experiments/guarded_main.h"
#include "shardscout/error.h"
#include "shardscout/reward.h"
#include "shardscout/run_search.h"
#include "shardscout/search_suite.h"
#include "shardscout/strategy_space.h"

namespace shardscout {
namespace {

constexpr int kSamples = 4000;
constexpr int kSeeds = 5;
constexpr std::int64_t kBudget = 1000;
constexpr int kClimbSteps = 2000;
constexpr double kRidge = 1e-3;

/// Larger is better, in any objective.
double LogValue(const Problem& problem, const Evaluation& evaluation) {
  const ObjectiveValue value = ObjectiveOf(evaluation, problem.workload().objective, problem.workload().kind);
  return (value.larger_is_better ? 1 : -1) * std::log(value.value);
}

double Mean(const Eigen::VectorXd& y) { return y.mean(); }

/// 1 - squared error over variance.
double Explained(const Eigen::VectorXd& y, const Eigen::VectorXd& predicted) {
  return 1 - (y - predicted).squaredNorm() / (y.array() - Mean(y)).matrix().squaredNorm();
}

Eigen::VectorXd Ranks(const Eigen::VectorXd& y) {
  std::vector<Eigen::Index> order(static_cast<std::size_t>(y.size()));
  std::iota(order.begin(), order.end(), Eigen::Index{0});
  std::sort(order.begin(), order.end(), [&](Eigen::Index a, Eigen::Index b) { return y[a] < y[b]; });
  Eigen::VectorXd ranks(y.size());
  for (std::size_t i = 0; i < order.size();) {
    std::size_t end = i;
    while (end < order.size() && y[order[end]] == y[order[i]]) ++end;
    for (std::size_t j = i; j < end; ++j) ranks[order[j]] = 0.5 * static_cast<double>(i + end - 1);
    i = end;
  }
  return ranks;
}

double RankCorrelation(const Eigen::VectorXd& a, const Eigen::VectorXd& b) {
  const Eigen::VectorXd x = (Ranks(a).array() - Mean(Ranks(a))).matrix(),
                        y = (Ranks(b).array() - Mean(Ranks(b))).matrix();
  return x.dot(y) / (x.norm() * y.norm());
}

/// Of the second half of the samples, what the first half's main effects explain: one effect for each value of each
/// decision variable, by least squares.
double AdditiveShare(const StrategySpace& space, const std::vector<Strategy>& samples, const Eigen::VectorXd& y) {
  Eigen::Index width = 1;
  std::vector<Eigen::Index> first;
  for (int v = 0; v < kNumVariables; ++v) {
    first.push_back(width);
    width += static_cast<Eigen::Index>(space.Values(v).size());
  }
  Eigen::MatrixXd x = Eigen::MatrixXd::Zero(y.size(), width);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const auto row = static_cast<Eigen::Index>(i);
    x(row, 0) = 1;
    const Choices choices = space.Encode(samples[i]);
    for (std::size_t v = 0; v < choices.size(); ++v) x(row, first[v] + choices[v]) = 1;
  }
  const Eigen::Index half = y.size() / 2;
  const Eigen::MatrixXd a = x.topRows(half);
  const Eigen::MatrixXd normal = a.transpose() * a + kRidge * Eigen::MatrixXd::Identity(width, width);
  const Eigen::VectorXd effects = normal.ldlt().solve(a.transpose() * y.head(half));
  return Explained(y.tail(y.size() - half), x.bottomRows(y.size() - half) * effects);
}

struct Best {
  Strategy strategy;
  double reward = -1;
  std::string found_by;
};

class Bench {
 public:
  Bench(const SuiteProblem& suite_problem, double skew)
      : name_(suite_problem.name), analytical_problem_(LoadProblem(suite_problem, "suite", nullptr)) {
    WorkloadSpec workload = analytical_problem_.workload();
    workload.expert_skew = skew;
    ProblemOptions options = analytical_problem_.options();
    options.admitted_overlaps = {Overlap::kNone, Overlap::kTwoBatch, Overlap::kChunked};
    simulated_problem_ =
        std::make_unique<Problem>(analytical_problem_.model(), analytical_problem_.cluster(), workload, options);
    RegisterBuiltinSearchers(searchers_);
    RegisterBuiltinEvaluators(evaluators_);
    space_ = std::make_unique<StrategySpace>(*simulated_problem_);
    simulator_ = evaluators_.Make("simulator", *simulated_problem_);
    analytical_ = evaluators_.Make("analytical", *simulated_problem_);
  }

  void Print() {
    Sample();
    const Eigen::VectorXd error = simulated_ - by_analytical_;
    const Strategy optimum = AnalyticalOptimum();
    const Best best = BestKnown(optimum);
    std::cout << name_ << ',' << kSamples << ',' << AdditiveShare(*space_, samples_, simulated_) << ','
              << Explained(simulated_, by_analytical_) << ',' << RankCorrelation(simulated_, by_analytical_) << ','
              << std::exp(Mean(error)) << ',' << std::exp(error.maxCoeff()) << ',' << std::exp(error.minCoeff()) << ',';
    PrintRegret(RewardOf(optimum), best);
    std::cout << ',';
    PrintRegret(RewardOf(WithBestOverlap(optimum)), best);
    std::cout << ',' << best.found_by << ',' << ToString(best.strategy.overlap) << std::endl;
  }

 private:
  double RewardOf(const Strategy& strategy) const {
    const WorkloadSpec& workload = simulated_problem_->workload();
    return Reward(simulator_->Evaluate(strategy), workload.objective, workload.kind, 1);
  }

  void Sample() {
    Rng rng(1);
    while (samples_.size() < kSamples) samples_.push_back(space_->Sample(rng));
    simulated_.resize(kSamples);
    by_analytical_.resize(kSamples);
#pragma omp parallel for schedule(dynamic, 16)
    for (int i = 0; i < kSamples; ++i) {
      const Strategy& s = samples_[static_cast<std::size_t>(i)];
      simulated_[i] = LogValue(*simulated_problem_, simulator_->Evaluate(s));
      by_analytical_[i] = LogValue(*simulated_problem_, analytical_->Evaluate(s));
    }
  }

  static void PrintRegret(double reward, const Best& best) {
    if (reward > 0) {
      std::cout << 1 - reward / best.reward;
    } else {
      std::cout << "infeasible";
    }
  }

  Strategy WithBestOverlap(Strategy strategy) const {
    Strategy best = strategy;
    for (const Overlap overlap : simulated_problem_->options().admitted_overlaps) {
      strategy.overlap = overlap;
      if (RewardOf(strategy) > RewardOf(best)) best = strategy;
    }
    return best;
  }

  Strategy AnalyticalOptimum() {
    SearchRequest request;
    request.searcher = "exact";
    const SearchReport report = RunSearch(analytical_problem_, request, searchers_, evaluators_);
    SHARDSCOUT_CHECK_OP(report.plan.has_value(), ==, true);
    return report.best->strategy;
  }

  /// Of all that is tried: the analytical optimum, the same climbing in the simulator, and searches there.
  Best BestKnown(const Strategy& optimum) {
    Best best;
    const auto consider = [&](const Strategy& strategy, double reward, const char* found_by) {
      if (reward > best.reward) best = {strategy, reward, found_by};
    };
    consider(optimum, RewardOf(optimum), "analytical optimum");
    consider(WithBestOverlap(optimum), RewardOf(WithBestOverlap(optimum)), "its best overlap");
    Strategy at = optimum;
    double at_reward = RewardOf(at);
    Rng rng(1);
    for (int i = 0; i < kClimbSteps; ++i) {
      const Strategy next = space_->Neighbour(at, rng);
      const double reward = RewardOf(next);
      if (reward < at_reward) continue;
      at = next;
      at_reward = reward;
    }
    consider(at, at_reward, "climbing from it");
    for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
      SearchRequest request;
      request.searcher = "local-search";
      request.evaluator = "simulator";
      request.budget = kBudget;
      request.seed = seed;
      const SearchReport report = RunSearch(*simulated_problem_, request, searchers_, evaluators_);
      if (report.best) consider(report.best->strategy, RewardOf(report.best->strategy), "local-search");
    }
    return best;
  }

  std::string name_;
  Problem analytical_problem_;
  std::unique_ptr<Problem> simulated_problem_;
  SearcherRegistry searchers_;
  EvaluatorRegistry evaluators_;
  std::unique_ptr<StrategySpace> space_;
  std::unique_ptr<Evaluator> simulator_, analytical_;
  std::vector<Strategy> samples_;
  Eigen::VectorXd simulated_, by_analytical_;
};

int Main(int argc, char** argv) {
  const SearchSuite suite = LoadSuite(argc > 1 ? argv[1] : "standard");
  const double skew = argc > 2 ? std::stod(argv[2]) : 0;
  std::cout << "problem,strategies,additive_r2,analytical_r2,rank_correlation,mean_ratio,most_ratio,least_ratio,regret,"
               "regret_best_overlap,best_found_by,best_overlap\n";
  for (const SuiteProblem& problem : suite.problems) Bench(problem, skew).Print();
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace shardscout

int main(int argc, char** argv) {
  return shardscout::GuardedMain([&] { return shardscout::Main(argc, argv); });
}
