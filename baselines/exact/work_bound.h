#pragma once

// A bound on the time of a pass before any menu is made: of the work that every strategy with a given tensor-parallel
// degree does, at the rates that no shape exceeds.

#include <cstdint>
#include <vector>

#include "baselines/exact/menu.h"
#include "baselines/exact/task_line.h"

namespace shardscout::baselines::exact {

/// For one tp and cp. Every kernel of a block but the exchange's works on rows, a rank's share of the tokens, and its
/// FLOP and bytes are linear in them (the price of a shape is not, but never below). So a block's options are priced
/// once as lines over the rows. Left out, and so 0: the ends of the model, collectives but the attention's, the dense
/// FFN's weights (their reading depends on a group that tp does not tell), and of a MoE layer all but the FLOP of the
/// experts.
class WorkBound {
 public:
  /// Without any collectives, and so for every cp.
  WorkBound(const MenuMaker& maker, std::int64_t tp);
  /// For one cp, the attention's collectives among it.
  WorkBound(const MenuMaker& maker, std::int64_t tp, std::int64_t cp);

  /// Seconds that the layers of the whole model take at least with `rows` tokens a cell (a dp and cp rank's).
  double LayerSeconds(Phase phase, double rows) const;
  /// The same without the MoE blocks, of which more may be known.
  double SecondsWithoutMoe(Phase phase, double rows) const;
  /// Of the attentions alone.
  double AttentionSeconds(Phase phase, double rows) const;
  /// The limit of rows / LayerSeconds for many rows: tokens a second.
  double MostRowsPerSecond(Phase phase) const;

 private:
  using Lines = std::vector<TaskLine>;
  /// One kind of block: the tasks of each of its options, and in how many layers it is.
  struct Blocks {
    double layers = 0;
    bool moe = false;
    bool attention = false;
    std::vector<Lines> options;
    double Seconds(double rows) const;
  };
  void AddLayers(const MenuMaker& maker, const Strategy& s, env::SpanCache* spans);
  void AddBlocks(const MenuMaker& maker, const Strategy& s, BlockKind kind, double layers, env::SpanCache* spans);

  std::vector<Blocks> blocks_[2];  ///< By Phase.
};

}  // namespace shardscout::baselines::exact
