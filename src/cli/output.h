#pragma once

// How numbers, tables and progress look on a terminal.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "shardscout/search_environment.h"

namespace shardscout::cli {

/// 1234567 -> "1,234,567".
std::string Grouped(std::int64_t value);

/// Three significant digits, or all before the point: 1234567 -> "1,234,567", 12.345 -> "12.3", 0.012345 -> "0.0123",
/// 0 -> "0"; from 1e15 on and below 1e-4 "1.23e+15".
std::string Number(double value);

/// Seconds with a unit: "48.3 ms", "1.20 s", "12.0 us".
std::string Duration(double seconds);

/// Decimal: "61.2 GB", "512 KB".
std::string Bytes(double bytes);

/// 0.125 -> "12.5 %".
std::string Percent(double share);

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
