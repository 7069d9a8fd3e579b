#include "env/simulator/collective_steps.h"

#include <cstddef>
#include <utility>

#include "shardscout/error.h"

namespace shardscout::env {
namespace {

class Steps {
 public:
  explicit Steps(const StepNetwork& network) : network_(network) {
    for (const StepDimension& dimension : network.dimensions) num_ranks_ *= dimension.ranks;
    ready_.assign(static_cast<std::size_t>(num_ranks_), -1);
    const std::size_t streams = static_cast<std::size_t>(num_ranks_) * (network.dimensions.size() + 1);
    for (std::size_t i = 0; i < streams; ++i) graph_.AddStream();
  }

  /// `messages` of m bytes, one after another, from each rank to the next one of its ring; then, `adds`, they are
  /// added.
  void Pass(std::size_t d, double m, bool adds, std::int64_t messages = 1) {
    const StepDimension& dimension = network_.dimensions[d];
    std::int64_t inner = 1;
    for (std::size_t i = 0; i < d; ++i) inner *= network_.dimensions[i].ranks;
    const Picoseconds message = ToPicoseconds(dimension.latency_s + dimension.passes * m / dimension.bytes_per_s);
    const bool takes_time = adds && network_.memory_bytes_per_s > 0;
    std::vector<SimTaskId> next(ready_.size());
    for (std::int64_t rank = 0; rank < num_ranks_; ++rank) {
      SimTaskId last = ready_[Index(rank)];
      for (std::int64_t i = 0; i < messages; ++i) last = Add(StreamOf(rank, d + 1), message, last);
      const std::int64_t at = rank / inner % dimension.ranks;
      const std::int64_t to = rank + ((at + 1) % dimension.ranks - at) * inner;
      if (takes_time) last = Add(StreamOf(to, 0), ToPicoseconds(3 * m / network_.memory_bytes_per_s), last);
      next[Index(to)] = last;
    }
    ready_ = next;
  }

  SimulationGraph Take() { return std::move(graph_); }

 private:
  static std::size_t Index(std::int64_t rank) { return static_cast<std::size_t>(rank); }
  /// Stream 0 of a rank adds, d + 1 sends along dimension d.
  StreamId StreamOf(std::int64_t rank, std::size_t stream) const {
    return static_cast<StreamId>(Index(rank) * (network_.dimensions.size() + 1) + stream);
  }
  SimTaskId Add(StreamId stream, Picoseconds duration, SimTaskId after) {
    if (after < 0) return graph_.AddTask(stream, duration);
    return graph_.AddTask(stream, duration, {{after}});
  }

  const StepNetwork& network_;
  SimulationGraph graph_;
  std::int64_t num_ranks_ = 1;
  std::vector<SimTaskId> ready_;  ///< By rank: after which task it can send on.
};

/// Leaves a rank its share of `bytes`, which is returned.
double ReduceScatter(Steps& steps, const StepNetwork& network, std::size_t d, double bytes) {
  const std::int64_t n = network.dimensions[d].ranks;
  const double part = bytes / static_cast<double>(n);
  for (std::int64_t i = 1; i < n; ++i) steps.Pass(d, part, true);
  return part;
}

/// Of `bytes` a rank; what it has in the end is returned.
double AllGather(Steps& steps, const StepNetwork& network, std::size_t d, double bytes) {
  const std::int64_t n = network.dimensions[d].ranks;
  for (std::int64_t i = 1; i < n; ++i) steps.Pass(d, bytes, false);
  return bytes * static_cast<double>(n);
}

}  // namespace

SimulationGraph CollectiveSteps(const StepNetwork& network, Collective collective, double bytes) {
  Steps steps(network);
  const std::size_t dimensions = network.dimensions.size();
  SHARDSCOUT_CHECK_OP(dimensions, >=, 1u);
  switch (collective) {
    case Collective::kAllReduce:
      for (std::size_t d = 0; d < dimensions; ++d) bytes = ReduceScatter(steps, network, d, bytes);
      for (std::size_t d = dimensions; d-- > 0;) bytes = AllGather(steps, network, d, bytes);
      break;
    case Collective::kReduceScatter:
      for (std::size_t d = 0; d < dimensions; ++d) bytes = ReduceScatter(steps, network, d, bytes);
      break;
    case Collective::kAllGather:
      for (std::size_t d = dimensions; d-- > 0;) bytes = AllGather(steps, network, d, bytes);
      break;
    case Collective::kAllToAll:
      for (std::size_t d = 0; d < dimensions; ++d) {
        const std::int64_t n = network.dimensions[d].ranks;
        for (std::int64_t i = 1; i < n; ++i) steps.Pass(d, bytes / static_cast<double>(n), false, n - i);
      }
      break;
    case Collective::kNone:
    case Collective::kSendRecv:
      SHARDSCOUT_CHECK_OP(bytes, <, 0.0);  // No collective of ranks.
  }
  return steps.Take();
}

}  // namespace shardscout::env
