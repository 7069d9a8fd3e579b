#pragma once

#include <memory>
#include <string_view>

#include "shardscout/evaluator.h"
#include "shardscout/program.h"

namespace shardscout::env {

/// The closed-form evaluator. A block's cost depends on the degrees, the batch and its own few variables only, so each
/// is lowered and priced once for a tuple of degrees and batch and kept in a table (bounded; one table set a thread).
/// An evaluation is then five look-ups and Assemble. Nothing is priced that the program does not say: EvaluateProgram
/// does the same from a lowered program, and a test holds the two equal bit for bit.
class AnalyticalEvaluator : public Evaluator {
 public:
  explicit AnalyticalEvaluator(const Problem& problem);
  ~AnalyticalEvaluator() override;

  std::string_view Name() const override { return "analytical"; }
  Evaluation Evaluate(const Strategy& strategy) const override;
  Breakdown Explain(const Strategy& strategy) const override;

  /// The reference: lowers the whole program and prices every task.
  Evaluation EvaluateProgram(const Program& program) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shardscout::env
