#pragma once

#include <cstdint>
#include <string>

#include "shardscout/problem.h"
#include "shardscout/strategy.h"

namespace shardscout::strategies {

/// Whether `size` splits into `parts` equal ones that are whole quantisation blocks (block 0: any).
inline bool Splits(std::int64_t size, std::int64_t parts, std::int64_t block) {
  return size % parts == 0 && (block == 0 || parts == 1 || (size / parts) % block == 0);
}

/// The rules of DESIGN.md section 5 ("Valid", "Canonical") for a layer's decision variables, given all degrees, the
/// batch and the micro-batches. Each answer is "" where the value is admitted, else the rule that it breaks. The
/// answers do not depend on other layer variables, except ffn_up and ffn_down on dense_ffn_group.
/// A model with an indexer chooses positions over the whole context, so that its positions are not split: context
/// parallel size 1 and no attention `sequence`; a choice over
/// parts of it would need exchanges that are not modelled.
class ShardingRules {
 public:
  explicit ShardingRules(const Problem& problem) : problem_(problem), model_(problem.model()) {}

  /// Requests of a micro-batch split over cp in decode (all layers, whatever the layouts).
  bool BatchSplits(const Strategy& s) const;
  /// T is possible: decode, a cp rank's requests divide by tp; prefill, always (padded positions).
  bool TokensSplit(const Strategy& s) const;
  /// T by request is possible: attention `token` and lm_head `token`.
  bool RequestsSplit(const Strategy& s) const;

  bool Residual(const Strategy& s, Layout layout) const;
  bool FfnGroup(const Strategy& s, DenseFfnGroup group) const;
  bool Exchange(const Strategy& s, ExpertExchange exchange) const;
  bool Admits(const Strategy& s, Operator op, Sharding sharding) const;

  /// etp splits the experts' width into whole blocks.
  bool ExpertTensorSplits(std::int64_t etp) const;

  /// Why one of the answers above is no, for people.
  std::string Why(const Strategy& s, Operator op, Sharding sharding) const;

 private:
  bool HeadsSplit(std::int64_t tp) const;
  bool FfnAdmits(const Strategy& s, Operator op, Sharding sharding) const;

  const Problem& problem_;
  const ModelSpec& model_;
};

}  // namespace shardscout::strategies
