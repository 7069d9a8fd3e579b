#pragma once

// A bound on the time of a pass before any menu is made: of the work that every strategy with a given tensor-parallel
// degree does, at the rates that no shape exceeds.

#include <cstdint>
#include <vector>

#include "baselines/exact/menu.h"

namespace shardscout::baselines::exact {

/// For one tp. Every kernel of a block but the exchange's works on rows, a rank's share of the tokens, and its FLOP and
/// bytes are linear in them (the price of a shape is not, but never below). So a block's options are priced once as
/// lines over the rows. Left out, and so 0: all collectives, the ends of the model, the dense FFN's weights (their
/// reading depends on a group that tp does not tell), and of a MoE layer all but the FLOP of the experts.
class WorkBound {
 public:
  /// `requests`: of a micro-batch and dp rank, one that splits over tp if any does.
  WorkBound(const MenuMaker& maker, std::int64_t tp, std::int64_t requests);

  /// Seconds that the layers of the whole model take at least with `rows` tokens a cell (a dp and cp rank's).
  double LayerSeconds(Phase phase, double rows) const;
  /// The same without the MoE blocks, of which more may be known.
  double SecondsWithoutMoe(Phase phase, double rows) const;
  /// The limit of rows / LayerSeconds for many rows: tokens a second.
  double MostRowsPerSecond(Phase phase) const;

 private:
  struct Kernel {
    double compute_s_per_row = 0;
    double memory_s_per_row = 0;
    double memory_s = 0;  ///< Weights and latency.
    double launch_s = 0;
    double Seconds(double rows) const;
  };
  using Kernels = std::vector<Kernel>;
  /// One kind of block: the kernels of each of its options, and in how many layers it is.
  struct Blocks {
    double layers = 0;
    bool moe = false;
    std::vector<Kernels> options;
    double Seconds(double rows) const;
  };
  void AddBlocks(const MenuMaker& maker, const Strategy& s, BlockKind kind, double layers);

  std::vector<Blocks> blocks_[2];  ///< By Phase.
};

}  // namespace shardscout::baselines::exact
