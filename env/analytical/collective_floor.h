#pragma once

#include "shardscout/collective_time.h"

namespace shardscout::internal {

/// What no message of a collective on one placement is faster than: fixed_s + bytes * s_per_byte.
struct CollectiveFloor {
  double fixed_s = 0;
  double s_per_byte = 0;
};
CollectiveFloor FloorOf(const ClusterSpec& cluster, Collective collective, const GroupSpan& span);

}  // namespace shardscout::internal
