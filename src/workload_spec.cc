#include "shardscout/workload_spec.h"

#include <array>
#include <cstddef>
#include <nlohmann/json.hpp>

#include "shardscout/error.h"
#include "shardscout/preset_paths.h"
#include "src/json/json_text.h"
#include "src/spec_fields.h"

namespace shardscout {

std::string_view ToString(WorkloadKind kind) {
  static constexpr std::array<std::string_view, 3> kNames = {"prefill", "decode", "serve"};
  return kNames.at(static_cast<std::size_t>(kind));
}

std::string_view ToString(Phase phase) { return phase == Phase::kPrefill ? "prefill" : "decode"; }

std::string_view ToString(Objective objective) {
  static constexpr std::array<std::string_view, 4> kNames = {"throughput_per_device", "latency",
                                                             "cost_per_million_tokens", "energy_per_token"};
  return kNames.at(static_cast<std::size_t>(objective));
}

void internal::CheckWorkload(const WorkloadSpec& workload, std::string_view place) {
  if (workload.batch_size && workload.concurrency) {
    throw SpecError(json::Place(place, "/concurrency"),
                    "found beside batch_size; expected at most one of them (the other follows)");
  }
  if (workload.kind == WorkloadKind::kPrefill && workload.tpot_target_s) {
    throw SpecError(json::Place(place, "/tpot_target_s"), "a prefill workload has no time per output token; remove it");
  }
  if (workload.kind == WorkloadKind::kDecode && workload.ttft_target_s) {
    throw SpecError(json::Place(place, "/ttft_target_s"), "a decode workload has no time to first token; remove it");
  }
}

WorkloadSpec ParseWorkload(std::string_view text, std::string_view place) {
  WorkloadSpec workload = json::ReadJson<WorkloadSpec>(json::ParseText(text, place), place);
  internal::CheckWorkload(workload, place);
  return workload;
}

WorkloadSpec LoadWorkload(const std::string& name_or_path) {
  const std::string path = ResolvePreset("workloads", name_or_path, "--workload");
  return ParseWorkload(ReadTextFile(path), path);
}

}  // namespace shardscout
