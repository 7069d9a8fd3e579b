#include "src/export/chakra_trace.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <span>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "shardscout/error.h"

namespace shardscout::exporters {
namespace {

using env::Pass;
using env::PassTask;
using env::Picoseconds;
using env::Schedule;
using env::SimTaskId;
using Ids = std::vector<std::uint64_t>;

std::int64_t Microseconds(Picoseconds time) { return (time + 500'000) / 1'000'000; }

std::int64_t AtLeastOne(double count) { return std::max<std::int64_t>(1, std::llround(count)); }

bool IsTransfer(const PassTask& task) { return task.task != nullptr && task.block == BlockKind::kTransfer; }

bool SameWork(const PassTask& a, const PassTask& b) {
  return a.stage == b.stage && a.microbatch == b.microbatch && a.round == b.round;
}

void AddNew(const Ids& from, Ids& to) {
  for (const std::uint64_t id : from) {
    if (std::find(to.begin(), to.end(), id) == to.end()) to.push_back(id);
  }
}

std::string WhatOf(const Task& task) {
  std::string what(ToString(task.op));
  const std::string_view how = task.kind == TaskKind::kCollective ? ToString(task.collective) : ToString(task.kind);
  if (how != what) what += " " + std::string(how);
  if (task.ffn == FfnKind::kShared) what += " (shared expert)";
  return what;
}

/// Walks the graph once and keeps what happens on one stage.
class StageTracer {
 public:
  StageTracer(const env::PassMaker& maker, const Pass& pass, const Schedule& schedule, std::int32_t stage)
      : maker_(maker), pass_(pass), schedule_(schedule), stage_(stage), node_(pass.tasks.size(), 0) {
    num_stages_ = pass.graph.num_streams() / env::kStreamsOfAStage;
  }

  std::vector<ChakraNode> Run() {
    for (SimTaskId t = 0; t < pass_.graph.num_tasks(); ++t) {
      const PassTask& task = TaskOf(t);
      if (IsTransfer(task) && ReceiverOf(task.stage) == stage_) AddReceive(t);
      if (task.stage != stage_) continue;
      if (task.task == nullptr) {
        AddMeeting(t);
      } else {
        AddTask(t);
      }
    }
    return std::move(nodes_);
  }

 private:
  const PassTask& TaskOf(SimTaskId t) const { return pass_.tasks[static_cast<std::size_t>(t)]; }
  std::int64_t EndOf(SimTaskId t) const { return Microseconds(schedule_.end[static_cast<std::size_t>(t)]); }
  std::int32_t ReceiverOf(std::int32_t sender) const { return sender + 1 == num_stages_ ? 0 : sender + 1; }
  /// Messages of a micro-batch follow one another by rounds.
  std::int32_t TagOf(const PassTask& task) const {
    return task.round * static_cast<std::int32_t>(pass_.ends.front().size()) + task.microbatch;
  }

  std::string NameOf(std::string what, const PassTask& task) const {
    if (task.layer >= 0) what = "layer " + std::to_string(task.layer) + " " + what;
    what += ", stage " + std::to_string(stage_) + ", micro-batch " + std::to_string(task.microbatch);
    if (task.phase == Phase::kDecode) what += ", token " + std::to_string(task.round);
    if (maker_.Halved() && !IsTransfer(task)) what += ", half " + std::to_string(task.half);
    if (task.chunk >= 0) what += ", chunk " + std::to_string(task.chunk);
    return what;
  }

  /// The nodes of this stage that a task stands for: several where halves meet.
  Ids NodesOf(SimTaskId t) const {
    const auto meeting = meetings_.find(t);
    if (meeting != meetings_.end()) return meeting->second;
    const std::uint64_t id = node_[static_cast<std::size_t>(t)];
    SHARDSCOUT_CHECK_OP(id, >, 0u);
    return {id};
  }

  Ids& StreamOf(SimTaskId t) { return stream_[static_cast<std::size_t>(env::StreamKind(pass_.graph.StreamOf(t)))]; }

  void AddMeeting(SimTaskId t) {
    Ids all;
    for (const SimTaskId before : pass_.graph.AfterOf(t)) AddNew(NodesOf(before), all);
    AddNew(StreamOf(t), all);
    StreamOf(t) = all;
    meetings_.emplace(t, std::move(all));
  }

  void AddTask(SimTaskId t) {
    const PassTask& task = TaskOf(t);
    ChakraNode node;
    for (const SimTaskId before : pass_.graph.AfterOf(t)) {
      const bool data = SameWork(TaskOf(before), task) || IsTransfer(TaskOf(before));
      AddNew(NodesOf(before), data ? node.data_deps : node.ctrl_deps);
    }
    AddNew(StreamOf(t), node.ctrl_deps);
    node.start_us = Microseconds(schedule_.begin[static_cast<std::size_t>(t)]);
    Describe(task, node);
    StreamOf(t) = {Append(t, std::move(node), EndOf(t))};
  }

  void AddReceive(SimTaskId t) {
    const PassTask& sent = TaskOf(t);
    ChakraNode node;
    node.kind = ChakraKind::kReceive;
    node.ctrl_deps = receives_;
    node.name = NameOf("receive from stage " + std::to_string(sent.stage), sent);
    node.start_us = last_receive_us_;
    node.comm_bytes = AtLeastOne(sent.task->payload_bytes);
    node.peer_stage = sent.stage;
    node.tag = TagOf(sent);
    last_receive_us_ = EndOf(t);
    receives_ = {Append(t, std::move(node), EndOf(t))};
  }

  std::uint64_t Append(SimTaskId t, ChakraNode node, std::int64_t end_us) {
    std::erase_if(node.ctrl_deps, [&](std::uint64_t id) {
      return std::find(node.data_deps.begin(), node.data_deps.end(), id) != node.data_deps.end();
    });
    node.id = nodes_.size() + 1;
    node.duration_us = end_us - node.start_us;
    // A send's receive is another stage's.
    node_[static_cast<std::size_t>(t)] = node.id;
    nodes_.push_back(std::move(node));
    return nodes_.back().id;
  }

  void Describe(const PassTask& task, ChakraNode& node) const {
    const Task priced = maker_.PricedTask(task);
    if (IsTransfer(task)) {
      node.kind = ChakraKind::kSend;
      node.peer_stage = ReceiverOf(stage_);
      node.name = NameOf("send to stage " + std::to_string(node.peer_stage), task);
      node.comm_bytes = AtLeastOne(priced.payload_bytes);
      node.tag = TagOf(task);
      return;
    }
    node.name = NameOf(WhatOf(priced), task);
    if (priced.kind == TaskKind::kCollective) {
      node.kind = ChakraKind::kCollective;
      node.collective = priced.collective;
      node.group = priced.group;
      const bool gathers = priced.collective == Collective::kAllGather;
      node.comm_bytes = AtLeastOne(priced.payload_bytes / (gathers ? static_cast<double>(priced.group.size) : 1));
      return;
    }
    node.num_ops = AtLeastOne(priced.work.flop);
    node.tensor_bytes = AtLeastOne(priced.work.Bytes());
    node.dtype = priced.work.dtype;
  }

  const env::PassMaker& maker_;
  const Pass& pass_;
  const Schedule& schedule_;
  std::int32_t stage_;
  std::int32_t num_stages_ = 0;
  std::vector<std::uint64_t> node_;  ///< By task; 0: none of this stage.
  std::unordered_map<SimTaskId, Ids> meetings_;
  std::array<Ids, env::kStreamsOfAStage> stream_;  ///< The last nodes of each.
  Ids receives_;                                   ///< The last receive.
  std::int64_t last_receive_us_ = 0;
  std::vector<ChakraNode> nodes_;
};

}  // namespace

std::vector<ChakraNode> TraceStage(const env::PassMaker& maker, const Pass& pass, const Schedule& schedule,
                                   std::int32_t stage) {
  SHARDSCOUT_CHECK_OP(pass.tasks.size(), ==, static_cast<std::size_t>(pass.graph.num_tasks()));
  return StageTracer(maker, pass, schedule, stage).Run();
}

std::vector<std::int64_t> GroupMembers(const Group& group, std::int64_t rank, std::int64_t stage_size) {
  const std::int64_t place = rank % stage_size;
  const std::int64_t period = group.size * group.stride;
  const std::int64_t base = rank - place + place / period * period + place % group.stride;
  std::vector<std::int64_t> members;
  for (std::int64_t i = 0; i < group.size; ++i) members.push_back(base + i * group.stride);
  return members;
}

std::int64_t CommGroups::NumberOf(const std::vector<std::int64_t>& members) {
  return numbers_.emplace(members, static_cast<std::int64_t>(numbers_.size()) + 1).first->second;
}

std::string CommGroups::Json() const {
  std::vector<const std::vector<std::int64_t>*> by_number(numbers_.size());
  for (const auto& [members, number] : numbers_) by_number[static_cast<std::size_t>(number - 1)] = &members;
  std::string json = "{";
  for (std::size_t i = 0; i < by_number.size(); ++i) {
    json += (i == 0 ? "\n  \"" : ",\n  \"") + std::to_string(i + 1) + "\": [";
    std::string_view separator;
    for (const std::int64_t rank : *by_number[i]) {
      json += separator;
      json += std::to_string(rank);
      separator = ", ";
    }
    json += "]";
  }
  return json + "\n}\n";
}

}  // namespace shardscout::exporters
