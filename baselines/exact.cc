#include "baselines/exact.h"

#include <optional>
#include <string>
#include <string_view>

#include "baselines/exact/solver.h"
#include "env/searcher_config.h"
#include "shardscout/error.h"
#include "shardscout/reward.h"

namespace shardscout::baselines {
namespace {

class Exact final : public Searcher {
 public:
  explicit Exact(const ExactConfig& config) : config_(config) {}

  std::string_view Name() const override { return "exact"; }
  std::string ConfigJson() const override { return env::SettingsJson(config_); }
  std::optional<Certificate> Proof() const override { return proof_; }

  SearchStatus Search(SearchEnvironment& environment, std::uint64_t) override {
    proof_.reset();
    const auto evaluate = [&](const exact::Candidate& candidate) {
      const std::optional<Scored> scored = environment.Evaluate(candidate.strategy);
      // The solver is right about the evaluator, or the proof is worth nothing.
      SHARDSCOUT_CHECK(!scored || scored->evaluation == candidate.evaluation);
    };
    const exact::Answer answer =
        exact::Solve(environment.space(), environment.threads(), static_cast<int>(config_.nodes_at_a_time),
                     [&](const std::optional<exact::Candidate>& best, double bound_score) {
                       // The last evaluation is the optimum's.
                       if (best && environment.Remaining() > 1 && !environment.Known(best->strategy)) evaluate(*best);
                       if (best && bound_score / best->worth.score - 1 <= environment.until_gap()) return false;
                       return environment.Poll() == EndReason::kNone;
                     });
    if (answer.best) evaluate(*answer.best);
    if (answer.proved && !answer.best) return SearchStatus::kProvenInfeasible;
    if (!environment.best() || !environment.best()->evaluation.Feasible()) return SearchStatus::kNothingFound;
    // Of the strategy that the plan will be made of: the time may have been over before the last one was evaluated.
    proof_ = CertificateOf(environment.problem(), environment.best()->evaluation, answer.bound_score);
    if (proof_->gap <= 0) return SearchStatus::kProvenOptimal;
    return proof_->gap <= environment.until_gap() ? SearchStatus::kGapReached : SearchStatus::kFinished;
  }

 private:
  static Certificate CertificateOf(const Problem& problem, const Evaluation& evaluation, double bound_score) {
    const ObjectiveValue found = ObjectiveOf(evaluation, problem.workload().objective, problem.workload().kind);
    return {.value = found.value,
            .bound = found.larger_is_better ? bound_score : 1 / bound_score,
            .gap = bound_score / exact::ScoreOf(problem, evaluation) - 1,
            .space = "every canonical strategy of the problem under the analytical evaluator"};
  }

  const ExactConfig config_;
  std::optional<Certificate> proof_;
};

}  // namespace

std::unique_ptr<Searcher> MakeExact(const ExactConfig& config) { return std::make_unique<Exact>(config); }

}  // namespace shardscout::baselines
