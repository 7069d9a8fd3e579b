#include "env/calibration/measurement_table.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <system_error>

#include "env/calibration/packed_file.h"
#include "shardscout/error.h"
#include "src/choices.h"

namespace shardscout::env {
namespace {

constexpr double kMostNumber = 1e15;

std::vector<std::string> SplitLine(std::string_view line) {
  std::vector<std::string> cells;
  while (true) {
    const std::size_t comma = line.find(',');
    cells.emplace_back(line.substr(0, comma));
    if (comma == std::string_view::npos) return cells;
    line.remove_prefix(comma + 1);
  }
}

std::string LineOf(const std::string& path, std::size_t line) { return path + ":" + std::to_string(line); }

}  // namespace

MeasurementTable MeasurementTable::Read(const std::string& path) { return Parse(ReadPackedFile(path), path); }

MeasurementTable MeasurementTable::Parse(std::string_view text, const std::string& path) {
  MeasurementTable table;
  table.path_ = path;
  for (std::size_t line = 1; !text.empty(); ++line) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view content = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (content.ends_with('\r')) content.remove_suffix(1);
    if (content.empty()) continue;
    if (content.find('"') != std::string_view::npos) {
      throw SpecError(LineOf(path, line), "found a quoted cell, expected plain ones");
    }
    std::vector<std::string> cells = SplitLine(content);
    if (table.columns_.empty()) {
      table.columns_ = std::move(cells);
      continue;
    }
    if (cells.size() != table.columns_.size()) {
      throw SpecError(LineOf(path, line), "found " + std::to_string(cells.size()) + " cells, expected " +
                                              std::to_string(table.columns_.size()) + ", one a column");
    }
    std::move(cells.begin(), cells.end(), std::back_inserter(table.cells_));
  }
  if (table.columns_.empty()) throw SpecError(path, "is empty, expected a line of column names");
  return table;
}

bool MeasurementTable::HasColumn(std::string_view name) const {
  return std::find(columns_.begin(), columns_.end(), name) != columns_.end();
}

std::size_t MeasurementTable::Column(std::string_view name) const {
  const auto found = std::find(columns_.begin(), columns_.end(), name);
  if (found == columns_.end()) {
    throw SpecError(LineOf(path_, 1), "no column \"" + std::string(name) + "\"; expected it beside " +
                                          internal::JoinNames(columns_, ", "));
  }
  return static_cast<std::size_t>(found - columns_.begin());
}

double MeasurementTable::Number(std::size_t row, std::size_t column, double min) const {
  const std::string& text = Text(row, column);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !(value >= min && value <= kMostNumber)) {
    throw SpecError(path_ + ": row " + std::to_string(row + 1) + ", column " + columns_[column],
                    "found \"" + text + "\", expected a number in [" + std::to_string(min) + ", 1e15]");
  }
  return value;
}

}  // namespace shardscout::env
