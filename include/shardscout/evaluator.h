#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "shardscout/evaluation.h"
#include "shardscout/problem.h"
#include "shardscout/strategy.h"

namespace shardscout {

/// Scores strategies of one problem. Knows nothing of searchers.
///
/// Evaluate is pure (equal strategies, equal answers, bit for bit), thread safe, and takes any strategy that is valid
/// on the problem; every number that it returns is finite.
class Evaluator {
 public:
  virtual ~Evaluator() = default;
  virtual std::string_view Name() const = 0;
  virtual Evaluation Evaluate(const Strategy& strategy) const = 0;
  /// Where the time goes; dear compared with Evaluate. Its rows sum to what Evaluate found.
  virtual Breakdown Explain(const Strategy& strategy) const = 0;
};

/// A plain object: name -> how to make one for a problem. The problem must outlive the evaluator.
class EvaluatorRegistry {
 public:
  using Factory = std::function<std::unique_ptr<Evaluator>(const Problem&)>;
  void Register(std::string name, std::string description, Factory factory);
  /// Throws SpecError with the nearest name for an unknown one.
  std::unique_ptr<Evaluator> Make(const std::string& name, const Problem& problem) const;
  /// (name, description), sorted by name.
  std::vector<std::pair<std::string, std::string>> List() const;

 private:
  struct Entry {
    std::string description;
    Factory factory;
  };
  std::map<std::string, Entry> entries_;
};

/// analytical, simulator.
void RegisterBuiltinEvaluators(EvaluatorRegistry& registry);

}  // namespace shardscout
