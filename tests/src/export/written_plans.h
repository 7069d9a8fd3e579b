#pragma once

// Plans for exporters' tests, and what each of them owes: the plan as it is or the list of what is not.

#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <string>

#include "shardscout/error.h"
#include "shardscout/exporter.h"
#include "shardscout/random.h"
#include "shardscout/strategy_space.h"

namespace shardscout::exporters {

/// More requests are better, and all keep the limits.
inline Evaluation MoreIsBetter(const Strategy& strategy) {
  Evaluation evaluation;
  evaluation.metrics.throughput_per_device = static_cast<double>(strategy.batch_size);
  evaluation.metrics.step_time_s = 1;
  evaluation.memory = {.weight_bytes = 20e9, .kv_cache_bytes = 30e9, .activation_bytes = 1e9, .limit_bytes = 72e9};
  return evaluation;
}

inline ExportResult ExportTo(const std::string& target, const Problem& problem, const Strategy& strategy,
                             const Reevaluate& reevaluate = MoreIsBetter) {
  ExporterRegistry exporters;
  RegisterBuiltinExporters(exporters);
  EXPECT_EQ(StrategySpace(problem).WhyNot(strategy), "");
  return exporters.Get(target).Export(PlanOf(problem, {MakePool(problem, strategy)}), reevaluate);
}

/// Of one file, and the name it has.
inline std::string TextOf(const ExportResult& result, const std::string& name) {
  for (const ExportFile& file : result.files) {
    if (file.name == name) return file.text;
  }
  ADD_FAILURE() << "no file " << name;
  return "";
}

inline void ExpectLines(const std::string& text, std::initializer_list<const char*> lines) {
  for (const char* line : lines) {
    EXPECT_NE(("\n" + text).find("\n" + std::string(line) + "\n"), std::string::npos) << line << "\n" << text;
  }
}

struct Counts {
  int lossless = 0, lowered = 0, refused = 0;
};

/// `plans` strategies of all that the problem admits and as many of the framework's own. The latter are written as they
/// are; the former so, or lowered to one of the framework's own with what was dropped, or refused with a reason.
/// `check` sees each result and the strategy that its files are of.
inline Counts ExportMany(Framework framework, const Problem& any, int plans, std::uint64_t seed,
                         const std::function<void(const ExportResult&, const Strategy&)>& check) {
  ProblemOptions options;
  options.framework = framework;
  const Problem framed(any.model(), any.cluster(), any.workload(), options);
  const StrategySpace all(any), own(framed);
  const std::string target(ToString(framework));
  Rng rng = Rng::Stream(seed, target);
  Counts counts;
  for (int i = 0; i < plans; ++i) {
    const Strategy member = own.Sample(rng);
    const std::string where = target + " " + any.model().name + " " + ToShortString(member);
    try {
      const ExportResult result = ExportTo(target, any, member);
      EXPECT_TRUE(result.dropped.empty()) << where << ": " << result.dropped.front().what;
      EXPECT_EQ(result.lowered, member) << where;
      check(result, member);
      ++counts.lossless;
    } catch (const SpecError& error) {
      ADD_FAILURE() << where << ": " << error.what();
    }
    const Strategy other = all.Sample(rng);
    try {
      const ExportResult result = ExportTo(target, any, other);
      EXPECT_EQ(result.dropped.empty(), result.lowered == other) << ToShortString(other);
      EXPECT_EQ(own.WhyNot(result.lowered), "") << ToShortString(other);
      check(result, result.lowered);
      (result.dropped.empty() ? counts.lossless : counts.lowered) += 1;
    } catch (const SpecError& error) {
      EXPECT_NE(std::string(error.what()), "");
      ++counts.refused;
    }
  }
  return counts;
}

}  // namespace shardscout::exporters
