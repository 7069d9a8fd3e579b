// Which settings the rulers get, with the same effort for each: every searcher that `ppo` is measured against is run
// with equally many settings on the same held-out problems, budget and seeds. One row of CSV on stdout for each run;
// on stderr, each setting's interquartile mean and the chosen one. None of the problems is among the reported ones.
// experiments/README.md has the command.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "experiments/guarded_main.h"
#include "shardscout/error.h"
#include "shardscout/evaluator.h"
#include "shardscout/megatron_rule.h"
#include "shardscout/searcher.h"

namespace shardscout {
namespace {

constexpr std::int64_t kBudget = 1000;
constexpr std::size_t kNumSettings = 12;

struct HeldOut {
  const char* model;
  const char* cluster;
  std::int64_t devices;
  const char* workload;
};
constexpr HeldOut kProblems[] = {
    {"qwen3-coder-480b-a35b", "h200-sxm", 64, "decode-chat"}, {"glm-4.5", "mi300x", 32, "prefill-chat"},
    {"mixtral-8x7b", "a100-80-sxm", 32, "serve-chat"},        {"llama-3.1-8b", "a100-80-sxm", 16, "serve-chat"},
    {"qwen2.5-72b", "h200-sxm", 32, "decode-chat"},           {"dbrx", "a100-80-sxm", 64, "prefill-chat"}};

/// Each names all that it sets, so that the list means the same whatever the defaults are.
struct Ruler {
  const char* searcher;
  std::array<const char*, kNumSettings> settings;
};
constexpr Ruler kRulers[] = {
    {"random-walk",
     {"restart_interval=0", "restart_interval=2", "restart_interval=3", "restart_interval=5", "restart_interval=8",
      "restart_interval=10", "restart_interval=25", "restart_interval=50", "restart_interval=100",
      "restart_interval=200", "restart_interval=300", "restart_interval=500"}},
    {"annealing",
     {"initial_temperature=0.1 final_temperature=0.001 patience=200 restart_from_best=0.5",
      "initial_temperature=0.03 final_temperature=0.001 patience=200 restart_from_best=0.5",
      "initial_temperature=0.3 final_temperature=0.001 patience=200 restart_from_best=0.5",
      "initial_temperature=0.1 final_temperature=0.01 patience=200 restart_from_best=0.5",
      "initial_temperature=0.1 final_temperature=0.001 patience=50 restart_from_best=0.5",
      "initial_temperature=0.1 final_temperature=0.001 patience=100 restart_from_best=0.9",
      "initial_temperature=0.3 final_temperature=0.01 patience=100 restart_from_best=0.5",
      "initial_temperature=0.03 final_temperature=0.003 patience=100 restart_from_best=0.9",
      "initial_temperature=0.03 final_temperature=0.001 patience=50 restart_from_best=0.5",
      "initial_temperature=0.03 final_temperature=0.001 patience=100 restart_from_best=0.9",
      "initial_temperature=0.01 final_temperature=0.001 patience=100 restart_from_best=0.5",
      "initial_temperature=0.01 final_temperature=0.001 patience=50 restart_from_best=0.9"}},
    {"evolution",
     {"population_size=100 tournament_size=25 crossover=0.25", "population_size=100 tournament_size=25 crossover=0",
      "population_size=100 tournament_size=25 crossover=0.5", "population_size=100 tournament_size=50 crossover=0.25",
      "population_size=100 tournament_size=10 crossover=0.25", "population_size=50 tournament_size=10 crossover=0.25",
      "population_size=50 tournament_size=25 crossover=0.25", "population_size=50 tournament_size=25 crossover=0",
      "population_size=50 tournament_size=25 crossover=0.5", "population_size=30 tournament_size=15 crossover=0.25",
      "population_size=20 tournament_size=10 crossover=0.25", "population_size=200 tournament_size=50 crossover=0.25"}},
    {"local-search",
     {"screen_share=0.3 num_templates=7 round_degrees=true num_starts=4 num_kicks=1 kick_steps=4",
      "screen_share=0.15 num_templates=7 round_degrees=true num_starts=1 num_kicks=5 kick_steps=3",
      "screen_share=0.15 num_templates=4 round_degrees=true num_starts=1 num_kicks=5 kick_steps=3",
      "screen_share=0.3 num_templates=7 round_degrees=true num_starts=1 num_kicks=5 kick_steps=3",
      "screen_share=0.5 num_templates=7 round_degrees=true num_starts=1 num_kicks=5 kick_steps=3",
      "screen_share=0.5 num_templates=7 round_degrees=true num_starts=4 num_kicks=1 kick_steps=4",
      "screen_share=0.5 num_templates=4 round_degrees=true num_starts=2 num_kicks=3 kick_steps=3",
      "screen_share=0.7 num_templates=7 round_degrees=true num_starts=1 num_kicks=3 kick_steps=3",
      "screen_share=0.3 num_templates=4 round_degrees=true num_starts=1 num_kicks=5 kick_steps=3",
      "screen_share=0.3 num_templates=7 round_degrees=false num_starts=1 num_kicks=5 kick_steps=3",
      "screen_share=0.3 num_templates=7 round_degrees=true num_starts=2 num_kicks=3 kick_steps=2",
      "screen_share=0.15 num_templates=4 round_degrees=true num_starts=4 num_kicks=0 kick_steps=1"}},
};

struct Run {
  const Ruler* ruler = nullptr;
  std::size_t setting = 0;
  std::uint64_t seed = 1;
  std::int64_t evaluations = 0;
  double reward = 0;  ///< 0 where nothing feasible was found.
  double share = 0;   ///< Of the optimum.
};

std::vector<std::string> Words(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

double FeasibleReward(const SearchEnvironment& environment) {
  const auto& best = environment.best();
  return best && best->evaluation.Feasible() ? best->reward : 0;
}

/// One problem with all that its runs share.
class Bench {
 public:
  explicit Bench(const HeldOut& p)
      : problem_(LoadModel(p.model), LoadCluster(p.cluster, p.devices), LoadWorkload(p.workload)), space_(problem_) {
    RegisterBuiltinSearchers(searchers_);
    EvaluatorRegistry evaluators;
    RegisterBuiltinEvaluators(evaluators);
    evaluator_ = evaluators.Make("analytical", problem_);
    const MegatronAnswer megatron =
        MegatronRule(space_, [&](const Strategy& strategy) { return evaluator_->Evaluate(strategy); });
    normaliser_ = ObjectiveOf(megatron.evaluation, problem_.workload().objective, problem_.workload().kind).value;
  }

  /// The optimum's reward, 0 where the proof did not end.
  double Optimum() const {
    EnvironmentOptions options;
    options.normaliser = normaliser_;
    options.time_limit_s = 1800;
    SearchEnvironment environment(space_, *evaluator_, options);
    const auto exact = searchers_.Make("exact");
    const bool proved = exact->Search(environment, 1) == SearchStatus::kProvenOptimal;
    return proved ? FeasibleReward(environment) : 0;
  }

  void Search(Run& run) const {
    EnvironmentOptions options;
    options.budget = kBudget;
    options.normaliser = normaliser_;
    options.threads = 1;
    SearchEnvironment environment(space_, *evaluator_, options);
    SearcherSettings settings;
    settings.assignments = Words(run.ruler->settings[run.setting]);
    searchers_.Make(run.ruler->searcher, settings)->Search(environment, run.seed);
    run.evaluations = environment.Evaluations();
    run.reward = FeasibleReward(environment);
  }

 private:
  const Problem problem_;
  const StrategySpace space_;
  SearcherRegistry searchers_;
  std::unique_ptr<Evaluator> evaluator_;
  double normaliser_ = 1;
};

/// All runs on one problem, in parallel; which thread does which changes nothing.
std::vector<Run> SearchAll(const Bench& bench, std::uint64_t num_seeds) {
  std::vector<Run> runs;
  for (const Ruler& ruler : kRulers) {
    for (std::size_t setting = 0; setting < kNumSettings; ++setting) {
      for (std::uint64_t seed = 1; seed <= num_seeds; ++seed) runs.push_back({&ruler, setting, seed, 0, 0, 0});
    }
  }
  const auto count = static_cast<std::ptrdiff_t>(runs.size());
  std::exception_ptr failure;
#pragma omp parallel for schedule(dynamic, 1)
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    try {
      bench.Search(runs[static_cast<std::size_t>(i)]);
    } catch (...) {  // Must not leave the parallel region.
#pragma omp critical
      failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
  return runs;
}

/// Mean of what is left without the lowest and the highest quarter.
double InterquartileMean(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t cut = values.size() / 4;
  double sum = 0;
  for (std::size_t i = cut; i < values.size() - cut; ++i) sum += values[i];
  return sum / static_cast<double>(values.size() - 2 * cut);
}

double Mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

/// The highest interquartile mean is chosen; of equal ones the one with the higher mean, then the first.
void PrintChoices(const std::map<const char*, std::vector<double>>& shares) {
  for (const Ruler& ruler : kRulers) {
    std::cerr << ruler.searcher << ": share of the optimum, interquartile mean and mean\n";
    std::pair<double, double> highest = {-1, -1};
    const char* chosen = nullptr;
    for (const char* setting : ruler.settings) {
      const std::vector<double>& of_setting = shares.at(setting);
      const std::pair<double, double> score = {InterquartileMean(of_setting), Mean(of_setting)};
      std::cerr << "  " << score.first << "  " << score.second << "  " << setting << "\n";
      if (score > highest) {
        highest = score;
        chosen = setting;
      }
    }
    std::cerr << "  chosen: " << chosen << "\n";
  }
}

int Main(int argc, char** argv) {
  const std::uint64_t num_seeds = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 0;
  if (num_seeds == 0) {
    std::cerr << "usage: tune_rulers NUM_SEEDS\n";
    return 2;
  }
  std::map<const char*, std::vector<double>> shares;
  std::cout << "searcher,setting,model,cluster,devices,workload,seed,evaluations,times_megatron,share_of_optimum,"
               "optimum_is\n";
  for (const HeldOut& p : kProblems) {
    const Bench bench(p);
    double optimum = bench.Optimum();
    const bool proved = optimum > 0;
    std::vector<Run> runs = SearchAll(bench, num_seeds);
    for (const Run& run : runs) {
      SHARDSCOUT_CHECK(!proved || run.reward <= optimum);
      optimum = std::max(optimum, run.reward);
    }
    for (Run& run : runs) {
      run.share = optimum > 0 ? run.reward / optimum : 0;
      shares[run.ruler->settings[run.setting]].push_back(run.share);
      std::cout << run.ruler->searcher << "," << run.ruler->settings[run.setting] << "," << p.model << "," << p.cluster
                << "," << p.devices << "," << p.workload << "," << run.seed << "," << run.evaluations << ","
                << run.reward << "," << run.share << "," << (proved ? "proved" : "the best seen") << "\n";
    }
    std::cout.flush();
    std::cerr << p.model << " on " << p.devices << " " << p.cluster << ", " << p.workload << ": optimum " << optimum
              << " x Megatron, " << (proved ? "proved" : "the best seen") << std::endl;
  }
  PrintChoices(shares);
  return 0;
}

}  // namespace
}  // namespace shardscout

int main(int argc, char** argv) {
  return shardscout::GuardedMain([&] { return shardscout::Main(argc, argv); });
}
