#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shardscout/plan.h"

namespace shardscout {

/// Something of a plan that a framework cannot express.
struct Dropped {
  std::string what;     ///< "shardings.attention = sequence"
  std::string instead;  ///< What the framework does in its place.
};

struct ExportFile {
  std::string name;
  std::string text;
};

/// Scores a strategy on the plan's problem. Passed in, so that exporters know no evaluator.
using Reevaluate = std::function<Evaluation(const Strategy&)>;

struct ExportResult {
  std::string target;               ///< "vllm@0.24"
  std::string command;              ///< One line to run, or "".
  std::vector<std::string> notes;   ///< What whoever runs it must know: replicas, launches on other nodes.
  std::vector<std::string> priced;  ///< What the price takes otherwise than the framework does it.
  std::vector<ExportFile> files;
  std::vector<Dropped> dropped;  ///< Not empty: the framework runs something else than the plan.
  Strategy lowered;  ///< What the framework runs, as a strategy: equal to the plan's when nothing was dropped.
  std::optional<Strategy> lowered_prefill;       ///< Of a plan of two pools, where `lowered` is the decode pool's.
  std::optional<Evaluation> lowered_evaluation;  ///< What that achieves; set where something was dropped.
};

/// Turns a plan into what a framework takes. Never guesses: what can't be expressed is listed.
class Exporter {
 public:
  virtual ~Exporter() = default;
  virtual std::string_view Name() const = 0;
  /// `reevaluate` may be empty; then lowered_evaluation is never set. SpecError where the framework runs nothing like
  /// the plan (it breaks one of the framework's own rules even when lowered).
  virtual ExportResult Export(const Plan& plan, const Reevaluate& reevaluate) const = 0;
};

class ExporterRegistry {
 public:
  void Register(std::unique_ptr<Exporter> exporter);
  /// "vllm" or "vllm@0.24"; SpecError with the nearest name for an unknown one.
  const Exporter& Get(const std::string& target) const;
  std::vector<std::string> List() const;

 private:
  std::map<std::string, std::unique_ptr<Exporter>> exporters_;
};

/// vllm, sglang, tensorrt-llm ("trtllm" too), megatron, deepspeed, torchtitan, maxtext, transformers, dtensor, shardy,
/// lws, dynamo-vllm, dynamo-sglang, dynamo-trtllm, kserve, aiconfigurator, chakra.
void RegisterBuiltinExporters(ExporterRegistry& registry);

}  // namespace shardscout
