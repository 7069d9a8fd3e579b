#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "shardscout/live_run.h"
#include "shardscout/problem.h"
#include "shardscout/program.h"
#include "shardscout/strategy.h"

/// What a search and its live workers tell each other: one line of JSON each way.
namespace shardscout::live {

/// What the workers are to do: prove strategies right, then time them in turns (one repeat of each, then the next), so
/// that what the machine does meanwhile falls on all alike.
struct LiveRequest {
  std::string problem_json{};
  std::vector<Strategy> strategies{};
  bool prove = true;       ///< Needs a model small enough to be computed unsharded; without it weights are random.
  int warmup = 1;          ///< Untimed runs of each phase before the repeats.
  int repeats = 5;         ///< 0: no timing.
  std::uint64_t seed = 1;  ///< Of weights and token ids.
};

/// All calls of one task, over layers, stages and micro-batches of one run of a phase.
struct TaskMeasurement {
  Phase phase = Phase::kDecode;
  BlockKind block = BlockKind::kAttention;
  int task = 0;
  std::int64_t calls = 0;
  std::vector<double> seconds;  ///< By repeat. Operators: of the slowest rank; collectives: of the rank that came last,
                                ///< whose time has no waiting in it. Summed over the calls.
  double payload_bytes = 0;     ///< Collectives: handed over by the fullest rank, a call (routed tokens: the mean).
};

struct PhaseMeasurement {
  Phase phase = Phase::kDecode;
  std::vector<double> seconds;  ///< By repeat: from a barrier to the end of the slowest rank, all micro-batches
                                ///< (`serve`: of prefill one pass).
};

struct LiveMeasurement {
  double max_error = 0;          ///< max |logits - reference| / max |reference| of a row.
  std::int64_t logits_rows = 0;  ///< Rows compared; 0: not proved.
  std::vector<PhaseMeasurement> phases{};
  std::vector<TaskMeasurement> tasks{};
};

std::string ToJson(const LiveRequest& request);
LiveRequest ParseLiveRequest(std::string_view json);
std::string ToJson(const std::vector<LiveMeasurement>& measurements);
std::vector<LiveMeasurement> ParseLiveAnswer(std::string_view json);

/// The same for a search that others help with: strategies to score by an evaluator that needs no processes.
struct EvaluationRequest {
  std::string problem_json{};
  std::string evaluator;
  std::vector<Strategy> strategies{};
};
std::string ToJson(const EvaluationRequest& request);
bool IsEvaluationRequest(std::string_view json);
EvaluationRequest ParseEvaluationRequest(std::string_view json);
/// `parts`: each rank's answers, as JSON arrays; rank r has every strategy i with i mod ranks == r.
std::string JoinEvaluations(const std::vector<std::string>& parts);
std::vector<Evaluation> ParseEvaluations(std::string_view json);

/// The line of a worker that failed.
std::string ErrorLine(std::string_view message);

}  // namespace shardscout::live
