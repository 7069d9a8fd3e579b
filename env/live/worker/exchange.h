#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "env/live/worker/process_groups.h"
#include "strategies/layouts.h"

namespace shardscout::live {

/// Indices into one dimension of a tensor: all of it, a run, or any.
struct IndexList {
  bool all = false;
  bool run = false;
  std::int64_t first = 0;
  std::int64_t size = 0;
  at::Tensor index;  ///< int64, unless `run`.

  static IndexList Of(const std::vector<std::int64_t>& indices, std::int64_t dim_size, at::Device device);
};

/// Of `x` along `dim`.
at::Tensor Take(const at::Tensor& x, std::int64_t dim, const IndexList& indices);

/// Where the tags that two rising lists share are, in each of them.
std::pair<std::vector<std::int64_t>, std::vector<std::int64_t>> SharedTags(const strategies::Tags& a,
                                                                           const strategies::Tags& b);

/// A part of a [rows, columns] value.
struct Window {
  IndexList rows, columns;
  std::int64_t elements = 0;
};

/// How one value of a collective goes from its input's layout to its output's, as one rank sees it: which part it hands
/// to each member of the group, and where what comes from each belongs. Found from the layouts of all members, once.
struct ExchangePlan {
  std::vector<Window> send;            ///< By member, of the input. All-gather: one, all of it. All-reduce: none.
  std::vector<Window> receive;         ///< By member, of the output. Reduce-scatter: one, all of it. All-reduce: none.
  std::int64_t rows = 0, columns = 0;  ///< Of the output.
  bool adds = false;                   ///< All-to-all whose parts are added up on arrival.
  double bytes_per_element = 4;        ///< As the program has it.
};

/// `stage_members`: the group of `stage_rank`, as ranks of the stage.
ExchangePlan PlanExchange(const Task& task, const Value& in, const Value& out, bool adds, strategies::Layouts& layouts,
                          const std::vector<std::int64_t>& stage_members, std::int64_t stage_rank, at::Device device);

/// Runs a collective on one value, or on two in one call; `payload_bytes` gets what was handed over, counted as
/// Task::payload_bytes counts it.
std::vector<at::Tensor> RunExchange(Communicator& group, Collective collective,
                                    const std::vector<const ExchangePlan*>& plans,
                                    const std::vector<at::Tensor>& inputs, double* payload_bytes);

}  // namespace shardscout::live
