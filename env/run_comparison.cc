#include <omp.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <exception>
#include <limits>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "env/comparison_results.h"
#include "env/proved_bound.h"
#include "env/screening.h"
#include "shardscout/comparison.h"
#include "shardscout/error.h"
#include "shardscout/reward.h"
#include "src/digest.h"

namespace shardscout {
namespace {

bool Stopped(const ComparisonRequest& request) { return request.stop != nullptr && request.stop->load(); }

void CheckRequest(const ComparisonRequest& request, const SearcherRegistry& searchers) {
  if (request.budget < 1) throw SpecError("--budget", "expected at least 1");
  if (request.num_seeds < 1) throw SpecError("--seeds", "expected at least 1");
  if (request.first_seed < 1 || request.first_seed > std::numeric_limits<std::int64_t>::max() - request.num_seeds) {
    throw SpecError("--seed", "expected a first seed from 1 on, and all others within 63 bits");
  }
  if (request.resume && request.results_path.empty()) {
    throw SpecError("--resume", "needs the folder of the results to go on from: give --out");
  }
  SHARDSCOUT_CHECK(!request.problems.empty());
  SHARDSCOUT_CHECK(!request.searchers.empty());
  std::set<std::string> names;
  for (const ComparedSearcher& searcher : request.searchers) {
    searchers.Make(searcher.name, searcher.settings);  // Throws for what the registry does not have or admit.
    if (!names.insert(searcher.name).second) {
      throw SpecError("--searchers", "found \"" + searcher.name + "\" twice, expected each once");
    }
    const SearcherRegistry::Entry& entry = searchers.entries().at(searcher.name);
    if (!entry.WorksWith(request.evaluator)) {
      throw SpecError("--searchers", "\"" + searcher.name + "\" works with no evaluator but " + entry.only_evaluator);
    }
  }
}

env::ResultsHeader HeaderOf(const ComparisonRequest& request, const SearcherRegistry& searchers) {
  std::string text =
      request.evaluator + "\n" + std::to_string(request.budget) + "\n" + std::string(ToString(request.start)) + "\n";
  if (request.screen) text += env::DescribeScreen(*request.screen, searchers) + "\n";
  for (const ComparedProblem& problem : request.problems) text += problem.problem->Digest() + " " + problem.name + "\n";
  return {Digest(text), "shardscout " + std::string(Version()) + (request.build.empty() ? "" : ", " + request.build)};
}

SearchRequest SearchFor(const ComparisonRequest& request) {
  SearchRequest search;
  search.evaluator = request.evaluator;
  search.stop = request.stop;
  search.build = request.build;
  return search;
}

/// What a finished proof says.
env::OptimumRecord RecordOf(const ComparedProblem& problem, const SearchReport& report, double time_limit_s) {
  env::OptimumRecord record{problem.name, time_limit_s, std::string(ToString(ReferenceKind::kBestFound)), 0, 0,
                            report.wall_s};
  if (report.status == SearchStatus::kProvenInfeasible) {
    record.kind = ToString(ReferenceKind::kInfeasible);
  } else if (report.plan && report.plan->certificate) {
    const Certificate& certificate = *report.plan->certificate;
    if (report.status == SearchStatus::kProvenOptimal) {
      record.kind = ToString(ReferenceKind::kOptimum);
      record.reward = report.best->reward;
      record.value = certificate.value;
    } else if (std::isfinite(certificate.bound) && certificate.bound > 0) {
      record.kind = ToString(ReferenceKind::kBound);
      record.reward = env::BoundReward(*problem.problem, certificate.bound, report.normaliser);
      record.value = certificate.bound;
    }
  }
  return record;
}

Reference ReferenceOf(const env::OptimumRecord& record) {
  for (const ReferenceKind kind : {ReferenceKind::kOptimum, ReferenceKind::kBound, ReferenceKind::kInfeasible}) {
    if (record.kind == ToString(kind)) return {kind, record.reward, record.value, record.wall_s};
  }
  return {ReferenceKind::kBestFound, 0, 0, record.wall_s};
}

std::vector<Improvement> ImprovementsOf(const std::vector<double>& best_so_far) {
  std::vector<Improvement> improvements;
  for (std::size_t i = 0; i < best_so_far.size(); ++i) {
    if (i == 0 || best_so_far[i] > best_so_far[i - 1]) {
      improvements.push_back({static_cast<std::int64_t>(i) + 1, best_so_far[i]});
    }
  }
  return improvements;
}

/// The whole comparison; one object a call of RunComparison.
class Driver {
 public:
  Driver(const ComparisonRequest& request, const SearcherRegistry& searchers, const EvaluatorRegistry& evaluators)
      : request_(request), searchers_(searchers), evaluators_(evaluators) {
    for (const ComparedSearcher& searcher : request.searchers) {
      configurations_.push_back(Digest(searchers.Make(searcher.name, searcher.settings)->ConfigJson()));
    }
    if (!request.results_path.empty()) {
      file_ = std::make_unique<env::ComparisonResultsFile>(request.results_path, HeaderOf(request, searchers),
                                                           request.resume, &results_.warnings);
    }
    PlanRuns();
    progress_.total = static_cast<std::int64_t>(request.problems.size() + results_.runs.size());
  }

  ComparisonResults Run() {
    for (const ComparedProblem& problem : request_.problems) {
      if (Stopped(request_)) break;
      results_.references.push_back(ReferenceFor(problem));
    }
    if (!Stopped(request_)) RunAll();
    results_.complete = !Stopped(request_);
    if (results_.complete) {
      for (std::size_t i = 0; i < request_.problems.size(); ++i) FillBestFound(i);
    }
    return std::move(results_);
  }

 private:
  /// Every run, in the order of the request, with nothing in it but what names it.
  void PlanRuns() {
    for (std::size_t p = 0; p < request_.problems.size(); ++p) {
      for (std::size_t s = 0; s < request_.searchers.size(); ++s) {
        const std::string& searcher = request_.searchers[s].name;
        const bool seeded = searchers_.entries().at(searcher).seeded;
        for (std::int64_t seed = 0; seed < (seeded ? request_.num_seeds : 1); ++seed) {
          ComparisonRun run;
          run.problem = request_.problems[p].name;
          run.searcher = searcher;
          run.seed = seeded ? request_.first_seed + seed : 0;
          results_.runs.push_back(std::move(run));
          places_.push_back({p, s});
        }
      }
    }
  }

  void Report(const std::string& last, bool reused) {
    ++progress_.done;
    progress_.last = last;
    if (reused) ++results_.reused;
    if (request_.on_progress) request_.on_progress(progress_);
  }

  Reference ReferenceFor(const ComparedProblem& problem) {
    const std::string what = "optimum of " + problem.name;
    const double limit = request_.optimum_time_limit_s;
    if (const env::OptimumRecord* record = file_ ? file_->FindOptimum(problem.name) : nullptr) {
      const Reference known = ReferenceOf(*record);
      const bool proved = known.kind == ReferenceKind::kOptimum || known.kind == ReferenceKind::kInfeasible;
      const bool as_long = record->time_limit_s == 0 || (limit > 0 && record->time_limit_s >= limit);
      if (proved || as_long) {
        Report(what, true);
        return known;
      }
    }
    const auto prover = searchers_.entries().find(env::kProver);
    if (prover == searchers_.entries().end() || !prover->second.WorksWith(request_.evaluator)) {
      Report(what, false);
      return {};
    }
    SearchRequest search = SearchFor(request_);
    search.searcher = env::kProver;
    search.budget = env::kProverBudget;
    search.start = StartFrom::kMegatron;  // A proof that ends early needs a strategy to come with its bound.
    search.threads = request_.threads;
    search.time_limit_s = limit;
    const SearchReport report = RunSearch(*problem.problem, search, searchers_, evaluators_);
    const env::OptimumRecord record = RecordOf(problem, report, limit);
    if (report.status == SearchStatus::kInterrupted) return {};
    if (file_) file_->Append(record);
    Report(what, false);
    return ReferenceOf(record);
  }

  /// Runs what no earlier process did. Each run uses one thread, so that as many go on at a time as there are.
  void RunAll() {
    const auto count = static_cast<std::ptrdiff_t>(results_.runs.size());
    const int threads = request_.threads > 0 ? request_.threads : omp_get_max_threads();
    std::vector<std::exception_ptr> failures(results_.runs.size());
    std::atomic<bool> failed = false;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (std::ptrdiff_t i = 0; i < count; ++i) {
      const auto index = static_cast<std::size_t>(i);
      if (failed.load() || Stopped(request_)) continue;
      try {
        RunOne(index);
      } catch (...) {  // Must not leave the parallel region.
        failures[index] = std::current_exception();
        failed = true;
      }
    }
    for (const std::exception_ptr& failure : failures) {
      if (failure) std::rethrow_exception(failure);
    }
  }

  void RunOne(std::size_t index) {
    ComparisonRun& run = results_.runs[index];
    const auto [problem, searcher] = places_[index];
    const std::string what = run.searcher + " on " + run.problem;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      const ComparisonRun* known = file_ ? file_->FindRun(run, configurations_[searcher]) : nullptr;
      if (known != nullptr) {
        run = *known;
        Report(what, true);
        return;
      }
    }
    SearchRequest search = SearchFor(request_);
    search.searcher = run.searcher;
    search.settings = request_.searchers[searcher].settings;
    search.budget = request_.budget;
    search.seed = static_cast<std::uint64_t>(std::max<std::int64_t>(run.seed, 1));
    search.start = request_.start;
    search.screen = request_.screen;
    search.threads = 1;
    const SearchReport report = RunSearch(*request_.problems[problem].problem, search, searchers_, evaluators_);
    if (report.status == SearchStatus::kInterrupted) return;
    run.status = ToString(report.status);
    run.evaluations = report.evaluations;
    run.feasible_evaluations = report.feasible_evaluations;
    run.improvements = ImprovementsOf(report.best_so_far);
    run.wall_s = report.wall_s;
    if (report.plan) {
      const WorkloadSpec& workload = request_.problems[problem].problem->workload();
      run.value = ObjectiveOf(report.best->evaluation, workload.objective, workload.kind).value;
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    if (file_) file_->Append(env::RunRecord{configurations_[searcher], run});
    Report(what, false);
  }

  /// Where nothing is proved, the best run is the reference.
  void FillBestFound(std::size_t problem) {
    Reference& reference = results_.references[problem];
    if (reference.kind != ReferenceKind::kBestFound) return;
    for (std::size_t i = 0; i < results_.runs.size(); ++i) {
      const ComparisonRun& run = results_.runs[i];
      if (places_[i].first != problem || run.improvements.empty()) continue;
      if (run.improvements.back().reward <= reference.reward) continue;
      reference.reward = run.improvements.back().reward;
      reference.value = run.value;
    }
    if (reference.reward == 0) reference.kind = ReferenceKind::kNoneFound;
  }

  const ComparisonRequest& request_;
  const SearcherRegistry& searchers_;
  const EvaluatorRegistry& evaluators_;
  std::vector<std::string> configurations_;                  ///< Digests. [searchers]
  std::vector<std::pair<std::size_t, std::size_t>> places_;  ///< Problem and searcher. [runs]
  std::unique_ptr<env::ComparisonResultsFile> file_;
  ComparisonResults results_;
  ComparisonProgress progress_;
  std::mutex mutex_;  ///< Of the file and the progress, while runs go on.
};

}  // namespace

std::string_view ToString(ReferenceKind kind) {
  static constexpr std::array<std::string_view, 5> kNames = {"optimum", "bound", "best found", "infeasible",
                                                             "none found"};
  return kNames.at(static_cast<std::size_t>(kind));
}

ComparisonResults RunComparison(const ComparisonRequest& request, const SearcherRegistry& searchers,
                                const EvaluatorRegistry& evaluators) {
  CheckRequest(request, searchers);
  return Driver(request, searchers, evaluators).Run();
}

}  // namespace shardscout
