#include "env/proved_bound.h"

#include <cmath>
#include <string>

#include "shardscout/error.h"
#include "shardscout/reward.h"

namespace shardscout::env {
namespace {

ObjectiveValue ValueOf(const Problem& problem, double value) {
  const WorkloadSpec& workload = problem.workload();
  ObjectiveValue of = ObjectiveOf({}, workload.objective, workload.kind);
  of.value = value;
  return of;
}

}  // namespace

double BoundReward(const Problem& problem, double bound, double normaliser) {
  return ValueOf(problem, bound).TimesAsGoodAs(normaliser);
}

std::optional<Certificate> ProveBound(const Problem& problem, const SearchRequest& request,
                                      const SearcherRegistry& searchers, const EvaluatorRegistry& evaluators) {
  const auto prover = searchers.entries().find(kProver);
  if (prover == searchers.entries().end() || !prover->second.WorksWith(request.evaluator)) {
    throw SpecError("--until-gap", "no bound is known under --evaluator " + request.evaluator +
                                       "; exact proves one under the analytical evaluator");
  }
  SearchRequest proof;
  proof.searcher = kProver;
  proof.evaluator = request.evaluator;
  proof.budget = kProverBudget;
  proof.threads = request.threads;
  proof.time_limit_s = request.time_limit_s / 2;  // The other half is the search's.
  proof.until_gap = request.until_gap;
  proof.stop = request.stop;
  const SearchReport report = RunSearch(problem, proof, searchers, evaluators);
  if (!report.plan || !report.plan->certificate) return std::nullopt;
  const double bound = report.plan->certificate->bound;
  if (!std::isfinite(bound) || bound <= 0) return std::nullopt;
  return report.plan->certificate;
}

Certificate WithValue(const Problem& problem, const Certificate& bound, double value) {
  Certificate certificate = bound;
  certificate.value = value;
  certificate.gap = ValueOf(problem, bound.bound).TimesAsGoodAs(value) - 1;
  return certificate;
}

}  // namespace shardscout::env
