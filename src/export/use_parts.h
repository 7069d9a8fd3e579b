#pragma once

// What the time of a pass and the memory of a device are made of, as bars on a page.

#include <string>
#include <vector>

#include "shardscout/evaluation.h"

namespace shardscout::exporters {

struct Part {
  std::string name;
  double amount = 0;
  int colour = 0;  ///< Of page.css: k0, k1, ...
};

/// Seconds by kind of operator, collectives apart, the largest first.
std::vector<Part> TimeParts(const Breakdown& breakdown, Phase phase);
/// Bytes by what they hold, in one order.
std::vector<Part> MemoryParts(const MemoryUse& memory);

/// One bar of parts, each as wide as its share of `whole`, and what the colours mean. `show` writes an amount.
std::string StackElement(const std::vector<Part>& parts, double whole, std::string (*show)(double));

}  // namespace shardscout::exporters
