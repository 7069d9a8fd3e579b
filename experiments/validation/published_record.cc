#include "experiments/validation/published_record.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "shardscout/error.h"
#include "shardscout/preset_paths.h"

namespace shardscout::validation {
namespace {

using nlohmann::json;

std::string Text(const json& object, const char* key, const std::string& place) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return "";
  if (!found->is_string()) throw SpecError(place + "#/" + key, "found " + found->dump() + ", expected a text");
  return found->get<std::string>();
}

std::string RequiredText(const json& object, const char* key, const std::string& place) {
  std::string text = Text(object, key, place);
  if (text.empty()) throw SpecError(place + "#/" + key, "expected a text here; give the record one or remove it");
  return text;
}

/// A text in place of the number ("ShareGPT") names something that has no one value.
std::optional<std::int64_t> Count(const json& object, const char* key, const std::string& place) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null() || found->is_string()) return std::nullopt;
  if (!found->is_number_integer() || found->get<std::int64_t>() < 1) {
    throw SpecError(place + "#/" + key, "found " + found->dump() + ", expected a whole number of at least 1");
  }
  return found->get<std::int64_t>();
}

std::optional<double> Number(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number()) return std::nullopt;
  return found->get<double>();
}

double Value(const json& object, const std::string& metric, const std::string& place) {
  const auto found = object.find("value");
  if (metric == "out_of_memory") return 0;
  const bool number = found != object.end() && found->is_number();
  if (number && std::isfinite(found->get<double>()) && found->get<double>() > 0) return found->get<double>();
  throw SpecError(place + "#/value", "found " + (found == object.end() ? "nothing" : found->dump()) +
                                         ", expected a number above 0; only out_of_memory goes without");
}

}  // namespace

bool IsInference(const PublishedRecord& record) {
  return record.phase == "prefill" || record.phase == "decode" || record.phase == "e2e";
}

bool IsTraining(const PublishedRecord& record) { return record.phase == "train"; }

PublishedRecord ParsePublishedRecord(std::string_view text, const std::string& place) {
  json object;
  try {
    object = json::parse(text);
  } catch (const json::exception& error) {
    throw SpecError(place, std::string("not JSON: ") + error.what() + "; expected one object a line");
  }
  if (!object.is_object()) throw SpecError(place, "found " + object.dump() + ", expected an object");
  PublishedRecord record;
  record.id = RequiredText(object, "id", place);
  record.group = Text(object, "group", place);
  record.group_kind = Text(object, "group_kind", place);
  record.source_title = Text(object, "source_title", place);
  record.phase = RequiredText(object, "phase", place);
  record.model = Text(object, "model", place);
  record.framework = Text(object, "framework", place);
  record.hardware = Text(object, "hardware", place);
  record.interconnect = Text(object, "interconnect", place);
  record.dtype = Text(object, "dtype", place);
  record.other_parallelism = Text(object, "other_parallelism", place);
  record.notes = Text(object, "notes", place);
  record.metric = RequiredText(object, "metric", place);
  if (!IsInference(record) && !IsTraining(record)) return record;
  if (const auto load = Count(object, "batch_or_concurrency", place)) {
    record.load = std::to_string(*load);
  } else {
    record.load = Text(object, "batch_or_concurrency", place);
  }
  record.n_gpus = Count(object, "n_gpus", place);
  record.tensor_parallel = Count(object, "tp", place);
  record.pipeline_parallel = Count(object, "pp", place);
  record.expert_parallel = Count(object, "ep", place);
  record.data_parallel = Count(object, "dp", place);
  record.context_parallel = Count(object, "cp", place);
  if (const auto extra = object.find("extra"); extra != object.end() && extra->is_object()) {
    record.micro_batch = Count(*extra, "micro_batch", place + "#/extra");
    record.memory_gib = Number(*extra, "memory_GB");
    record.tflops_per_gpu = Number(*extra, "tflops_per_gpu");
  }
  record.input_tokens = Count(object, "isl", place);
  if (IsInference(record)) record.output_tokens = Count(object, "osl", place);
  record.value = Value(object, record.metric, place);
  return record;
}

std::vector<PublishedRecord> ReadPublishedRecords(const std::string& path) {
  std::istringstream lines(ReadTextFile(path));
  std::vector<PublishedRecord> records;
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    records.push_back(ParsePublishedRecord(line, path + ":" + std::to_string(number)));
  }
  if (records.empty()) throw SpecError(path, "no record in it; expected one JSON object a line");
  return records;
}

bool HoldsPublishedRecords(const std::string& path) {
  if (path.ends_with(".jsonl")) return true;
  return std::ifstream(path).peek() == '{';
}

}  // namespace shardscout::validation
