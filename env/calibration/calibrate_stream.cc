#include "env/calibration/calibrate_stream.h"

#include <array>
#include <string>

#include "env/calibration/curve_parameters.h"
#include "env/calibration/table_columns.h"

namespace shardscout::env {
namespace {

struct Layer {
  double tokens = 1, hidden = 1, inter = 1, heads = 1, kv_heads = 1, workers = 1;
};

/// One kernel and the bf16 numbers that it moves.
struct Kernel {
  const char* name;
  const char* column;
  double (*numbers)(const Layer& layer);
};
constexpr std::array<Kernel, 5> kKernels = {{
    {"norm", "time_stats.input_layernorm.median", [](const Layer& l) { return 2 * l.tokens * l.hidden; }},
    {"rotary", "time_stats.attn_rope.median",
     [](const Layer& l) { return 2 * l.tokens * l.hidden * (1 + l.kv_heads / l.heads) / l.workers; }},
    {"activation", "time_stats.mlp_act.median", [](const Layer& l) { return 3 * l.tokens * l.inter / l.workers; }},
    {"add", "time_stats.add.median", [](const Layer& l) { return 3 * l.tokens * l.hidden; }},
    {"embedding", "time_stats.emb.median", [](const Layer& l) { return 2 * l.tokens * l.hidden; }},
}};

}  // namespace

std::vector<FittedCurve> CalibrateStream(const MeasurementTable& table, const DeviceSpec& device) {
  const std::size_t tokens = table.Column("num_tokens"), hidden = table.Column("n_embd"),
                    inter = table.Column("n_expanded_embd"), heads = table.Column("n_head"),
                    kv_heads = table.Column("n_kv_head"), workers = table.Column("num_tensor_parallel_workers");
  std::vector<FittedCurve> curves;
  for (const Kernel& kernel : kKernels) {
    const std::size_t time = table.Column(kernel.column);
    Measurements<double> measurements;  // A shape is its bytes.
    for (std::size_t row = 0; row < table.num_rows(); ++row) {
      const Layer layer{.tokens = table.Number(row, tokens, 1),
                        .hidden = table.Number(row, hidden, 1),
                        .inter = table.Number(row, inter, 1),
                        .heads = table.Number(row, heads, 1),
                        .kv_heads = table.Number(row, kv_heads, 1),
                        .workers = table.Number(row, workers, 1)};
      const double bytes = 2 * kernel.numbers(layer);
      measurements.shapes.push_back(bytes);
      measurements.rows.push_back({.shape = ShapeKey({layer.workers}),
                                   .measured_s = Seconds(table, row, time),
                                   .roofline_s = bytes / device.hbm_bytes_per_s});
    }
    curves.push_back(FitMeasurements(StreamCurve(), measurements, kernel.name, table.path() + ": " + kernel.name,
                                     [&](const StreamCurve& curve, double bytes) {
                                       return curve.launch_s + bytes / (curve.hbm_fraction * device.hbm_bytes_per_s);
                                     }));
  }
  return curves;
}

}  // namespace shardscout::env
