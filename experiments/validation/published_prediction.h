#pragma once

#include <optional>
#include <string>
#include <vector>

#include "experiments/validation/published_record.h"
#include "experiments/validation/published_setup.h"
#include "shardscout/engine_model.h"

/// From a published record to what this library says of its set-up, in the record's own metric.
///
///   static batch   by the analytical evaluator: a prefill pass of the whole batch, and output - 1 decode steps at the
///                  mean context (WorkloadSpec::DecodeContext), each with what the engine adds (EngineModel::StepTime).
///                  Latency is their sum, throughput batch * output / sum.
///                  It fits where weights, cache and the larger pass's activations do in all of the memory.
///   otherwise      by the simulator, request by request, under the engine's limits (published_engine.h): a closed
///                  loop, a rate, or all requests at once, whose throughput is over the whole run, its end included.
///                  It fits where the cache holds a request.
///
/// Layouts as serving_prediction.h has them; experts of ranks on several nodes are reached by all-to-all.
namespace shardscout::validation {

struct PublishedPrediction {
  std::optional<double> value;        ///< In the metric's unit.
  bool fits = true;                   ///< Of a prediction, or of an out_of_memory record.
  std::vector<std::string> unstated;  ///< PublishedSetup::unstated.
  std::string reason;                 ///< Why there is neither; "" where there is one.
};

/// What a run is predicted to show.
struct PublishedFigures {
  double ttft_s = 0, tpot_s = 0, latency_s = 0;
  double output_tokens_per_s = 0;  ///< Of the whole deployment.
  bool fits = true;
};

/// Whether the metric is a time (less is better) rather than a throughput.
bool IsTime(const std::string& metric);

/// A metric's value of a run; nullopt: a metric that this does not know.
std::optional<double> MetricOf(const PublishedRecord& record, const PublishedSetup& setup,
                               const PublishedFigures& figures);

/// Figures of a static batch; `why_not` where the mapping is none that the model can have. `engine`: what it adds to
/// its kernels (BatchEngineOf).
std::optional<PublishedFigures> PredictStaticBatch(const PublishedRecord& record, const PublishedSetup& setup,
                                                   const EngineModel& engine, std::string& why_not);

/// Figures of an engine that batches continuously.
std::optional<PublishedFigures> PredictEngine(const PublishedRecord& record, const PublishedSetup& setup,
                                              std::string& why_not);

/// Thread safe.
PublishedPrediction Predict(const PublishedRecord& record);

}  // namespace shardscout::validation
