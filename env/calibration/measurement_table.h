#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace shardscout::env {

/// A table of measurements: CSV with a line of column names and no quotes, plain (`.csv`) or packed (`.csv.gz`). At
/// most 256 MiB unpacked. Errors are SpecErrors that name the file and the line, or the row, the first after the names
/// being row 1.
class MeasurementTable {
 public:
  /// Reads `path` (packed where it ends in ".gz").
  static MeasurementTable Read(const std::string& path);
  /// From text; `path` is its name in errors.
  static MeasurementTable Parse(std::string_view text, const std::string& path);

  const std::string& path() const { return path_; }
  std::size_t num_rows() const { return columns_.empty() ? 0 : cells_.size() / columns_.size(); }
  std::size_t num_columns() const { return columns_.size(); }
  bool HasColumn(std::string_view name) const;
  /// Throws where there is none.
  std::size_t Column(std::string_view name) const;

  const std::string& Text(std::size_t row, std::size_t column) const { return cells_[row * columns_.size() + column]; }
  /// Throws unless the cell is a finite number in [min, 1e15].
  double Number(std::size_t row, std::size_t column, double min = 0) const;

 private:
  std::string path_;
  std::vector<std::string> columns_;
  std::vector<std::string> cells_;  ///< Row by row.
};

}  // namespace shardscout::env
