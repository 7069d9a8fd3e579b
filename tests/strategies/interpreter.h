#pragma once

#include <cstdint>

#include "shardscout/problem.h"
#include "shardscout/program.h"
#include "tests/strategies/interpreter_names.h"

namespace shardscout::interpret {

struct Interpretation {
  double max_error = 0;          ///< max |logits - reference| / max |reference|, over all passes.
  std::int64_t logits_rows = 0;  ///< Rows compared, replicas on several ranks counted each.
  std::int64_t passes = 0;       ///< Runs through the model.
};

/// Executes a program in double precision with all ranks of one instance in this process, on the reference's weights
/// and token ids, and compares the logits of every request with the unsharded model's. It reads tasks and values only;
/// what a strategy means, it does not know. Throws InterpretError, naming the task, where what the ranks hold is not
/// what a value says, where data is missing or left partial, where sizes (rows, width, payloads, weights, cache) differ
/// from the program's.
///   prefill: all micro-batches. decode: one step or more, with caches taken from the reference. serve: prefill passes,
/// then output_tokens decode steps on the caches that they wrote.
/// `reference` must have WorkloadSpec::CachePositions positions or more.
Interpretation Interpret(const Problem& problem, const Program& program, ReferenceModel& reference);

}  // namespace shardscout::interpret
