#pragma once

// What the tables of several families have in common.

#include <optional>
#include <string>
#include <string_view>

#include "env/analytical/device_rates.h"
#include "env/calibration/measurement_table.h"
#include "shardscout/cluster_spec.h"

namespace shardscout::env {

/// A column that a table may lack.
class OptionalColumn {
 public:
  OptionalColumn(const MeasurementTable& table, std::string_view name) : table_(table) {
    if (table.HasColumn(name)) column_ = table.Column(name);
  }
  std::string Text(std::size_t row, std::string_view missing) const {
    return column_ ? table_.Text(row, *column_) : std::string(missing);
  }
  double Number(std::size_t row, double missing, double min) const {
    return column_ ? table_.Number(row, *column_, min) : missing;
  }

 private:
  const MeasurementTable& table_;
  std::optional<std::size_t> column_;
};

/// Whether "fp8" and not "bfloat16"; another name is a SpecError.
bool IsFp8(const std::string& dtype, const MeasurementTable& table, std::size_t row);

/// Of the column latency_ms.
double Seconds(const MeasurementTable& table, std::size_t row, std::size_t latency_ms);

/// SpecError unless a token's experts and the ranks are no more than the experts.
void CheckRouting(double topk, double experts, double ranks, const std::string& place);

}  // namespace shardscout::env
