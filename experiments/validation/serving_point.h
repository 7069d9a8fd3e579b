#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace shardscout::validation {

/// How a pool's instances are split, as engines' command lines have it.
struct PoolLayout {
  std::int64_t workers = 1;          ///< Instances.
  std::int64_t batch_size = 1;       ///< Requests of an attention-data-parallel rank.
  std::int64_t tensor_parallel = 1;  ///< Of attention and dense FFNs.
  std::int64_t pipeline_parallel = 1;
  std::int64_t attention_data_parallel = 1;
  std::int64_t moe_tensor_parallel = 1;
  std::int64_t moe_expert_parallel = 1;
  std::int64_t DevicesOfAWorker() const { return tensor_parallel * pipeline_parallel * attention_data_parallel; }
  bool operator==(const PoolLayout&) const = default;
};

/// A row of a table of measured serving points (data/serving/serving_points.csv; its README has the columns).
struct ServingPoint {
  std::string id, engine, engine_version, model, system;
  std::string precision, gemm_type, moe_type;  ///< "" where the row does not say.
  bool disaggregated = false;
  std::int64_t input_tokens = 1, output_tokens = 1;
  std::int64_t concurrency = 1;   ///< Requests in flight, of the whole deployment; unsaid: as many as decode.
  PoolLayout layout;              ///< Not disaggregated.
  PoolLayout prefill, decode;     ///< Disaggregated.
  bool pools_counted = true;      ///< The row says how many instances each pool has.
  double ttft_s = 0, tpot_s = 0;  ///< As measured; 0: not.
};

/// SpecErrors name the file and the row.
std::vector<ServingPoint> ReadServingPoints(const std::string& path);

/// What two points share that differ in nothing but layout, as text: model, system, engine, precision, lengths,
/// concurrency. The number of devices is part of a layout.
std::string GroupOf(const ServingPoint& point);

/// The model's path without the organisation: "DeepSeek-V3".
std::string ModelNameOf(const ServingPoint& point);

/// The layout alone, as text: "tp8 pp1 dp1 etp8 ep1", "2 x ... + 1 x ...".
std::string DescribeLayout(const ServingPoint& point);

}  // namespace shardscout::validation
