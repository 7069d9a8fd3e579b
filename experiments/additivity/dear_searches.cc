// What a search in the simulator gains over the proved analytical optimum, where overlap, contention and skewed experts
// break additivity: every searcher starts from that optimum with each overlap, and pays for what it evaluates after
// it. README.md has the commands.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

#include "env/simulator/simulator_evaluator.h"
#include "experiments/guarded_main.h"
#include "shardscout/comparison_statistics.h"
#include "shardscout/error.h"
#include "shardscout/random.h"
#include "shardscout/reward.h"
#include "shardscout/run_search.h"
#include "shardscout/search_suite.h"

namespace shardscout {
namespace {

constexpr double kExpertSkew = 0.5;

/// A searcher, and whether it may ask what the analytical model says of strategies that it has not paid for.
struct Competitor {
  const char* name;
  const char* searcher;
  bool estimates;
};
constexpr Competitor kCompetitors[] = {{"random-walk", "random-walk", false},
                                       {"annealing", "annealing", false},
                                       {"evolution", "evolution", false},
                                       {"local-search", "local-search", false},
                                       {"local-search, estimates", "local-search", true},
                                       {"ppo-from-scratch", "ppo-from-scratch", false},
                                       {"ppo, its own values", "ppo", false},
                                       {"ppo", "ppo", true}};

/// Every measurement of a strategy errs by the same factor, drawn from its seed and the strategy: log-normal.
class NoisyEvaluator final : public Evaluator {
 public:
  NoisyEvaluator(const Evaluator& inner, double deviation, std::uint64_t seed)
      : inner_(inner), deviation_(deviation), seed_(seed) {}
  std::string_view Name() const override { return "noisy"; }
  Breakdown Explain(const Strategy& strategy) const override { return inner_.Explain(strategy); }
  Evaluation Evaluate(const Strategy& strategy) const override {
    Evaluation evaluation = inner_.Evaluate(strategy);
    if (deviation_ == 0) return evaluation;
    Rng rng = Rng::Stream(seed_, "noise." + ToShortString(strategy));
    const double factor = std::exp(deviation_ * rng.Normal());
    Metrics& metrics = evaluation.metrics;
    metrics.throughput_per_device *= factor;
    for (double* time :
         {&metrics.ttft_s, &metrics.tpot_s, &metrics.cost_usd_per_million_tokens, &metrics.energy_j_per_token}) {
      *time /= factor;
    }
    return evaluation;
  }

 private:
  const Evaluator& inner_;
  const double deviation_;
  const std::uint64_t seed_;
};

Problem WithoutAdditivity(const SuiteProblem& spec) {
  const Problem plain = LoadProblem(spec, spec.name, nullptr);
  WorkloadSpec workload = plain.workload();
  if (plain.model().HasMoe()) workload.expert_skew = kExpertSkew;
  ProblemOptions options = plain.options();
  options.admitted_overlaps = {Overlap::kNone, Overlap::kTwoBatch, Overlap::kChunked};
  return {plain.model(), plain.cluster(), workload, options};
}

struct Row {
  std::string problem, competitor;
  std::uint64_t seed = 0;
  std::int64_t budget = 0;
  double noise = 0;
  double at_start = 0, found = 0;  ///< True rewards: of the best of the start, and of the strategy that was found.
  auto Key() const { return std::tuple(problem, competitor, seed, budget, noise); }
};

constexpr const char* kHeader = "problem;searcher;seed;budget;noise;start;found";

/// The rows of earlier calls, of any budget and noise.
std::vector<Row> ReadRows(const std::string& path) {
  std::vector<Row> rows;
  std::ifstream in(path);
  std::string line;
  if (std::getline(in, line) && line != kHeader) {
    throw SpecError(path, std::string("holds something else: its first line is not ") + kHeader +
                              "; give the name of another file");
  }
  while (std::getline(in, line)) {
    std::istringstream cells(line);
    std::string problem, competitor, seed, budget, noise, at_start, found;
    std::getline(cells, problem, ';');
    std::getline(cells, competitor, ';');
    std::getline(cells, seed, ';');
    std::getline(cells, budget, ';');
    std::getline(cells, noise, ';');
    std::getline(cells, at_start, ';');
    if (!std::getline(cells, found, ';')) continue;  // Torn.
    rows.push_back({problem, competitor, std::stoull(seed), std::stoll(budget), std::stod(noise), std::stod(at_start),
                    std::stod(found)});
  }
  return rows;
}

/// What every search of one problem shares.
class Dear {
 public:
  Dear(const SuiteProblem& spec, const SearcherRegistry& searchers, const EvaluatorRegistry& evaluators)
      : problem_(WithoutAdditivity(spec)),
        space_(problem_),
        simulator_(problem_),
        analytical_(evaluators.Make("analytical", problem_)),
        searchers_(searchers) {
    SearchRequest request;
    request.searcher = "exact";
    request.budget = std::int64_t{1} << 40;
    const SearchReport proved = RunSearch(problem_, request, searchers, evaluators);
    SHARDSCOUT_CHECK(proved.best.has_value());
    normaliser_ = proved.normaliser;
    for (const Overlap overlap : problem_.options().admitted_overlaps) {
      Strategy start = proved.best->strategy;
      start.overlap = overlap;
      if (space_.Contains(start)) starts_.push_back(start);
    }
  }

  Row Search(const Competitor& competitor, std::uint64_t seed, std::int64_t budget, double noise) const {
    const NoisyEvaluator measured(simulator_, noise, seed);
    EnvironmentOptions options;
    options.budget = budget;
    options.threads = 1;
    options.normaliser = normaliser_;
    options.start = starts_;
    if (competitor.estimates) options.estimator = analytical_.get();
    SearchEnvironment environment(space_, measured, options);
    searchers_.Make(competitor.searcher)->Search(environment, seed);
    return {.problem = "",
            .competitor = competitor.name,
            .seed = seed,
            .budget = budget,
            .noise = noise,
            .at_start = AtStart(),
            .found = TrueReward(environment.best()->strategy)};
  }

  /// The true reward of the best of the start.
  double AtStart() const {
    double best = 0;
    for (const Strategy& start : starts_) best = std::max(best, TrueReward(start));
    return best;
  }

 private:
  double TrueReward(const Strategy& strategy) const {
    const WorkloadSpec& workload = problem_.workload();
    return std::max(0.0, Reward(simulator_.Evaluate(strategy), workload.objective, workload.kind, normaliser_));
  }

  const Problem problem_;
  const StrategySpace space_;
  const env::SimulatorEvaluator simulator_;
  const std::unique_ptr<Evaluator> analytical_;
  const SearcherRegistry& searchers_;
  double normaliser_ = 1;
  std::vector<Strategy> starts_;
};

/// Throws where rows of this problem start elsewhere, as those of other presets or of another simulator do: their
/// scores are not comparable with what would be searched now. A start that breaks a limit is worth 0 under any presets,
/// and shows nothing.
void CheckSameStart(const std::vector<Row>& rows, const std::string& problem, double at_start,
                    const std::string& path) {
  constexpr double kRelativeTolerance = 1e-5;  // Rows keep six digits.
  for (const Row& row : rows) {
    if (row.problem != problem || std::abs(row.at_start - at_start) <= kRelativeTolerance * at_start) continue;
    throw SpecError(path, "has rows of " + problem + " that start from " + std::to_string(row.at_start) +
                              " where it is " + std::to_string(at_start) +
                              " now: other presets; give the name of another file");
  }
}

/// Each competitor's share of the best that any run found, over problems and seeds; then problem by problem.
void Print(const std::vector<Row>& rows) {
  std::map<std::string, double> best, start;
  std::map<std::string, std::map<std::string, std::vector<double>>> scores;
  for (const Row& row : rows) {
    best[row.problem] = std::max(best[row.problem], row.found);
    start[row.problem] = row.at_start;
  }
  for (const Row& row : rows) scores[row.competitor][row.problem].push_back(row.found / best[row.problem]);
  const auto print = [](const std::string& name, const std::map<std::string, std::vector<double>>& of) {
    std::vector<std::vector<double>> strata;
    std::vector<double> all;
    for (const auto& [problem, values] : of) {
      strata.push_back(values);
      all.insert(all.end(), values.begin(), values.end());
    }
    const Interval interval = BootstrapInterval(strata);
    std::printf("%-24s %6zu  %.4f  %.4f to %.4f\n", name.c_str(), all.size(), InterquartileMean(all), interval.low,
                interval.high);
  };
  std::printf("%-24s %6s  %6s  %s\n", "over all problems", "runs", "score", "95 % interval");
  for (const Competitor& competitor : kCompetitors) {
    if (scores.contains(competitor.name)) print(competitor.name, scores[competitor.name]);
  }
  for (const auto& [problem, reward] : best) {
    std::printf("\n%s: the start is %.4f of the best\n", problem.c_str(), start[problem] / reward);
    for (const Competitor& competitor : kCompetitors) {
      const auto found = scores[competitor.name].find(problem);
      if (found != scores[competitor.name].end()) print(competitor.name, {*found});
    }
  }
}

int Main(int argc, char** argv) {
  if (argc < 6) {
    std::cerr << "usage: dear_searches OUT SUITE BUDGET NUM_SEEDS NOISE [PROBLEM...]\n"
                 "NOISE: standard deviation of log(measured / true). Goes on from OUT, which may hold more.\n";
    return 2;
  }
  const std::string path = argv[1];
  const std::int64_t budget = std::strtoll(argv[3], nullptr, 10);
  const std::uint64_t num_seeds = std::strtoull(argv[4], nullptr, 10);
  const double noise = std::strtod(argv[5], nullptr);
  const std::set<std::string> chosen(argv + 6, argv + argc);
  SearcherRegistry searchers;
  RegisterBuiltinSearchers(searchers);
  RegisterAgents(searchers);
  EvaluatorRegistry evaluators;
  RegisterBuiltinEvaluators(evaluators);
  std::vector<Row> rows = ReadRows(path);
  std::set<decltype(Row().Key())> known;
  for (const Row& row : rows) known.insert(row.Key());
  std::ofstream out(path, std::ios::app);
  if (out.tellp() == 0) out << kHeader << '\n';
  for (const SuiteProblem& spec : LoadSuite(argv[2]).problems) {
    if (!chosen.empty() && !chosen.contains(spec.name)) continue;
    std::unique_ptr<const Dear> dear;  // Proved where something is left to search.
    for (std::uint64_t seed = 1; seed <= num_seeds; ++seed) {
      for (const Competitor& competitor : kCompetitors) {
        if (known.contains(std::tuple(spec.name, std::string(competitor.name), seed, budget, noise))) continue;
        if (!dear) {
          dear = std::make_unique<const Dear>(spec, searchers, evaluators);
          CheckSameStart(rows, spec.name, dear->AtStart(), path);
        }
        Row row = dear->Search(competitor, seed, budget, noise);
        row.problem = spec.name;
        rows.push_back(row);
        out << row.problem << ';' << row.competitor << ';' << row.seed << ';' << row.budget << ';' << row.noise << ';'
            << row.at_start << ';' << row.found << std::endl;
      }
    }
  }
  std::erase_if(rows, [&](const Row& row) { return row.budget != budget || row.noise != noise; });
  Print(rows);
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace shardscout

int main(int argc, char** argv) {
  return shardscout::GuardedMain([&] { return shardscout::Main(argc, argv); });
}
