#include "experiments/validation/serving_point.h"

#include <algorithm>
#include <cmath>

#include "env/calibration/table_columns.h"

namespace shardscout::validation {
namespace {

/// The columns of one pool: "tp_size", "prefill_tp_size", ...
class LayoutColumns {
 public:
  LayoutColumns(const env::MeasurementTable& table, const std::string& prefix)
      : workers_(table, prefix + "num_workers"),
        batch_(table, prefix + "batch_size"),
        tp_(table, prefix + "tp_size"),
        pp_(table, prefix + "pp_size"),
        dp_(table, prefix + "attention_dp_size"),
        moe_tp_(table, prefix + "moe_tp_size"),
        moe_ep_(table, prefix + "moe_ep_size") {}

  PoolLayout Read(std::size_t row) const {
    return {.workers = Size(workers_, row),
            .batch_size = Size(batch_, row),
            .tensor_parallel = Size(tp_, row),
            .pipeline_parallel = Size(pp_, row),
            .attention_data_parallel = Size(dp_, row),
            .moe_tensor_parallel = Size(moe_tp_, row),
            .moe_expert_parallel = Size(moe_ep_, row)};
  }
  /// Whether a row says how many instances it has.
  bool Counted(std::size_t row) const { return !workers_.Text(row, "").empty(); }

 private:
  /// 1 where the cell is empty or 0.
  static std::int64_t Size(const env::OptionalColumn& column, std::size_t row) {
    return column.Text(row, "").empty() ? 1 : std::max(1LL, std::llround(column.Number(row, 1, 0)));
  }

  env::OptionalColumn workers_, batch_, tp_, pp_, dp_, moe_tp_, moe_ep_;
};

}  // namespace

std::vector<ServingPoint> ReadServingPoints(const std::string& path) {
  const env::MeasurementTable table = env::MeasurementTable::Read(path);
  const LayoutColumns aggregated(table, ""), prefill(table, "prefill_"), decode(table, "decode_");
  const auto column = [&](const char* name) { return table.Column(name); };
  const std::size_t id = column("id"), engine = column("backend"), version = column("backend_version"),
                    model = column("model_path"), system = column("system"), precision = column("precision"),
                    mode = column("mode"), input = column("isl"), output = column("osl"),
                    gemm = column("gemm_quant_mode"), moe = column("moe_quant_mode"), ttft = column("silicon_ttft_ms"),
                    tpot = column("silicon_tpot_ms"), concurrency = column("concurrency");
  const auto seconds = [&](std::size_t row, std::size_t cell) {
    return table.Text(row, cell).empty() ? 0 : 1e-3 * table.Number(row, cell);
  };
  std::vector<ServingPoint> points;
  for (std::size_t row = 0; row < table.num_rows(); ++row) {
    ServingPoint& point = points.emplace_back();
    point.id = table.Text(row, id);
    point.engine = table.Text(row, engine);
    point.engine_version = table.Text(row, version);
    point.model = table.Text(row, model);
    point.system = table.Text(row, system);
    point.precision = table.Text(row, precision);
    point.gemm_type = table.Text(row, gemm);
    point.moe_type = table.Text(row, moe);
    point.disaggregated = table.Text(row, mode) == "disagg";
    point.input_tokens = std::llround(table.Number(row, input, 1));
    point.output_tokens = std::llround(table.Number(row, output, 1));
    if (point.disaggregated) {
      point.prefill = prefill.Read(row);
      point.decode = decode.Read(row);
      point.pools_counted = prefill.Counted(row) && decode.Counted(row);
    } else {
      point.layout = aggregated.Read(row);
    }
    const PoolLayout& decodes = point.disaggregated ? point.decode : point.layout;
    const std::int64_t all = decodes.batch_size * decodes.attention_data_parallel * decodes.workers;
    point.concurrency = table.Text(row, concurrency).empty() ? all : std::llround(table.Number(row, concurrency, 1));
    point.ttft_s = seconds(row, ttft);
    point.tpot_s = seconds(row, tpot);
  }
  return points;
}

std::string ModelNameOf(const ServingPoint& point) { return point.model.substr(point.model.rfind('/') + 1); }

std::string DescribeLayout(const ServingPoint& point) {
  const auto describe = [](const PoolLayout& layout) {
    return "tp" + std::to_string(layout.tensor_parallel) + " pp" + std::to_string(layout.pipeline_parallel) + " dp" +
           std::to_string(layout.attention_data_parallel) + " etp" + std::to_string(layout.moe_tensor_parallel) +
           " ep" + std::to_string(layout.moe_expert_parallel);
  };
  if (!point.disaggregated) return describe(point.layout);
  return std::to_string(point.prefill.workers) + " x " + describe(point.prefill) + " + " +
         std::to_string(point.decode.workers) + " x " + describe(point.decode);
}

std::string GroupOf(const ServingPoint& point) {
  std::string group;
  for (const std::string& part : {point.model, point.system, point.engine, point.engine_version, point.precision,
                                  point.gemm_type, point.moe_type}) {
    group += part + "|";
  }
  for (const std::int64_t part : {point.input_tokens, point.output_tokens, point.concurrency}) {
    group += std::to_string(part) + "|";
  }
  return group + (point.disaggregated ? "disagg" : "agg");
}

}  // namespace shardscout::validation
