#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "experiments/validation/published_record.h"

/// Figures that a source gives for two kinds of hardware, digit for digit: at most one of them was measured there. The
/// table itself shows it, without any prediction, and cannot tell which is the copy.
namespace shardscout::validation {

struct Copies {
  struct Pair {
    std::string model, hardware, other_hardware;
    std::size_t records = 0;  ///< Of both.
  };
  std::vector<bool> shown;  ///< By record.
  std::vector<Pair> evidence;
};

/// Records of at least four significant digits whose twin on other hardware has the same value, where model, framework,
/// number format, mapping, lengths, load and metric are the same; and at least three such twins of the two kinds of
/// hardware in that model, which is more than chance.
Copies FindCopies(const std::vector<PublishedRecord>& records);

}  // namespace shardscout::validation
