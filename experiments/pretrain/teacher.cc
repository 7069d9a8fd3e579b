#include "experiments/pretrain/teacher.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "experiments/pretrain/random_problem.h"
#include "shardscout/run_search.h"
#include "strategies/local_moves.h"
#include "strategies/sharding_templates.h"

namespace shardscout::pretrain {
namespace {

constexpr std::size_t kKeptBest = 120, kKeptOthers = 120, kNiches = 6;

std::vector<Strategy> AllMoves(const StrategySpace& space, const Strategy& from) {
  std::vector<Strategy> moves;
  for (int group = 0; group < NumMoveGroups(space); ++group) {
    for (Strategy& move : Moves(space, from, group)) moves.push_back(move);
  }
  return moves;
}

/// The best strategy of each of the best tuples of degrees.
std::vector<Strategy> BestNiches(const SearchEnvironment& environment, std::size_t count) {
  std::vector<Strategy> niches;
  std::set<std::vector<std::int64_t>> seen;
  for (const Scored& scored : environment.Top(std::numeric_limits<std::size_t>::max())) {
    std::vector<std::int64_t> degrees;
    for (int v = 0; v < static_cast<int>(Variable::kBatchSize); ++v) degrees.push_back(GetVariable(scored.strategy, v));
    if (seen.insert(degrees).second) niches.push_back(scored.strategy);
    if (niches.size() == count) break;
  }
  return niches;
}

void Explore(SearchEnvironment& environment, Rng& rng) {
  const StrategySpace& space = environment.space();
  const std::vector<Strategy> templates = ShardingTemplates();
  std::vector<Strategy> samples;
  for (int i = 0; i < 150; ++i) {
    const Strategy sample = space.Sample(rng);
    const Strategy& layers = templates[rng.Below(templates.size())];
    samples.push_back(i % 3 == 0 ? sample : WithLayers(space, WithRoundedDegrees(space, sample), layers));
  }
  environment.Evaluate(samples);
  for (const Strategy& niche : BestNiches(environment, kNiches)) {
    if (environment.Remaining() > 0) environment.Evaluate(AllMoves(space, niche));
  }
}

double NormaliserOf(const StrategySpace& space, const Evaluator& evaluator) {
  const MegatronAnswer answer = MegatronRule(space, [&](const Strategy& s) { return evaluator.Evaluate(s); });
  const WorkloadSpec& workload = space.problem().workload();
  return ObjectiveOf(answer.evaluation, workload.objective, workload.kind).value;
}

}  // namespace

Lesson Solve(std::uint64_t seed, std::int64_t budget, double exact_limit_s) {
  SearcherRegistry searchers;
  RegisterBuiltinSearchers(searchers);
  EvaluatorRegistry evaluators;
  RegisterBuiltinEvaluators(evaluators);
  const Problem problem = RandomProblem(seed);
  Lesson lesson;
  lesson.seed = seed;
  const StrategySpace space(problem);
  const auto evaluator = evaluators.Make("analytical", problem);
  EnvironmentOptions options;
  options.budget = budget;
  options.threads = 1;
  if (exact_limit_s > 0) {
    SearchRequest request;
    request.searcher = "exact";
    request.budget = std::int64_t{1} << 40;
    request.time_limit_s = exact_limit_s;
    request.threads = 1;
    const SearchReport exact = RunSearch(problem, request, searchers, evaluators);
    lesson.proved = exact.status == SearchStatus::kProvenOptimal;
    if (exact.plan) options.start = {exact.best->strategy};
  }
  options.normaliser = NormaliserOf(space, *evaluator);
  SearchEnvironment environment(space, *evaluator, options);
  Rng rng = Rng::Stream(seed, "teacher");
  Explore(environment, rng);
  searchers.Make("local-search")->Search(environment, seed);
  std::vector<Scored> all = environment.Top(std::numeric_limits<std::size_t>::max());
  const double best = all.front().reward;
  if (best <= 0) return lesson;
  std::vector<Scored> others(all.begin() + static_cast<std::ptrdiff_t>(std::min(all.size(), kKeptBest)), all.end());
  rng.Shuffle(others);
  all.resize(std::min(all.size(), kKeptBest));
  others.resize(std::min(others.size(), kKeptOthers));
  all.insert(all.end(), others.begin(), others.end());
  for (const Scored& scored : all) {
    lesson.strategies.push_back(scored.strategy);
    lesson.scores.push_back(scored.reward > 0 ? scored.reward / best : scored.reward);
  }
  return lesson;
}

std::string ToLine(const Lesson& lesson) {
  nlohmann::json strategies = nlohmann::json::array();
  for (const Strategy& strategy : lesson.strategies) {
    std::vector<std::int64_t> values;
    for (int v = 0; v < kNumVariables; ++v) values.push_back(GetVariable(strategy, v));
    strategies.push_back(values);
  }
  std::vector<double> scores;  // Six digits: files of thousands of lessons.
  for (const double score : lesson.scores) scores.push_back(std::round(score * 1e6) / 1e6);
  return nlohmann::json{
      {"seed", lesson.seed}, {"proved", lesson.proved}, {"strategies", strategies}, {"scores", scores}}
      .dump();
}

Lesson ParseLesson(const std::string& line) {
  const nlohmann::json json = nlohmann::json::parse(line);
  Lesson lesson;
  lesson.seed = json.at("seed");
  lesson.proved = json.at("proved");
  lesson.scores = json.at("scores").get<std::vector<double>>();
  for (const nlohmann::json& values : json.at("strategies")) {
    Strategy strategy;
    for (int v = 0; v < kNumVariables; ++v) SetVariable(strategy, v, values.at(static_cast<std::size_t>(v)));
    lesson.strategies.push_back(strategy);
  }
  return lesson;
}

}  // namespace shardscout::pretrain
