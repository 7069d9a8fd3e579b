#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace shardscout::validation {

/// A line of a table of published measurements (data/published/measurements.jsonl; its README has the fields). A text
/// that the record lacks is "", a number unset: unknown.
struct PublishedRecord {
  std::string id, group, group_kind, source_title, phase;
  std::string model, framework, hardware, interconnect, dtype, other_parallelism;
  std::string load;  ///< batch_or_concurrency, in the source's words or as its number.
  std::string metric, notes;
  std::optional<std::int64_t> n_gpus, tensor_parallel, pipeline_parallel, expert_parallel, data_parallel;
  std::optional<std::int64_t> context_parallel;
  std::optional<std::int64_t> micro_batch;                  ///< Of training, where it is no part of a note.
  std::optional<std::int64_t> input_tokens, output_tokens;  ///< Unset too where the record names a data set.
  /// Of the fullest device, training: 2^30 bytes, though sources write GB (80 is all that an A100 has).
  std::optional<double> memory_gib;
  std::optional<double> tflops_per_gpu;  ///< Beside the record's own figure.
  double value = 0;
  bool operator==(const PublishedRecord&) const = default;
};

/// prefill, decode or e2e.
bool IsInference(const PublishedRecord& record);
bool IsTraining(const PublishedRecord& record);

/// One object. Fields that a prediction does not read may be anything. `place` names it in SpecErrors.
PublishedRecord ParsePublishedRecord(std::string_view json, const std::string& place);

/// A record a line, empty lines left out. SpecErrors name the file and the line.
std::vector<PublishedRecord> ReadPublishedRecords(const std::string& path);

/// Whether a file of points is of such records: it ends in .jsonl, or begins with "{".
bool HoldsPublishedRecords(const std::string& path);

}  // namespace shardscout::validation
