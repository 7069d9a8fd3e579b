#pragma once

// A bound on the time of a MoE block before its menu is made: lines for the routed part on each expert mesh, the
// exchange's collectives among them. In a prefill pass the exchange is most of what a shape decides.

#include <cstdint>
#include <limits>
#include <vector>

#include "baselines/exact/menu.h"
#include "baselines/exact/task_line.h"

namespace shardscout::baselines::exact {

/// For one tp and phase. Left out, and so 0: what the experts' kernels read and how much more the fullest rank has to
/// do than the mean, reshards of the residual stream, and of the shared expert all but its FLOP.
class MoeBound {
 public:
  MoeBound(const MenuMaker& maker, std::int64_t tp, Phase phase, const std::vector<ExpertMesh>& meshes);

  /// Seconds that one layer takes at least with `rows` tokens a cell, on meshes[mesh]: the experts' kernels and the
  /// rest of it.
  double ExpertSeconds(std::size_t mesh, double rows) const { return experts_[mesh].Seconds(rows); }
  double RestSeconds(std::size_t mesh, double rows) const;

 private:
  struct Line {
    double s = 0, s_per_row = 0;
    double At(double rows) const { return s + s_per_row * rows; }
  };
  /// Two lines that an option's time is never below.
  struct Option {
    Line steepest;  ///< Each kernel's larger rate a row, of FLOP or bytes, and no bytes that all rows share.
    Line memory;    ///< Each kernel bound by its bytes.
    bool NoWorse(const Option& other) const;
  };
  void AddMesh(const MenuMaker& maker, Strategy s, Phase phase, env::SpanCache& spans);
  static Option Price(const Problem& problem, const Strategy& s, Phase phase, env::SpanCache& spans, TaskLine& experts);

  std::vector<TaskLine> experts_;             ///< By mesh.
  std::vector<std::vector<Option>> options_;  ///< By mesh; empty: no exchange is admitted.
};

}  // namespace shardscout::baselines::exact
