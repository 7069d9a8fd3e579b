#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "env/simulator/pass_simulation.h"
#include "shardscout/dtype.h"
#include "shardscout/program.h"

/// The nodes of a Chakra trace, from the simulator's graph of a pass.
///
/// All ranks of a stage do the same, so that they have one list of nodes; they differ in the members of their groups
/// and in whom they send to. A task of the graph is a node. A send between stages is two: a send on the sender's ranks
/// and a receive on the receiver's, of equal position in their stages, on which the first task of the micro-batch
/// there depends. Where the halves of a micro-batch meet is no node: what waits for it waits for both.
///
/// Dependencies. data_deps: the tasks of the same micro-batch that a task follows in the graph. ctrl_deps: the one
/// before it on its stream, since kernels, collectives, sends and receives each run one at a time, and where a stage
/// waits for the micro-batch before. None is in both. A node's dependencies have smaller ids.
///
/// Times are those of the simulated schedule, where links are shared too, in whole microseconds: a node begins and ends
/// at the nearest one. Rounding keeps order, so that a node begins at the latest rounded end of its dependencies, or at
/// 0: a replay that gives every node its duration ends when the simulator's pass ends, to half a microsecond, however
/// many nodes there are. A receive begins when the one before it has ended and lasts until what is sent has arrived.
namespace shardscout::exporters {

enum class ChakraKind : std::uint8_t { kCompute, kCollective, kSend, kReceive };

/// Invariants: id >= 1; num_ops, tensor_bytes, comm_bytes >= 1 where they apply.
struct ChakraNode {
  ChakraKind kind = ChakraKind::kCompute;
  std::uint64_t id = 0;
  std::string name;  ///< "layer 3 attn_out all_reduce, stage 0, micro-batch 1"
  std::vector<std::uint64_t> data_deps, ctrl_deps;
  std::int64_t start_us = 0, duration_us = 0;

  // kCompute
  std::int64_t num_ops = 0;       ///< FLOP of the fullest rank; 1 where there are none, since readers divide by it.
  std::int64_t tensor_bytes = 0;  ///< That move between the device and its memory.
  DType dtype = DType::kBf16;     ///< Of the operands.

  // kCollective
  Collective collective = Collective::kNone;
  Group group{};

  /// kCollective: what a rank contributes to an all_gather (its output over the ranks); else the rank's whole buffer
  /// (Task::payload_bytes). kSend, kReceive: the message.
  std::int64_t comm_bytes = 0;

  // kSend, kReceive
  std::int32_t peer_stage = 0;
  std::int32_t tag = 0;  ///< Counts a stage's sends from 0, so that both ends have the same.
  bool operator==(const ChakraNode&) const = default;
};

/// The nodes of every rank of a stage, ids from 1 in rising order. `pass` is detailed, `schedule` its schedule.
std::vector<ChakraNode> TraceStage(const env::PassMaker& maker, const env::Pass& pass, const env::Schedule& schedule,
                                   std::int32_t stage);

/// The ranks of the group that `rank` is in, rising; stages have `stage_size` ranks. Worked example: stages of 8 ranks,
/// a group of size 2 and stride 2, rank 13: 8 + {5, 7} = {13, 15}.
std::vector<std::int64_t> GroupMembers(const Group& group, std::int64_t rank, std::int64_t stage_size);

/// Groups of ranks, numbered from 1 in the order in which they were first asked for.
class CommGroups {
 public:
  std::int64_t NumberOf(const std::vector<std::int64_t>& members);
  /// {"1": [0, 1], "2": [2, 3]}, one group a line.
  std::string Json() const;

 private:
  std::map<std::vector<std::int64_t>, std::int64_t> numbers_;
};

}  // namespace shardscout::exporters
