#pragma once

#include <cstdint>

#include "shardscout/device_curves.h"
#include "shardscout/program.h"

/// Time of a collective within one domain of switched links, from a fitted curve.
///
/// n ranks, S bytes (Task::payload_bytes), x = S / n, W the link's bandwidth of one direction; a = 2 for all_reduce,
/// else 1; steps = a (n - 1). The least of
///
///   LL      ll_base_s + steps (ll_step_s + max(min(x / ll_channel_bytes, 1) ll_channel_s, x / (ll_link_fraction W)))
///           + own: one channel until it is full, then more of them in the same time, then the link
///   LL128   ll128_base_s + steps (ll128_step_s + x / (ll128_link_fraction W)) + own
///   Simple  simple_base_s + steps simple_step_s + w + fill(fill_ratio w, fill_s) + own, w = steps x /
///           (simple_link_fraction W)
///   NVLS    nvls_base_s + w + fill(nvls_fill_ratio w, nvls_fill_s), w = S (1 + 1 / n) / (nvls_link_fraction W):
///           all_reduce of more than two ranks where the switch adds numbers of the type
///   own     = x / (own_link_ratio W), a rank's copy of its own part; of all_to_all with direct_own_link_ratio
///   fill    (a, b) = a b / (a^3 + b^3)^(1/3): what the pipeline's first chunks take alone
///
/// and for all_to_all of
///
///   LL      direct_ll_base_s + (n - 1) direct_ll_peer_s + max(x / (direct_ll_link_fraction W), (n - 1) x / (.313 W))
///           + own
///   Simple  direct_base_s + (n - 1) direct_peer_s + w + fill(...) + own, w = (n - 1) x / (direct_link_fraction W)
///
/// An engine's own all-reduce, for less than its buffers hold, is the least of NCCL's and
///
///   one shot  one_shot_base_s + (n - 1) (one_shot_peer_s + S / (one_shot_link_fraction W))
///   two shots two_shot_base_s + (n - 1) (two_shot_peer_s + 2 S / n / (two_shot_link_fraction W))
///
/// and, whatever carries it, where the curve is of launches outside a replayed graph: two copies of S at
/// copy_link_ratio W more, and at least host_s.
///
/// Monotone in W and every time. With NCCL's constants and no fills these are the one-domain formulas of nccl_model.h.
/// What is not seen: NCCL leaves LL128 earlier than it should at 2 to 4 MiB, where it is slower than the least.
///
/// Worked example (a test), in us: n = 4, W = 1e9 bytes/s; a step or peer 1; bases LL 1, LL128 2, Simple 6, NVLS 3, one
/// shot 1, two shots 2; link shares LL 1/4 (direct 1/10), LL128 1/2, the others 1; ll_channel_bytes 2000, ll_channel_s
/// 1, own parts at 2 W, no fills, the engine's buffers 8000 bytes.
///   all_gather    400 bytes  LL      1 + 3 (1 + max(0.05, 0.4)) + 0.05          = 5.25
///                4000        LL128   2 + 3 (1 + 2) + 0.5                        = 11.5    (LL 16.5, Simple 12.5)
///               40000        Simple  6 + 3 * 1 + 3 * 10 + 5                     = 44      (LL128 70)
///   all_reduce   4000        Simple  6 + 6 * 1 + 6 * 1 + 0.5                    = 18.5    (LL128 20.5)
///                4000        NVLS    3 + 4 (1 + 1/4), where the switch adds     = 8
///   all_to_all    400        LL      1 + 3 * 1 + max(1, 0.3 / .313) + 0.05      = 5.05    (Simple 9.35)
///                4000        Simple  6 + 3 * 1 + 3 * 1 + 0.5                    = 12.5    (LL 14.5)
///   the engine's  400        one shot   1 + 3 (1 + 0.4)                         = 5.2     (two shots 5.6)
///                4000        two shots  2 + 3 (1 + 2)                           = 11      (one shot 16)
///
/// Source: NCCL's tuning model for the structure (nccl_model.h); parameters fitted (docs/calibration.md).
namespace shardscout::internal {

struct FabricGroup {
  double ranks = 1;
  double link_bytes_per_s = 0;
  bool adds = false;  ///< The switch adds, and numbers of this type.
};

/// Seconds. kAllReduce, kAllGather, kReduceScatter or kAllToAll; `bytes` as Task::payload_bytes.
double FabricCollectiveTime(const FabricCollectiveCurve& curve, const FabricGroup& group, Collective collective,
                            double bytes);

/// Seconds; `nccl_s` is what NCCL takes for the same, `limit_bytes` the size of the engine's buffers.
double EngineAllReduceTime(const EngineAllReduceCurve& curve, const FabricGroup& group, double bytes,
                           double limit_bytes, double nccl_s);

/// What the first chunks of a pipeline take alone: `growing_s` while they grow with the message, `full_s` when they are
/// as large as its buffer; smoothly the smaller.
double Fill(double growing_s, double full_s);

/// What the ideal algorithm sends of each device, over the link.
double FabricRoofline(const FabricGroup& group, Collective collective, double bytes);

}  // namespace shardscout::internal
