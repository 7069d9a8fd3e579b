#include "shardscout/evaluation.h"

#include <array>
#include <cstdio>
#include <optional>
#include <string>

namespace shardscout {
namespace {

/// "91.2": three significant digits, more before the point where they are there.
std::string Digits(double value) {
  std::array<char, 64> buffer{};
  const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  std::snprintf(buffer.data(), buffer.size(), "%.*f", decimals, value);
  return buffer.data();
}

/// "TPOT 61.0 ms of 50.0 ms (+22 %)". A slight excess is not rounded to none.
std::string Violation(LimitKind kind, double value, double limit, double unit, const char* unit_name, double excess) {
  const double percent = 100 * excess;
  std::string text(ToString(kind));
  text.append(" ").append(Digits(value / unit)).append(" ").append(unit_name);
  text.append(" of ").append(Digits(limit / unit)).append(" ").append(unit_name);
  text.append(" (+").append(percent < 0.005 ? "0.01" : Digits(percent)).append(" %)");
  return text;
}

}  // namespace

std::string_view ToString(LimitKind kind) {
  static constexpr std::array<std::string_view, 3> kNames = {"memory", "TTFT", "TPOT"};
  return kNames.at(static_cast<std::size_t>(kind));
}

std::string DescribeViolations(const Evaluation& evaluation, const WorkloadSpec& workload) {
  std::string text;
  const auto add = [&](const std::string& violation) { text += (text.empty() ? "" : "; ") + violation; };
  const LimitExcess& excess = evaluation.excess;
  if (excess.memory > 0) {
    const MemoryUse& memory = evaluation.memory;
    add(Violation(LimitKind::kMemory, memory.TotalBytes(), memory.limit_bytes, 1e9, "GB", excess.memory));
  }
  const auto add_latency = [&](const char* which, LimitKind kind, double value_s,
                               const std::optional<double>& limit_s) {
    if (!limit_s || value_s <= *limit_s) return;
    add(which + Violation(kind, value_s, *limit_s, 1e-3, "ms", value_s / *limit_s - 1));
  };
  // A limit's excess is that of the mean or of the percentile, whichever is larger.
  const bool has_percentiles = evaluation.requests && workload.requests;
  if (excess.ttft > 0) {
    add_latency("", LimitKind::kTtft, evaluation.metrics.ttft_s, workload.ttft_target_s);
    if (has_percentiles) {
      add_latency("p99 ", LimitKind::kTtft, evaluation.requests->ttft.p99_s, workload.requests->ttft_p99_target_s);
    }
  }
  if (excess.tpot > 0) {
    add_latency("", LimitKind::kTpot, evaluation.metrics.tpot_s, workload.tpot_target_s);
    if (has_percentiles) {
      add_latency("p99 ", LimitKind::kTpot, evaluation.requests->tpot.p99_s, workload.requests->tpot_p99_target_s);
    }
  }
  return text;
}

}  // namespace shardscout
