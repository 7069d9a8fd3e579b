#include "env/analytical/mla_decode_time.h"

#include <algorithm>
#include <cmath>

#include "env/analytical/p_norm.h"

namespace shardscout::internal {
namespace {

constexpr double kBlockTokens = 64;
constexpr double kBegunBlocks = 5;  // What a request costs the scheduler beside its blocks.
constexpr double kTileHeads = 64;

double Flop(const MlaDecodeShape& shape) {
  return 2 * shape.requests * shape.heads * shape.length * (2 * shape.latent + shape.rope);
}

}  // namespace

double MlaDecodeTime(const MlaDecodeCurve& curve, const DeviceRates& rates, const MlaDecodeShape& shape) {
  const double columns = shape.latent + shape.rope;
  const double blocks = std::ceil(shape.length / kBlockTokens);
  const double workers = std::max(1.0, std::floor(rates.units / std::ceil(shape.heads / kTileHeads)));
  const double payload = std::ceil(shape.requests * (blocks + kBegunBlocks) / workers) + kBegunBlocks;
  const double whole = std::floor(payload / (blocks + kBegunBlocks));
  const double left = payload - whole * (blocks + kBegunBlocks);
  const double pieces = whole + (left > kBegunBlocks ? 1 : 0);
  const double steps = whole * blocks + std::max(0.0, left - kBegunBlocks);
  const double cache_bytes = shape.requests * blocks * kBlockTokens * columns * shape.element_bytes;
  const double row_bytes =
      shape.requests * shape.heads * (2 * columns + 2 * columns * shape.element_bytes + 2 * shape.latent);
  double time_s = curve.launch_s;
  time_s += PNorm(PNorm(steps * curve.step_s, cache_bytes / (curve.hbm_fraction * rates.hbm_bytes_per_s), 3),
                  Flop(shape) / (curve.peak_fraction * rates.peak_flop_per_s), 3);
  time_s +=
      std::max(1.0, pieces) * (curve.piece_s + curve.piece_rows_s * std::min(shape.heads, kTileHeads) / kTileHeads);
  time_s += std::max(1.0, whole) * curve.mask_s * (blocks - shape.length / kBlockTokens);
  if ((whole < 1 || left > kBegunBlocks) && blocks > 1) {
    const double summands = std::min(shape.requests * blocks, shape.requests + workers);
    time_s += curve.split_s + curve.split_traffic * summands * shape.heads * shape.latent * 8 / rates.hbm_bytes_per_s;
  }
  return time_s + curve.row_traffic * row_bytes / rates.hbm_bytes_per_s;
}

double MlaDecodeRoofline(const DeviceRates& rates, const MlaDecodeShape& shape) {
  const double columns = shape.latent + shape.rope;
  const double bytes = shape.requests * shape.length * columns * shape.element_bytes +
                       shape.requests * shape.heads * (columns + shape.latent) * 2;
  return std::max(Flop(shape) / rates.peak_flop_per_s, bytes / rates.hbm_bytes_per_s);
}

}  // namespace shardscout::internal
