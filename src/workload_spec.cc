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
  static constexpr std::array<std::string_view, 4> kNames = {"prefill", "decode", "serve", "train"};
  return kNames.at(static_cast<std::size_t>(kind));
}

std::string_view ToString(Phase phase) { return phase == Phase::kPrefill ? "prefill" : "decode"; }

std::string_view ToString(Objective objective) {
  static constexpr std::array<std::string_view, 4> kNames = {"throughput_per_device", "latency",
                                                             "cost_per_million_tokens", "energy_per_token"};
  return kNames.at(static_cast<std::size_t>(objective));
}

std::string_view ToString(TrainingPrecision precision) {
  return precision == TrainingPrecision::kBf16 ? "bf16" : "fp8";
}

std::string_view ToString(Optimizer optimizer) { return optimizer == Optimizer::kAdam ? "adam" : "sgd"; }

std::string_view ToString(ParameterExchange exchange) {
  return exchange == ParameterExchange::kGather ? "gather" : "broadcast";
}

std::string_view ToString(ArrivalKind kind) {
  static constexpr std::array<std::string_view, 4> kNames = {"concurrency", "poisson", "gamma", "trace"};
  return kNames.at(static_cast<std::size_t>(kind));
}

std::string_view ToString(BatchPolicy policy) {
  return policy == BatchPolicy::kChunkedPrefill ? "chunked_prefill" : "prefill_first";
}

namespace {

void CheckRequests(const RequestModel& requests, std::string_view place) {
  const bool has_rate = requests.arrivals == ArrivalKind::kPoisson || requests.arrivals == ArrivalKind::kGamma;
  if (requests.rate_per_s.has_value() != has_rate) {
    throw SpecError(json::Place(place, "/requests/rate_per_s"),
                    std::string(has_rate ? "missing" : "found one") + ", expected one exactly for poisson and gamma");
  }
  if (requests.trace.empty() == (requests.arrivals == ArrivalKind::kTrace)) {
    throw SpecError(json::Place(place, "/requests/trace"),
                    std::string(requests.trace.empty() ? "missing" : "found one") + ", expected one exactly for trace");
  }
  if (requests.shortest_ratio < 1 && (requests.input_cv > 0 || requests.output_cv > 0)) {
    throw SpecError(json::Place(place, "/requests/shortest_ratio"),
                    "found beside input_cv or output_cv, expected one way of drawing lengths");
  }
  for (std::size_t i = 1; i < requests.trace.size(); ++i) {
    if (requests.trace[i].arrival_s >= requests.trace[i - 1].arrival_s) continue;
    throw SpecError(
        json::Place(place, "/requests/trace/" + std::to_string(i) + "/arrival_s"),
        "found " + nlohmann::json(requests.trace[i].arrival_s).dump() + ", expected arrivals that do not fall");
  }
}

void CheckTraining(const WorkloadSpec& workload, std::string_view place) {
  const auto refuse = [&](bool found, const char* pointer, const char* instead) {
    if (found) throw SpecError(json::Place(place, pointer), std::string("found in training; ") + instead);
  };
  refuse(workload.batch_size.has_value(), "/batch_size", "give training.global_batch_size");
  refuse(workload.concurrency.has_value(), "/concurrency", "give training.global_batch_size");
  refuse(workload.ttft_target_s.has_value(), "/ttft_target_s", "a step has no tokens to wait for; remove it");
  refuse(workload.tpot_target_s.has_value(), "/tpot_target_s", "a step has no tokens to wait for; remove it");
  refuse(workload.engine.has_value(), "/engine", "it is of serving; remove it");
}

}  // namespace

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
  if (workload.training.has_value() != workload.IsTraining()) {
    throw SpecError(json::Place(place, "/training"),
                    std::string(workload.training ? "found one" : "missing") + ", expected one exactly for kind train");
  }
  if (workload.IsTraining()) CheckTraining(workload, place);
  if (workload.requests) {
    if (workload.kind != WorkloadKind::kServe) {
      throw SpecError(json::Place(place, "/requests"), "found for " + std::string(ToString(workload.kind)) +
                                                           ", expected them exactly for serve, or remove them");
    }
    CheckRequests(*workload.requests, place);
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

EngineModel LoadEngine(const std::string& name_or_path) {
  const std::string path = ResolvePreset("engines", name_or_path, "--engine");
  return json::ReadJson<EngineModel>(json::ParseText(ReadTextFile(path), path), path);
}

}  // namespace shardscout
