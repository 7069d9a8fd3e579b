#pragma once

// Branch and bound over the degrees, dynamic programming over the shardings: the best strategy of a problem under the
// analytical evaluator, or the front of all that are best in throughput or in latency, with a proof.
//
// A strategy's price is Assemble() of what its blocks cost, and that grows (or stays) with every part. So the least of
// each part over what is still open, assembled by the same function, bounds every completion; equal arithmetic on
// smaller numbers gives smaller numbers in floating point too, so these bounds hold to the last bit. The tree:
//
//   tensor    tp                          bound: the work that every strategy of this tp does (work_bound.h)
//   context   + cp                        bound: with the MoE block's exchange (moe_bound.h)
//   shape     + requests of a micro-batch and rank   bound: with the attention's collectives too
//   mesh      + residual layout, ep, etp  bound: least price of each block from the menus (menu.h), of the MoE block as
//                                         before
//   pipeline  + pp, micro-batches         bound: the same with the whole MoE block, stages, memory and limits
//   leaf      + dp, dense_ffn_group, all shardings: for each residual layout the fronts of the attention mesh's blocks
//               and of the expert mesh's are joined under the memory limit
//
// Open nodes wait in one queue, the best bound first; the best of them bounds all that is left. What blocks cost does
// not depend on how many micro-batches or stages there are, nor, but for where groups lie and for a stage-wide FFN, on
// dp: so prices are shared by most of the tree. Nodes are expanded a batch at a time, in parallel; what is in a batch
// does not depend on the number of threads, and so nor does the result. Now and then one node is followed straight to a
// leaf, because most of the tree is cut by a good score.
//
// The front is found by the same tree: a bound is then a pair, of score and latency, and cuts what some strategy found
// has both of. With the latency of everything 0, front and best are the same, and so is the code.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "baselines/exact/staircase.h"
#include "shardscout/evaluation.h"
#include "shardscout/strategy_space.h"

namespace shardscout::baselines::exact {

/// Larger is better: the objective where more is better, else its inverse.
double ScoreOf(const Problem& problem, const Evaluation& evaluation);

struct Answer {
  std::optional<Candidate> best;  ///< Empty: no strategy is feasible, or (not proved) none was found yet.
  double bound_score = 0;         ///< No feasible strategy of the space scores more.
  bool proved = false;            ///< The search was not cut short.
  std::int64_t expanded = 0;      ///< Nodes.
};

/// Called between batches with the best so far and a score that no strategy exceeds; false ends the search.
using KeepGoing = std::function<bool(const std::optional<Candidate>& best, double bound_score)>;

/// `nodes_at_a_time`: a batch. Ties go to the candidate found first (an order that is always the same).
Answer Solve(const StrategySpace& space, int threads, int nodes_at_a_time, const KeepGoing& keep_going);

struct FrontAnswer {
  std::vector<Candidate> front;  ///< By rising latency, and so rising score: none has both of what another one has.
  bool proved = false;           ///< No feasible strategy of the space is missing.
  std::int64_t expanded = 0;
};

/// The same for score (the problem's objective must not be latency) against latency: TTFT in prefill, else TPOT.
FrontAnswer SolveFront(const StrategySpace& space, int threads, int nodes_at_a_time,
                       const std::function<bool()>& keep_going);

}  // namespace shardscout::baselines::exact
