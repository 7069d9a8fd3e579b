#pragma once

// How tables and progress look on a terminal; numbers look as they do everywhere (src/quantity_text.h).

#include <chrono>
#include <cstddef>
#include <iosfwd>
#include <string>
#include <vector>

#include "shardscout/search_environment.h"
#include "src/quantity_text.h"

namespace shardscout::cli {

using text::Bytes;
using text::Duration;
using text::Grouped;
using text::Number;
using text::Percent;

/// Columns padded with blanks. Cells of a column whose header begins with '>' are set flush right.
class Table {
 public:
  explicit Table(std::vector<std::string> header);
  void AddRow(std::vector<std::string> cells);
  void Print(std::ostream& out) const;

 private:
  std::vector<bool> right_;
  std::vector<std::vector<std::string>> rows_;  ///< The first is the header.
};

/// One line on stderr, rewritten in place: evaluations, best so far, feasible share, time left. Silent unless stderr is
/// a terminal.
class ProgressLine {
 public:
  /// `label` begins the line. `quiet`: silent anyway.
  ProgressLine(std::string label, bool quiet);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void Update(const Progress& progress);
  bool shown() const { return shown_; }

 private:
  std::string label_;
  bool shown_;
  bool dirty_ = false;
  std::chrono::steady_clock::time_point started_, drawn_;
};

}  // namespace shardscout::cli
