#include "env/calibration/table_columns.h"

#include <cmath>
#include <utility>

#include "shardscout/error.h"
#include "src/choices.h"

namespace shardscout::env {

bool IsFp8(const std::string& dtype, const MeasurementTable& table, std::size_t row) {
  if (dtype == "fp8") return true;
  if (dtype == "bfloat16") return false;
  throw internal::UnknownName(table.path() + ": row " + std::to_string(row + 1), dtype, "a data type of attention",
                              {"bfloat16", "fp8"});
}

double Seconds(const MeasurementTable& table, std::size_t row, std::size_t latency_ms) {
  constexpr double kLeastMilliseconds = 1e-6;
  return table.Number(row, latency_ms, kLeastMilliseconds) * 1e-3;
}

void CheckRouting(double topk, double experts, double ranks, const std::string& place) {
  for (const auto& [count, name] : {std::pair(topk, "experts of a token"), std::pair(ranks, "ranks")}) {
    if (count <= experts) continue;
    throw SpecError(place, "found " + std::to_string(std::llround(count)) + " " + name + ", expected at most the " +
                               std::to_string(std::llround(experts)) + " experts");
  }
}

}  // namespace shardscout::env
