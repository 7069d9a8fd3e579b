#include "src/cli/output.h"

#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <utility>

namespace shardscout::cli {
Table::Table(std::vector<std::string> header) {
  for (std::string& cell : header) {
    right_.push_back(cell.starts_with('>'));
    if (right_.back()) cell.erase(0, 1);
  }
  rows_.push_back(std::move(header));
}

void Table::AddRow(std::vector<std::string> cells) {
  cells.resize(right_.size());
  rows_.push_back(std::move(cells));
}

void Table::Print(std::ostream& out) const {
  std::vector<std::size_t> widths(right_.size());
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string blanks(widths[i] - row[i].size(), ' ');
      line += (i == 0 ? "" : "  ") + (right_[i] ? blanks + row[i] : row[i] + blanks);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out << line << "\n";
  }
}

ProgressLine::ProgressLine(std::string label, bool quiet)
    : label_(std::move(label)),
      shown_(!quiet && ::isatty(STDERR_FILENO) == 1),
      started_(std::chrono::steady_clock::now()),
      drawn_(started_) {}

ProgressLine::~ProgressLine() {
  if (dirty_) std::cerr << "\r\033[K" << std::flush;
}

void ProgressLine::Update(const Progress& progress) {
  using Seconds = std::chrono::duration<double>;
  const auto now = std::chrono::steady_clock::now();
  if (!shown_ || (dirty_ && Seconds(now - drawn_).count() < 0.1)) return;
  drawn_ = now;
  dirty_ = true;
  const auto done = static_cast<double>(progress.evaluations);
  const auto budget = static_cast<double>(std::max<std::int64_t>(progress.budget, 1));
  constexpr std::size_t kWidth = 24;
  const auto filled = std::min(kWidth, static_cast<std::size_t>(kWidth * done / budget));
  std::string line = label_ + " [" + std::string(filled, '#') + std::string(kWidth - filled, '.') + "] " +
                     Grouped(progress.evaluations) + "/" + Grouped(progress.budget);
  if (progress.evaluations > 0) {
    line += progress.best_reward > 0 ? "  best " + Number(progress.best_reward) + " x Megatron" : "  nothing feasible";
    line += "  feasible " + Percent(static_cast<double>(progress.feasible) / done);
    line += "  " + Duration(Seconds(now - started_).count() / done * (budget - done)) + " left";
  }
  std::cerr << "\r\033[K" << line << std::flush;
}

}  // namespace shardscout::cli
