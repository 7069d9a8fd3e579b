#include "shardscout/run_search.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <string>
#include <utility>

#include "env/proved_bound.h"
#include "env/screening.h"
#include "shardscout/error.h"
#include "shardscout/journal.h"
#include "shardscout/live_run.h"
#include "shardscout/reward.h"
#include "src/digest.h"

namespace shardscout {
namespace {

/// Of a search whose screen took all its time: 0 would be no limit.
constexpr double kLeastTimeLimitS = 1e-6;

double ObjectiveNumber(const Problem& problem, const Evaluation& evaluation) {
  return ObjectiveOf(evaluation, problem.workload().objective, problem.workload().kind).value;
}

/// The Megatron rule's objective; a reward divides by it.
double Normaliser(const Problem& problem, const MegatronAnswer& megatron) {
  const double value = ObjectiveNumber(problem, megatron.evaluation);
  if (std::isfinite(value) && value > 0) return value;
  throw SpecError("--objective " + std::string(ToString(problem.workload().objective)),
                  "is 0 on this cluster; give the cluster's device a price (price_usd_per_hour) and a power (power_w), "
                  "or choose another objective");
}

JournalHeader HeaderFor(const Problem& problem, const SearchRequest& request, const Searcher& searcher,
                        const SearcherRegistry& searchers) {
  JournalHeader header;
  header.problem_digest = problem.Digest();
  std::string configuration = request.searcher + "\n" + searcher.ConfigJson() + "\n" + request.evaluator + "\n" +
                              std::to_string(request.seed) + "\n" + std::to_string(request.budget) + "\n" +
                              std::string(ToString(request.start));
  if (request.screen) {
    configuration += "\n" + env::DescribeScreen(*request.screen, searchers);
  }
  if (request.until_gap > 0) configuration += "\nuntil gap " + std::to_string(request.until_gap);
  header.configuration_digest = Digest(configuration);
  header.build = "shardscout " + std::string(Version()) + (request.build.empty() ? "" : ", " + request.build);
  return header;
}

void CheckRequest(const SearchRequest& request) {
  if (request.budget < 1) {
    throw SpecError("--budget", "found " + std::to_string(request.budget) + ", expected at least 1");
  }
  if (request.seed > static_cast<std::uint64_t>(INT64_MAX)) {
    throw SpecError("--seed",
                    "found " + std::to_string(request.seed) + ", expected at most " + std::to_string(INT64_MAX));
  }
  if (request.threads < 0) {
    throw SpecError("--threads", "found " + std::to_string(request.threads) + ", expected 0 (all) or more");
  }
  if (!std::isfinite(request.time_limit_s) || request.time_limit_s < 0) {
    throw SpecError("--time-limit", "expected a number of seconds, 0 for none");
  }
  if (!std::isfinite(request.until_gap) || request.until_gap < 0) {
    throw SpecError("--until-gap", "expected a share such as 1% or 0.01, 0 for none");
  }
  if (request.resume && request.journal_path.empty()) {
    throw SpecError("--resume", "needs a journal to resume from: give --out (its journal lies beside it) or --journal");
  }
}

std::unique_ptr<Journal> OpenJournal(const Problem& problem, const SearchRequest& request, const Searcher& searcher,
                                     const SearcherRegistry& searchers, SearchReport* report) {
  if (request.journal_path.empty()) return nullptr;
  const JournalHeader header = HeaderFor(problem, request, searcher, searchers);
  std::unique_ptr<Journal> journal = request.resume ? Journal::Resume(request.journal_path, header, &report->warnings)
                                                    : Journal::Create(request.journal_path, header);
  report->replayed = journal->NumReplayable();
  return journal;
}

/// Measured once, also over resumed runs: rewards are relative to it.
Evaluation Remembered(const Evaluator& evaluator, const Strategy& strategy, Journal* journal) {
  if (journal == nullptr) return evaluator.Evaluate(strategy);
  if (const std::optional<Evaluation> found = journal->Find(strategy)) return *found;
  Evaluation evaluation = evaluator.Evaluate(strategy);
  journal->AppendFree({strategy, evaluation});
  return evaluation;
}

/// Repeated measurements differ, so that the best of all measured ones is all that can be said of any.
SearchStatus WithoutProof(SearchStatus status) {
  if (status == SearchStatus::kProvenOptimal) return SearchStatus::kSpaceExhausted;
  return status == SearchStatus::kProvenInfeasible ? SearchStatus::kNothingFound : status;
}

/// The winner as a plan, once a new evaluator has found the same as the search did.
Plan MakePlan(const Problem& problem, const SearchRequest& request, const StrategySpace& space, const Scored& winner,
              const EvaluatorRegistry& evaluators) {
  const std::unique_ptr<Evaluator> judge = evaluators.Make(request.evaluator, problem);
  // NOLINTNEXTLINE(readability-container-size-empty): a check prints what it compares.
  SHARDSCOUT_CHECK_OP(space.WhyNot(winner.strategy), ==, "");
  // A measurement out of a resumed journal does not come again.
  const bool measured = judge->Name() == kLiveEvaluator;
  SHARDSCOUT_CHECK(measured || judge->Evaluate(winner.strategy) == winner.evaluation);
  Plan plan = PlanOf(problem, {MakePool(problem, winner.strategy)});
  plan.evaluation = winner.evaluation;
  plan.breakdown = judge->Explain(winner.strategy);
  return plan;
}

ScreenProvenance ProvenanceOf(const Problem& problem, const ScreenReport& report, double objective) {
  ScreenProvenance screen;
  screen.evaluator = report.evaluator;
  screen.searcher = report.searcher;
  screen.budget = report.budget;
  screen.evaluations = report.evaluations;
  screen.kept = static_cast<std::int64_t>(report.kept.size());
  screen.objective = ObjectiveNumber(problem, report.of_best);
  screen.difference = objective / screen.objective - 1;
  return screen;
}

SearchProvenance ProvenanceOf(const Problem& problem, const SearchRequest& request, const SearchReport& report,
                              const Searcher& searcher) {
  SearchProvenance search;
  search.searcher = request.searcher;
  search.evaluator = request.evaluator;
  search.seed = request.seed;
  search.budget = request.budget;
  search.evaluations = report.evaluations;
  search.feasible_evaluations = report.feasible_evaluations;
  search.status = std::string(ToString(report.status));
  search.start = std::string(ToString(request.start));
  if (request.until_gap > 0) search.until_gap = request.until_gap;
  search.configuration_json = searcher.ConfigJson();
  search.version = std::string(Version());
  search.reward = report.best->reward;
  search.megatron_objective = report.normaliser;
  search.space_strategies = report.space.strategies;
  search.space_exact = report.space.exact;
  if (report.screen) {
    search.screen = ProvenanceOf(problem, *report.screen, ObjectiveNumber(problem, report.best->evaluation));
  }
  return search;
}

}  // namespace

std::string_view ToString(StartFrom start) { return start == StartFrom::kNone ? "none" : "megatron"; }

StartFrom ParseStartFrom(std::string_view text, std::string_view place) {
  for (const StartFrom start : {StartFrom::kNone, StartFrom::kMegatron}) {
    if (text == ToString(start)) return start;
  }
  throw SpecError(place, "found \"" + std::string(text) + "\", expected none or megatron");
}

SearchReport RunSearch(const Problem& problem, const SearchRequest& request, const SearcherRegistry& searchers,
                       const EvaluatorRegistry& evaluators) {
  const auto started = std::chrono::steady_clock::now();
  CheckRequest(request);
  const std::unique_ptr<Evaluator> evaluator = evaluators.Make(request.evaluator, problem);
  const std::unique_ptr<Searcher> searcher = searchers.Make(request.searcher, request.settings);
  const SearcherRegistry::Entry& entry = searchers.entries().at(request.searcher);
  if (!entry.WorksWith(request.evaluator)) {
    throw SpecError("--searcher " + request.searcher,
                    "knows the " + entry.only_evaluator +
                        " evaluator from the inside and works with no other, found --evaluator " + request.evaluator);
  }
  if (request.screen) env::CheckScreen(problem, request, searchers, evaluators);
  const StrategySpace space(problem);

  SearchReport report;
  std::optional<Certificate> bound;  // Of a searcher that knows none itself.
  if (request.until_gap > 0 && request.searcher != env::kProver) {
    bound = env::ProveBound(problem, request, searchers, evaluators);
    report.bound_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    if (!bound) {
      report.warnings.emplace_back("--until-gap: no bound was proved, the search ends as if it was not given");
    }
  }
  report.searcher = request.searcher;
  report.space = space.Size();
  const bool measured = evaluator->Name() == kLiveEvaluator;
  std::unique_ptr<Journal> journal;
  if (measured) journal = OpenJournal(problem, request, *searcher, searchers, &report);
  report.megatron =
      MegatronRule(space, [&](const Strategy& strategy) { return Remembered(*evaluator, strategy, journal.get()); });
  report.normaliser = Normaliser(problem, report.megatron);
  if (!measured) journal = OpenJournal(problem, request, *searcher, searchers, &report);

  std::unique_ptr<Evaluator> estimator;
  EnvironmentOptions options;
  options.budget = request.budget;
  options.time_limit_s = request.time_limit_s;
  options.threads = request.threads;
  options.normaliser = report.normaliser;
  options.until_gap = request.until_gap;
  if (bound) {
    options.enough_reward = env::BoundReward(problem, bound->bound, report.normaliser) / (1 + request.until_gap);
  }
  if (request.start == StartFrom::kMegatron) options.start.push_back(report.megatron.strategy);
  if (request.screen) {
    report.screen = env::RunScreen(problem, space, request, searchers, evaluators);
    for (const Scored& kept : report.screen->kept) options.start.push_back(kept.strategy);
    estimator = evaluators.Make(request.screen->evaluator, problem);
    options.estimator = estimator.get();
  }
  if (options.time_limit_s > 0) {
    const double spent_s = report.bound_s + (report.screen ? report.screen->wall_s : 0);
    options.time_limit_s = std::max(options.time_limit_s - spent_s, kLeastTimeLimitS);
  }
  options.stop = request.stop;
  options.journal = journal.get();
  options.on_progress = request.on_progress;
  options.on_scalars = request.on_scalars;
  options.evaluate_batch = request.evaluate_batch;
  SearchEnvironment environment(space, *evaluator, std::move(options));

  report.status = StatusOf(environment, searcher->Search(environment, request.seed));
  if (measured) report.status = WithoutProof(report.status);
  report.evaluations = environment.Evaluations();
  report.feasible_evaluations = environment.FeasibleEvaluations();
  report.replayed = std::min(report.replayed, report.evaluations);
  report.best = environment.best();
  if (report.screen) report.screen->estimates = environment.Estimates();
  report.top = environment.Top(request.top);
  report.best_so_far.assign(environment.best_so_far().begin(), environment.best_so_far().end());
  if (report.screen && report.best) {
    report.screen->of_best = estimator->Evaluate(report.best->strategy);
  }
  if (report.best && report.best->evaluation.Feasible()) {
    report.plan = MakePlan(problem, request, space, *report.best, evaluators);
    report.plan->search = ProvenanceOf(problem, request, report, *searcher);
    if (!measured) report.plan->certificate = searcher->Proof();
    if (bound) {
      report.plan->certificate = env::WithValue(problem, *bound, ObjectiveNumber(problem, report.best->evaluation));
    }
  }
  report.wall_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  return report;
}

std::size_t BestReport(std::span<const SearchReport> reports) {
  SHARDSCOUT_CHECK(!reports.empty());
  std::size_t best = 0;
  for (std::size_t i = 1; i < reports.size(); ++i) {
    if (!reports[i].best) continue;
    if (!reports[best].best || Better(*reports[i].best, *reports[best].best)) best = i;
  }
  return best;
}

StrategyReport EvaluateStrategy(const Problem& problem, const Strategy& strategy, const std::string& evaluator_name,
                                const EvaluatorRegistry& evaluators) {
  const std::unique_ptr<Evaluator> evaluator = evaluators.Make(evaluator_name, problem);
  const StrategySpace space(problem);
  if (const std::string broken = space.WhyNot(strategy); !broken.empty()) throw SpecError("strategy", broken);
  StrategyReport report;
  report.evaluation = evaluator->Evaluate(strategy);
  report.breakdown = evaluator->Explain(strategy);
  report.megatron = MegatronRule(space, [&](const Strategy& other) { return evaluator->Evaluate(other); });
  report.normaliser = Normaliser(problem, report.megatron);
  report.reward = Reward(report.evaluation, problem.workload().objective, problem.workload().kind, report.normaliser);
  return report;
}

}  // namespace shardscout
