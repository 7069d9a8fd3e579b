// The exact solver against the brute force over whole spaces, and what else its proof rests on.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "baselines/exact/branching.h"
#include "baselines/exact/solver.h"
#include "shardscout/error.h"
#include "shardscout/evaluator.h"
#include "shardscout/pareto.h"
#include "shardscout/random.h"
#include "shardscout/run_search.h"
#include "shardscout/searcher.h"
#include "tests/baselines/random_problems.h"
#include "tests/builtin_registries.h"
#include "tests/tiny_problems.h"

namespace shardscout::baselines::exact {
namespace {

constexpr std::int64_t kMostMembers = 8000;

std::unique_ptr<Evaluator> Analytical(const Problem& problem) {
  EvaluatorRegistry registry;
  RegisterBuiltinEvaluators(registry);
  return registry.Make("analytical", problem);
}

Answer SolveAll(const StrategySpace& space, int threads = 1, int nodes_at_a_time = 64) {
  return Solve(space, threads, nodes_at_a_time, [](const auto&, double) { return true; });
}

/// The worth of every feasible member that no other one covers, by rising latency, found without a Staircase.
std::vector<Worth> FrontOf(const StrategySpace& space) {
  const std::unique_ptr<Evaluator> evaluator = Analytical(space.problem());
  std::vector<Worth> all;
  space.ForEach([&](const Strategy& strategy) {
    const Evaluation evaluation = evaluator->Evaluate(strategy);
    if (!evaluation.Feasible()) return true;
    all.push_back({ScoreOf(space.problem(), evaluation), LatencyOf(evaluation, space.problem().workload())});
    return true;
  });
  // Those of least latency first, of them the best first: then only what scores more than all before is on the front.
  std::sort(all.begin(), all.end(), [](const Worth& a, const Worth& b) {
    return a.latency_s != b.latency_s ? a.latency_s < b.latency_s : a.score > b.score;
  });
  std::vector<Worth> front;
  for (const Worth& worth : all) {
    if (front.empty() || worth.score > front.back().score) front.push_back(worth);
  }
  return front;
}

/// The best of all members, the first of equal ones; how many there are, and how many feasible ones.
struct BruteForce {
  std::optional<Candidate> best;
  std::int64_t members = 0;
  std::int64_t feasible = 0;
};
BruteForce EvaluateAll(const StrategySpace& space) {
  const std::unique_ptr<Evaluator> evaluator = Analytical(space.problem());
  BruteForce all;
  space.ForEach([&](const Strategy& strategy) {
    const Evaluation evaluation = evaluator->Evaluate(strategy);
    ++all.members;
    if (!evaluation.Feasible()) return true;
    ++all.feasible;
    const double score = ScoreOf(space.problem(), evaluation);
    if (!all.best || score > all.best->worth.score) all.best = Candidate{strategy, evaluation, {score}};
    return true;
  });
  return all;
}

bool IsSmall(const StrategySpace& space) {
  std::int64_t members = 0;
  space.ForEach([&](const Strategy&) { return ++members <= kMostMembers; });
  return members <= kMostMembers;
}

/// Fixes variables of a random member one by one until the space is small enough for brute force.
std::optional<Problem> Narrowed(Rng& rng, const Problem& wide) {
  ProblemOptions options;
  for (;;) {
    try {
      const Problem problem(wide.model(), wide.cluster(), wide.workload(), options);
      const StrategySpace space(problem);
      if (IsSmall(space)) return problem;
      const Strategy member = space.Sample(rng);
      // Degrees rarely: they are what the tree branches over.
      const int variable = static_cast<int>(rng.Below(static_cast<std::uint64_t>(space.NumVariables())));
      if (variable < static_cast<int>(Variable::kResidualLayout) && rng.Below(3) != 0) continue;
      if (variable == static_cast<int>(Variable::kOverlap)) continue;
      options.fixed[VariableName(variable)] = ValueName(variable, GetVariable(member, variable));
    } catch (const SpecError&) {
      return std::nullopt;  // What was fixed, or the batch, leaves nothing.
    }
  }
}

/// Limits among the values that occur, so that they cut through the space.
Problem Limited(Rng& rng, const Problem& problem) {
  const StrategySpace space(problem);
  const std::unique_ptr<Evaluator> evaluator = Analytical(problem);
  WorkloadSpec workload = problem.workload();
  ClusterSpec cluster = problem.cluster();
  const auto sample = [&] { return evaluator->Evaluate(space.Sample(rng)); };
  if (rng.Below(2) == 0) {
    cluster.device.hbm_bytes = sample().memory.TotalBytes() / workload.memory_fraction * (rng.Below(2) == 0 ? 1 : 0.5);
  }
  if (workload.IsTraining()) return Problem(problem.model(), cluster, workload, problem.options());
  if (rng.Below(3) == 0 && workload.HasPhase(Phase::kPrefill)) workload.ttft_target_s = sample().metrics.ttft_s;
  if (rng.Below(3) == 0 && workload.HasPhase(Phase::kDecode)) workload.tpot_target_s = sample().metrics.tpot_s;
  return Problem(problem.model(), cluster, workload, problem.options());
}

std::string Describe(const Problem& problem) {
  std::string text = problem.model().name + " x " + std::to_string(problem.model().num_layers) + " on " +
                     std::to_string(problem.cluster().num_devices) + ", " +
                     std::string(ToString(problem.workload().kind)) + ", " +
                     std::string(ToString(problem.workload().objective));
  for (const auto& [name, value] : problem.options().fixed) text += ", " + name + "=" + value;
  return text;
}

class ExactAgainstBruteForceTest : public ::testing::TestWithParam<int> {};

/// What kinds of problems were compared.
struct Tally {
  int solved = 0, infeasible = 0, limited = 0;
};

/// The solver's value is the brute force's, to the last bit, and it says infeasible exactly where nothing is feasible.
void Compare(Rng& rng, const Problem& problem, const std::string& name, Tally& tally) {
  const StrategySpace space(problem);
  const BruteForce all = EvaluateAll(space);
  const Answer answer = SolveAll(space, 1, 1 + static_cast<int>(rng.Below(64)));
  SCOPED_TRACE(name + ": " + Describe(problem) + ", " + std::to_string(all.members) + " strategies");
  ++tally.solved;
  tally.infeasible += all.best ? 0 : 1;
  tally.limited += all.feasible > 0 && all.feasible < all.members ? 1 : 0;
  ASSERT_TRUE(answer.proved);
  ASSERT_EQ(answer.best.has_value(), all.best.has_value());
  if (!answer.best) return;
  EXPECT_EQ(space.WhyNot(answer.best->strategy), "") << ToShortString(answer.best->strategy);
  EXPECT_EQ(Analytical(problem)->Evaluate(answer.best->strategy), answer.best->evaluation);
  EXPECT_EQ(answer.best->worth.score, all.best->worth.score)
      << "found " << ToShortString(answer.best->strategy) << "\nbest  " << ToShortString(all.best->strategy);
  EXPECT_EQ(answer.bound_score, answer.best->worth.score);
}

TEST_P(ExactAgainstBruteForceTest, Equal) {
  constexpr int kProblems = 75;
  Tally tally;
  for (std::uint64_t seed = 1; tally.solved < kProblems; ++seed) {
    Rng rng = Rng::Stream(seed, "part " + std::to_string(GetParam()));
    const std::optional<Problem> narrowed = Narrowed(rng, testing::RandomProblem(rng));
    if (narrowed) Compare(rng, Limited(rng, *narrowed), "seed " + std::to_string(seed), tally);
  }
  // The problems are of all kinds.
  EXPECT_GE(tally.infeasible, 1);
  EXPECT_GE(tally.limited, 15);
}

TEST_P(ExactAgainstBruteForceTest, EqualInTraining) {
  constexpr int kProblems = 50;
  Tally tally;
  for (std::uint64_t seed = 1; tally.solved < kProblems; ++seed) {
    Rng rng = Rng::Stream(seed, "training, part " + std::to_string(GetParam()));
    const std::optional<Problem> narrowed = Narrowed(rng, testing::InTraining(rng, testing::RandomProblem(rng)));
    if (narrowed) Compare(rng, Limited(rng, *narrowed), "seed " + std::to_string(seed), tally);
  }
  EXPECT_GE(tally.limited, 10);
}

/// So is its front: every point of it and none else, to the last bit.
TEST_P(ExactAgainstBruteForceTest, EqualFronts) {
  constexpr int kProblems = 50;
  int solved = 0;
  int wide = 0;
  int limited = 0;
  for (std::uint64_t seed = 1; solved < kProblems; ++seed) {
    Rng rng = Rng::Stream(seed, "front, part " + std::to_string(GetParam()));
    const std::optional<Problem> narrowed = Narrowed(rng, testing::RandomProblem(rng));
    if (!narrowed || narrowed->workload().objective == Objective::kLatency) continue;
    const Problem problem = Limited(rng, *narrowed);
    const StrategySpace space(problem);
    const std::vector<Worth> expected = FrontOf(space);
    const FrontAnswer answer = SolveFront(space, 1, 1 + static_cast<int>(rng.Below(64)), [] { return true; });
    SCOPED_TRACE("seed " + std::to_string(seed) + ": " + Describe(problem));
    ++solved;
    wide += expected.size() > 2 ? 1 : 0;
    limited += problem.workload().tpot_target_s || problem.workload().ttft_target_s ? 1 : 0;
    ASSERT_TRUE(answer.proved);
    ASSERT_EQ(answer.front.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      EXPECT_EQ(answer.front[i].worth, expected[i]);
      EXPECT_EQ(space.WhyNot(answer.front[i].strategy), "");
      EXPECT_EQ(Analytical(problem)->Evaluate(answer.front[i].strategy), answer.front[i].evaluation);
    }
  }
  EXPECT_GE(wide, 10);
  EXPECT_GE(limited, 10);
}

INSTANTIATE_TEST_SUITE_P(Parts, ExactAgainstBruteForceTest, ::testing::Range(1, 5));

class ExactForFrameworkTest : public ::testing::TestWithParam<Framework> {};

/// The same of the strategies that one framework runs.
TEST_P(ExactForFrameworkTest, Equal) {
  constexpr int kProblems = 40;
  constexpr double kFewEnough = 20000;
  int solved = 0, feasible = 0;
  for (std::uint64_t seed = 1; solved < kProblems; ++seed) {
    Rng rng = Rng::Stream(seed, "exact for " + std::string(ToString(GetParam())));
    const Problem drawn = testing::RandomProblemFor(GetParam(), rng, seed);
    ProblemOptions options = drawn.options();
    options.framework = GetParam();
    const Problem framed(drawn.model(), drawn.cluster(), drawn.workload(), options);
    try {
      if (StrategySpace(framed).Size().strategies > kFewEnough) continue;
    } catch (const SpecError&) {  // It runs the model in no way.
      continue;
    }
    const Problem problem = Limited(rng, framed);
    const StrategySpace space(problem);
    const BruteForce all = EvaluateAll(space);
    const Answer answer = SolveAll(space, 1, 1 + static_cast<int>(rng.Below(64)));
    SCOPED_TRACE("seed " + std::to_string(seed) + ": " + Describe(problem) + ", " + std::to_string(all.members) +
                 " strategies");
    ++solved;
    ASSERT_TRUE(answer.proved);
    ASSERT_EQ(answer.best.has_value(), all.best.has_value());
    if (!answer.best) continue;
    ++feasible;
    EXPECT_EQ(space.WhyNot(answer.best->strategy), "") << ToShortString(answer.best->strategy);
    EXPECT_EQ(answer.best->worth.score, all.best->worth.score)
        << "found " << ToShortString(answer.best->strategy) << "\nbest  " << ToShortString(all.best->strategy);
  }
  EXPECT_GE(feasible, 20);
}

INSTANTIATE_TEST_SUITE_P(All, ExactForFrameworkTest,
                         ::testing::ValuesIn(AllFrameworks().begin(), AllFrameworks().end()));

Problem Preset(const std::string& model, std::int64_t devices, const std::string& workload,
               ProblemOptions options = {}) {
  return Problem(LoadModel(model), LoadCluster("h100-sxm", devices), LoadWorkload(workload), std::move(options));
}

TEST(ExactTest, TheSameWhateverTheThreads) {
  const Problem problem = Preset("mixtral-8x22b", 64, "decode-chat");
  const StrategySpace space(problem);
  const Answer one = SolveAll(space, 1);
  const Answer two = SolveAll(space, 2);
  ASSERT_TRUE(one.best && two.best);
  EXPECT_EQ(one.best->strategy, two.best->strategy);
  EXPECT_EQ(one.expanded, two.expanded);
}

TEST(ExactTest, TheFrontIsTheSameWhateverTheThreads) {
  const Problem problem = Preset("mixtral-8x22b", 32, "decode-chat");
  const StrategySpace space(problem);
  const FrontAnswer one = SolveFront(space, 1, 16, [] { return true; });
  const FrontAnswer two = SolveFront(space, 2, 16, [] { return true; });
  ASSERT_EQ(one.front.size(), two.front.size());
  for (std::size_t i = 0; i < one.front.size(); ++i) EXPECT_EQ(one.front[i].strategy, two.front[i].strategy);
  EXPECT_EQ(one.expanded, two.expanded);
}

/// Whatever the limit of latency, the best strategy within it is the front's last point within it.
TEST(ExactTest, EachPointOfTheFrontIsTheBestWithinItsLatency) {
  const WorkloadSpec workload = LoadWorkload("decode-chat");
  const auto with_target = [&](const std::optional<double>& tpot_s) {
    WorkloadSpec limited = workload;
    limited.tpot_target_s = tpot_s;
    return Problem(LoadModel("qwen3-30b-a3b"), LoadCluster("h100-sxm", 16), limited);
  };
  const Problem unlimited = with_target(std::nullopt);
  const StrategySpace space(unlimited);
  const FrontAnswer answer = SolveFront(space, 2, 64, [] { return true; });
  ASSERT_GE(answer.front.size(), 5U);
  for (std::size_t i = 0; i < answer.front.size(); i += 3) {
    const Problem limited = with_target(answer.front[i].worth.latency_s);
    const StrategySpace limited_space(limited);
    EXPECT_EQ(SolveAll(limited_space, 2).best->worth.score, answer.front[i].worth.score);
  }
}

/// Cut short after any number of batches, it has a bound that the optimum keeps, and the bounds only fall.
TEST(ExactTest, EndedEarlyItsBoundHolds) {
  const Problem problem = Preset("qwen3-235b-a22b", 64, "decode-chat");
  const StrategySpace space(problem);
  const double optimum = SolveAll(space).best->worth.score;
  double last = std::numeric_limits<double>::infinity();
  bool proved = false;
  for (int batches = 0; !proved; batches = 2 * batches + 1) {
    int left = batches;
    const Answer answer = Solve(space, 1, 16, [&](const auto&, double) { return left-- > 0; });
    proved = answer.proved;
    EXPECT_GE(answer.bound_score, optimum);
    EXPECT_LE(answer.bound_score, last);
    if (answer.best) {
      EXPECT_LE(answer.best->worth.score, optimum);
    }
    last = answer.bound_score;
  }
  EXPECT_EQ(last, optimum);
}

/// More of what a cluster has never makes the proved optimum worse.
TEST(ExactTest, TheOptimumGrowsWithTheCluster) {
  const WorkloadSpec workload = LoadWorkload("decode-chat");
  const auto optimum = [&](const std::function<void(ClusterSpec&)>& change) {
    ClusterSpec cluster = LoadCluster("h100-sxm", 32);
    change(cluster);
    const Problem problem(LoadModel("mixtral-8x22b"), cluster, workload);
    const StrategySpace space(problem);
    return SolveAll(space).best->worth.score;
  };
  const double as_is = optimum([](ClusterSpec&) {});
  EXPECT_GE(optimum([](ClusterSpec& c) { c.device.hbm_bytes *= 1.5; }), as_is);
  EXPECT_GE(optimum([](ClusterSpec& c) { c.device.hbm_bytes_per_s *= 2; }), as_is);
  EXPECT_GE(optimum([](ClusterSpec& c) { c.tiers[1].bytes_per_s *= 4; }), as_is);
  EXPECT_LE(optimum([](ClusterSpec& c) { c.device.curves.gemm_bf16.launch_s *= 10; }), as_is);
}

void AddAll(const Staircase& more, Staircase& found) {
  for (const Candidate& candidate : more.steps()) found.Add(candidate);
}

/// All that the nodes below find, whatever others found. No bound on the way is less than what is below it.
Staircase FoundBelow(const Branching& branching, const Node& node) {
  const Expansion expansion = branching.Expand(node, {});
  Staircase found = expansion.found;
  for (const Node& child : expansion.children) AddAll(FoundBelow(branching, child), found);
  for (const Candidate& candidate : found.steps()) {
    EXPECT_EQ(Loosest(node.bound, candidate.worth), node.bound)
        << "level " << static_cast<int>(node.level) << ", tp " << node.shape.tp << " cp " << node.shape.cp
        << " requests " << node.shape.requests << " ep " << node.mesh.ep << " etp " << node.mesh.etp << " pp "
        << node.pp;
  }
  return found;
}

Staircase FoundInTree(const StrategySpace& space, Goal goal) {
  const Branching branching(space, goal);
  Staircase found;
  for (const Node& root : branching.Roots()) AddAll(FoundBelow(branching, root), found);
  return found;
}

double BestOfTree(const StrategySpace& space) {
  const Staircase found = FoundInTree(space, Goal::kBest);
  return found.steps().empty() ? 0 : found.steps().front().worth.score;
}

TEST(BranchingTest, NothingBelowANodeIsWorthMoreThanItsBound) {
  int feasible = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(seed);
    const std::optional<Problem> narrowed = Narrowed(rng, testing::RandomProblem(rng));
    if (!narrowed) continue;
    const Problem problem = Limited(rng, *narrowed);
    const StrategySpace space(problem);
    const BruteForce all = EvaluateAll(space);
    EXPECT_EQ(BestOfTree(space), all.best ? all.best->worth.score : 0);
    FoundInTree(space, Goal::kFront);
    feasible += all.best ? 1 : 0;
  }
  EXPECT_GE(feasible, 20);
}

/// Without the dense FFN's group tp the degrees that are admitted begin at two data parallel ranks, and three use more
/// of three devices than two do.
TEST(BranchingTest, NorWhereTheFfnSpansTheStage) {
  for (std::int64_t devices : {2, 3, 5, 9}) {
    SCOPED_TRACE(std::to_string(devices) + " devices");
    ProblemOptions options;
    options.fixed = {{"dense_ffn_group", "stage"}, {"tensor_parallel_size", "1"}, {"pipeline_parallel_size", "1"}};
    WorkloadSpec workload = LoadWorkload("decode-chat");
    workload.max_batch_size = 64;
    const Problem problem(LoadModel("llama-3.1-8b"), LoadCluster("h100-sxm", devices), workload, options);
    const StrategySpace space(problem);
    EXPECT_EQ(BestOfTree(space), EvaluateAll(space).best->worth.score);
  }
}

TEST(ExactTest, WritesItsProofIntoThePlan) {
  const Problem problem = testing::SmallProblem(testing::MoeModel(), 8, WorkloadKind::kDecode);
  const SearchReport report = testing::BuiltinRegistries().Run(problem, "exact", 4000);
  EXPECT_EQ(report.status, SearchStatus::kProvenOptimal);
  ASSERT_TRUE(report.plan && report.plan->certificate);
  EXPECT_EQ(report.plan->certificate->value, report.best->evaluation.metrics.throughput_per_device);
  EXPECT_EQ(report.plan->certificate->bound, report.plan->certificate->value);
  EXPECT_EQ(report.plan->certificate->gap, 0);
  EXPECT_EQ(ParsePlan(ToJson(*report.plan), "plan").certificate, report.plan->certificate);
  EXPECT_EQ(testing::BuiltinRegistries().Run(problem, "exact", 1).best->strategy, report.best->strategy);
}

TEST(ExactTest, SaysInfeasible) {
  ClusterSpec cluster = testing::SmallCluster(4);
  cluster.device.hbm_bytes = 1e5;
  const Problem problem(testing::DenseModel(), cluster, testing::SmallWorkload(WorkloadKind::kDecode));
  EXPECT_EQ(testing::BuiltinRegistries().Run(problem, "exact", 100).status, SearchStatus::kProvenInfeasible);
}

TEST(ExactTest, WorksWithItsEvaluatorOnly) {
  testing::BuiltinRegistries registries;
  registries.evaluators.Register("another", "", [](const Problem& problem) { return Analytical(problem); });
  SearchRequest request;
  request.searcher = "exact";
  request.evaluator = "another";
  const Problem problem = testing::SmallProblem(testing::DenseModel(), 4, WorkloadKind::kDecode);
  try {
    RunSearch(problem, request, registries.searchers, registries.evaluators);
    FAIL() << "no error";
  } catch (const SpecError& error) {
    EXPECT_NE(std::string(error.what()).find("analytical"), std::string::npos) << error.what();
  }
}

/// On 20 small clusters: nothing that uses more devices is better than the optimum, however many it leaves idle.
TEST(ExactTest, NoOptimumLeavesDevicesIdleThatABetterStrategyUses) {
  int idle = 0;
  for (std::int64_t devices = 1; devices <= 20; ++devices) {
    ProblemOptions options;
    options.fixed = {{"shardings.embedding", "none"},   {"shardings.lm_head", "none"},
                     {"shardings.attention", "none"},   {"shardings.qkv", "none"},
                     {"residual_layout", "replicated"}, {"context_parallel_size", "1"}};
    WorkloadSpec workload = testing::SmallWorkload(WorkloadKind::kDecode);
    workload.batch_size = 4;
    ModelSpec model = testing::DenseModel();
    model.hidden_size *= 8;
    model.ffn_size *= 64;
    ClusterSpec cluster = testing::SmallCluster(devices);
    cluster.device.hbm_bytes = 1.5e8;  // The weights take two devices and more.
    const Problem problem(model, cluster, workload, options);
    testing::BuiltinRegistries registries;
    const SearchReport all = registries.Run(problem, "exhaustive", 1000000);
    const SearchReport exact = registries.Run(problem, "exact", 100);
    SCOPED_TRACE(std::to_string(devices) + " devices, " + std::to_string(all.evaluations) + " strategies");
    ASSERT_EQ(all.best.has_value() && all.plan.has_value(), exact.plan.has_value());
    if (!all.plan) continue;
    EXPECT_EQ(all.status, SearchStatus::kProvenOptimal);
    EXPECT_EQ(all.best->reward, exact.best->reward);
    idle += all.best->evaluation.metrics.idle_devices > 0 ? 1 : 0;
  }
  EXPECT_GE(idle, 1) << "else the test asks nothing";
}

}  // namespace
}  // namespace shardscout::baselines::exact
