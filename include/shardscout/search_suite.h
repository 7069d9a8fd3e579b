#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shardscout/problem.h"
#include "shardscout/workload_spec.h"

/// Many problems on which searchers are compared, as one file: what `shardscout compare --suite` reads.
namespace shardscout {

/// One problem: three specs by name or by file, and what replaces the workload's own values. Invariants: name, model,
/// cluster and workload are not empty; at most one of batch_size and concurrency is set.
struct SuiteProblem {
  std::string name;                          ///< As tables call it; unique within the suite.
  std::string model, cluster, workload;      ///< As --model, --cluster and --workload take them.
  std::optional<std::int64_t> devices;       ///< Unset: the cluster's own number.
  std::optional<std::int64_t> input_tokens;  ///< Unset, here and below: the workload's.
  std::optional<std::int64_t> output_tokens;
  std::optional<std::int64_t> batch_size;
  std::optional<std::int64_t> concurrency;
  std::optional<double> ttft_target_s;
  std::optional<double> tpot_target_s;
  std::optional<Objective> objective;
  std::optional<double> memory_fraction;
  std::vector<std::string> fixed;  ///< "tensor_parallel_size=8"
  bool operator==(const SuiteProblem&) const = default;
};

/// Invariants: at least one searcher and one problem; neither holds a name twice.
struct SearchSuite {
  std::string name;
  std::int64_t budget = 1000;  ///< Charged evaluations of one search, >= 1.
  std::vector<std::string> searchers;
  std::vector<SuiteProblem> problems;
  bool operator==(const SearchSuite&) const = default;
};

/// SpecError for what the format does not have or admit. Specs are not loaded, searchers not looked up.
SearchSuite ParseSuite(std::string_view json, std::string_view place);

/// A file, or a preset under configs/searches.
SearchSuite LoadSuite(const std::string& name_or_path);

/// Loads the specs of one problem. SpecError at `place` where one can't be, or where they do not fit together.
/// `warnings` (may be null) gets what the model's file is warned of.
Problem LoadProblem(const SuiteProblem& problem, std::string_view place, std::vector<std::string>* warnings);

}  // namespace shardscout
