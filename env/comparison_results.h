#pragma once

// The results of a comparison as a file: {"header": ...}, then one line {"optimum": ...} or {"run": ...} for each that
// was finished, in the order in which they were.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "env/line_file.h"
#include "shardscout/comparison.h"

namespace shardscout::env {

struct ResultsHeader {
  std::string suite_digest;  ///< Of all that every run depends on: problems, evaluator, budget, start.
  std::string build;
};

/// A proof, finished or ended by its time limit.
struct OptimumRecord {
  std::string problem;
  double time_limit_s = 0;  ///< 0: none.
  std::string kind;         ///< ToString(ReferenceKind); "best found": nothing was proved.
  double reward = 0, value = 0, wall_s = 0;
};

/// A run together with the searcher's settings: others are another run.
struct RunRecord {
  std::string configuration_digest;
  ComparisonRun run;
};

class ComparisonResultsFile {
 public:
  /// Opens or begins the file. SpecError where it is of another suite, or, without `resume`, holds anything.
  ComparisonResultsFile(const std::string& path, const ResultsHeader& header, bool resume,
                        std::vector<std::string>* warnings);

  /// Pointers into this object, null where there is none.
  const OptimumRecord* FindOptimum(const std::string& problem) const;
  const ComparisonRun* FindRun(const ComparisonRun& key, const std::string& configuration_digest) const;

  void Append(const OptimumRecord& record);
  void Append(const RunRecord& record);

 private:
  using Key = std::tuple<std::string, std::string, std::string, std::int64_t>;
  static Key KeyOf(const ComparisonRun& run, const std::string& configuration_digest);
  void ReadHeader(const std::string& line, const ResultsHeader& expected, std::vector<std::string>* warnings) const;
  void ReadEntry(const std::string& line);

  LineFile file_;
  std::map<std::string, OptimumRecord> optima_;
  std::map<Key, ComparisonRun> runs_;
};

}  // namespace shardscout::env
