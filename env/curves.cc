#include <array>
#include <cmath>
#include <utility>

#include "shardscout/event_file.h"
#include "shardscout/run_search.h"

namespace shardscout {

void WriteCurves(SearchRequest& request, EventFile& file) {
  request.on_scalars = [&file, before = std::move(request.on_scalars)](std::int64_t evaluations,
                                                                       std::span<const Scalar> scalars) {
    file.Write(evaluations, scalars);
    if (before) before(evaluations, scalars);
  };
  request.on_progress = [&file, before = std::move(request.on_progress)](const Progress& progress) {
    if (std::isfinite(progress.best_reward)) {
      const double share = static_cast<double>(progress.feasible) / static_cast<double>(progress.evaluations);
      const std::array<Scalar, 2> scalars = {
          {{"search/best_reward", progress.best_reward}, {"search/feasible_share", share}}};
      file.Write(progress.evaluations, scalars);
    }
    if (before) before(progress);
  };
}

}  // namespace shardscout
