#include <map>
#include <mutex>
#include <optional>

#include "env/analytical/analytical_evaluator.h"
#include "env/analytical/block_cost.h"
#include "shardscout/live_run.h"

namespace shardscout {
namespace {

/// One session and what it measured, shared by all evaluators of a registration: the driver's own check of a winner
/// must find what the search found.
struct Measured {
  std::mutex mutex;
  std::shared_ptr<const LiveOptions> options;
  std::unique_ptr<LiveSession> session;
  std::map<std::pair<std::string, Strategy>, LiveReport> reports;  ///< By problem digest and strategy.

  LiveReport Of(const Problem& problem, const Strategy& strategy) {
    const std::lock_guard<std::mutex> lock(mutex);
    const auto [found, is_new] = reports.try_emplace({problem.Digest(), strategy});
    if (!is_new) return found->second;
    try {
      if (session == nullptr) session = std::make_unique<LiveSession>(*options);
      found->second = RunTwice(problem, strategy);
    } catch (...) {
      reports.erase(found);
      throw;
    }
    return found->second;
  }

  /// A worker that was lost takes one evaluation with it, not the search.
  LiveReport RunTwice(const Problem& problem, const Strategy& strategy) {
    std::optional<LiveReport> report;
    try {
      report = session->Run(problem, {strategy}).front();
    } catch (const LiveError&) {
      report = session->Run(problem, {strategy}).front();
    }
    if (report->logits_rows > 0 && !report->Right()) {
      throw LiveError("the sharded logits of " + ToShortString(strategy) + " differ from the unsharded ones by " +
                      std::to_string(report->max_error) + " of their size: a bug");
    }
    return *report;
  }
};

class LiveEvaluator : public Evaluator {
 public:
  LiveEvaluator(const Problem& problem, std::shared_ptr<Measured> measured)
      : problem_(problem), analytical_(problem), measured_(std::move(measured)) {}

  std::string_view Name() const override { return kLiveEvaluator; }

  Evaluation Evaluate(const Strategy& strategy) const override {
    const LiveReport report = measured_->Of(problem_, strategy);
    env::PassTimes times;
    for (const LivePhase& phase : report.phases) {
      if (phase.phase == Phase::kPrefill) times.prefill_s = times.prefill_pass_s = phase.measured.median_s;
      if (phase.phase == Phase::kDecode) times.decode_s = phase.measured.median_s;
    }
    return env::EvaluationOf(problem_, strategy, times, analytical_.Evaluate(strategy).memory);
  }

  /// The analytical rows with the measured times, of one micro-batch.
  Breakdown Explain(const Strategy& strategy) const override {
    const LiveReport report = measured_->Of(problem_, strategy);
    Breakdown breakdown = analytical_.Explain(strategy);
    for (BreakdownRow& row : breakdown.rows) {
      row.time_s = 0;
      for (const LiveRow& measured : report.rows) {
        if (measured.phase != row.phase || measured.op != row.op || measured.what != row.what) continue;
        row.time_s = measured.measured.median_s * static_cast<double>(row.calls) / static_cast<double>(measured.calls);
      }
    }
    return breakdown;
  }

 private:
  const Problem& problem_;
  env::AnalyticalEvaluator analytical_;
  std::shared_ptr<Measured> measured_;
};

}  // namespace

void RegisterLiveEvaluator(EvaluatorRegistry& registry, std::shared_ptr<const LiveOptions> options) {
  auto measured = std::make_shared<Measured>();  // Shared by the evaluators, which outlive the registration.
  measured->options = std::move(options);
  registry.Register(kLiveEvaluator, "measured: the program run by real processes (--nproc), each collective a real one",
                    [measured](const Problem& problem) { return std::make_unique<LiveEvaluator>(problem, measured); });
}

}  // namespace shardscout
