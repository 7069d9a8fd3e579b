#pragma once

// Chakra traces read back, and the rules that every export keeps: sound dependencies, messages with both ends, groups
// whose members run the same collectives, work that adds up to the program's, and a replay of all ranks.

#include <chakra_et.pb.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <deque>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "env/simulator/pass_simulation.h"
#include "shardscout/error.h"
#include "shardscout/exporter.h"
#include "src/export/chakra_trace.h"

namespace shardscout::exporters {

// ---- reading back ----

struct Trace {
  chakra::GlobalMetadata metadata;
  std::vector<chakra::Node> nodes;
};

template <class Message>
bool Read(google::protobuf::io::CodedInputStream& in, Message& message) {
  std::uint32_t length = 0;
  if (!in.ReadVarint32(&length)) return false;
  const auto limit = in.PushLimit(static_cast<int>(length));
  const bool read = message.ParseFromCodedStream(&in) && in.BytesUntilLimit() == 0;
  in.PopLimit(limit);
  EXPECT_TRUE(read);
  return read;
}

inline Trace ParseTrace(const std::string& text) {
  google::protobuf::io::ArrayInputStream stream(text.data(), static_cast<int>(text.size()));
  google::protobuf::io::CodedInputStream in(&stream);
  Trace trace;
  EXPECT_TRUE(Read(in, trace.metadata));
  for (chakra::Node node; Read(in, node);) trace.nodes.push_back(node);
  EXPECT_EQ(in.CurrentPosition(), static_cast<int>(text.size()));
  return trace;
}

inline const chakra::AttributeProto* Find(const chakra::Node& node, std::string_view name) {
  for (const chakra::AttributeProto& attribute : node.attr()) {
    if (attribute.name() == name) return &attribute;
  }
  return nullptr;
}

inline const chakra::AttributeProto& Attribute(const chakra::Node& node, std::string_view name) {
  const chakra::AttributeProto* attribute = Find(node, name);
  if (attribute == nullptr) {
    ADD_FAILURE() << node.name() << " has no " << name;
    return chakra::AttributeProto::default_instance();
  }
  return *attribute;
}

std::int64_t CommSize(const chakra::Node& node) { return Attribute(node, "comm_size").int64_val(); }
std::string GroupOf(const chakra::Node& node) { return Attribute(node, "pg_name").string_val(); }

inline const ExportFile* FindFile(const ExportResult& result, const std::string& name) {
  for (const ExportFile& file : result.files) {
    if (file.name == name) return &file;
  }
  return nullptr;
}

inline std::vector<Trace> ReadPhase(const ExportResult& result, const std::string& phase) {
  std::vector<Trace> ranks;
  while (const ExportFile* file = FindFile(result, phase + "." + std::to_string(ranks.size()) + ".et")) {
    ranks.push_back(ParseTrace(file->text));
  }
  return ranks;
}

using Members = std::map<std::string, std::vector<std::int64_t>>;

inline Members ReadGroups(const ExportResult& result) {
  return nlohmann::json::parse(FindFile(result, "comm_groups.json")->text).get<Members>();
}

// ---- the rules ----

inline void CheckNode(const chakra::Node& node, std::size_t place) {
  ASSERT_EQ(node.id(), place + 1) << "ids rise from 1";
  ASSERT_FALSE(node.name().empty());
  std::set<std::uint64_t> before;
  for (const auto* deps : {&node.data_deps(), &node.ctrl_deps()}) {
    for (const std::uint64_t id : *deps) {
      ASSERT_TRUE(id >= 1 && id < node.id()) << node.name() << " depends on " << id;
      ASSERT_TRUE(before.insert(id).second) << node.name() << " depends on " << id << " twice";
    }
  }
  ASSERT_EQ(Attribute(node, "is_cpu_op").value_case(), chakra::AttributeProto::kBoolVal);
  ASSERT_FALSE(Attribute(node, "is_cpu_op").bool_val());
  if (node.type() == chakra::COMP_NODE) {
    ASSERT_GE(Attribute(node, "num_ops").int64_val(), 1);
    ASSERT_GE(Attribute(node, "tensor_size").uint64_val(), 1u);
    return;
  }
  ASSERT_GE(CommSize(node), 1);
  if (node.type() == chakra::COMM_COLL_NODE) {
    ASSERT_GE(std::stoi(GroupOf(node)), 1);
    ASSERT_EQ(Attribute(node, "comm_type").value_case(), chakra::AttributeProto::kInt64Val);
    return;
  }
  ASSERT_TRUE(node.type() == chakra::COMM_SEND_NODE || node.type() == chakra::COMM_RECV_NODE);
}

/// Source, destination, tag and size.
using Message = std::tuple<std::int32_t, std::int32_t, std::int32_t, std::int64_t>;

inline Message MessageOf(const chakra::Node& node) {
  return {Attribute(node, "comm_src").int32_val(), Attribute(node, "comm_dst").int32_val(),
          Attribute(node, "comm_tag").int32_val(), CommSize(node)};
}

inline void CheckMessages(const std::vector<Trace>& ranks, std::int64_t stage_size) {
  std::set<Message> sent, received;
  std::set<std::tuple<std::int32_t, std::int32_t, std::int32_t>> tags;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    for (const chakra::Node& node : ranks[rank].nodes) {
      const bool sends = node.type() == chakra::COMM_SEND_NODE;
      if (!sends && node.type() != chakra::COMM_RECV_NODE) continue;
      const auto [source, destination, tag, size] = MessageOf(node);
      ASSERT_EQ(sends ? source : destination, static_cast<std::int32_t>(rank));
      ASSERT_LT(static_cast<std::size_t>(sends ? destination : source), ranks.size());
      ASSERT_EQ(source % stage_size, destination % stage_size) << "equal positions in their stages";
      ASSERT_NE(source, destination);
      ASSERT_TRUE((sends ? sent : received).insert(MessageOf(node)).second);
      if (sends) {
        ASSERT_TRUE(tags.insert({source, destination, tag}).second) << "a tag names one message";
      }
    }
  }
  ASSERT_EQ(sent, received);
}

/// Each member of a group runs the same collectives in the same order.
inline void CheckGroups(const std::vector<Trace>& ranks, const Members& groups, std::set<std::string>& used) {
  std::map<std::string, std::vector<std::vector<std::pair<std::int64_t, std::int64_t>>>> sequences;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    std::map<std::string, std::vector<std::pair<std::int64_t, std::int64_t>>> own;
    for (const chakra::Node& node : ranks[rank].nodes) {
      if (node.type() != chakra::COMM_COLL_NODE) continue;
      own[GroupOf(node)].emplace_back(Attribute(node, "comm_type").int64_val(), CommSize(node));
    }
    for (auto& [group, sequence] : own) {
      ASSERT_TRUE(groups.contains(group)) << group;
      const std::vector<std::int64_t>& members = groups.at(group);
      ASSERT_TRUE(std::find(members.begin(), members.end(), static_cast<std::int64_t>(rank)) != members.end());
      sequences[group].push_back(std::move(sequence));
      used.insert(group);
    }
  }
  for (const auto& [group, of_members] : sequences) {
    ASSERT_EQ(of_members.size(), groups.at(group).size()) << "all members take part in " << group;
    for (const auto& sequence : of_members) ASSERT_EQ(sequence, of_members.front());
  }
}

/// A replay of all ranks: a node starts when its dependencies are done, a collective when all members are there and a
/// receive ends when its send has. It takes no notice of start_time_micros.
class Replay {
 public:
  Replay(const std::vector<Trace>& ranks, const Members& groups) : ranks_(ranks), groups_(groups) {
    for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
      const auto& nodes = ranks[rank].nodes;
      ends_.emplace_back(nodes.size(), -1);
      starts_.emplace_back(nodes.size(), 0);
      waits_.emplace_back(nodes.size(), 0);
      after_.emplace_back(nodes.size());
      for (std::size_t i = 0; i < nodes.size(); ++i) {
        for (const auto* deps : {&nodes[i].data_deps(), &nodes[i].ctrl_deps()}) {
          for (const std::uint64_t id : *deps) after_[rank][id - 1].push_back(i);
        }
        waits_[rank][i] = nodes[i].data_deps_size() + nodes[i].ctrl_deps_size();
        if (waits_[rank][i] == 0) ready_.push_back({rank, i});
      }
    }
    while (!ready_.empty()) {
      const Place place = ready_.front();
      ready_.pop_front();
      Start(place);
    }
  }

  /// When the last node ended; nothing where some never start.
  std::optional<std::int64_t> End() const {
    std::int64_t last = 0;
    for (const auto& ends : ends_) {
      for (const std::int64_t end : ends) {
        if (end < 0) return std::nullopt;
        last = std::max(last, end);
      }
    }
    return last;
  }
  std::int64_t StartOf(std::size_t rank, std::size_t i) const { return starts_[rank][i]; }
  std::int64_t EndOf(std::size_t rank, std::size_t i) const { return ends_[rank][i]; }

 private:
  using Place = std::pair<std::size_t, std::size_t>;

  void Start(const Place& place) {
    const auto [rank, i] = place;
    const chakra::Node& node = ranks_[rank].nodes[i];
    const auto duration = static_cast<std::int64_t>(node.duration_micros());
    if (node.type() == chakra::COMM_COLL_NODE) {
      const std::string group = GroupOf(node);
      auto& [members, start] = collectives_[{group, done_[{rank, group}]++}];
      members.push_back(place);
      start = std::max(start, starts_[rank][i]);
      if (members.size() < groups_.at(group).size()) return;
      for (const Place& member : members) {
        starts_[member.first][member.second] = start;
        Finish(member, start + duration);
      }
      return;
    }
    if (node.type() == chakra::COMP_NODE) return Finish(place, starts_[rank][i] + duration);
    const Message message = MessageOf(node);
    if (node.type() == chakra::COMM_SEND_NODE) {
      const std::int64_t end = starts_[rank][i] + duration;
      arrived_[message] = end;
      Finish(place, end);
      const auto receive = posted_.find(message);
      if (receive != posted_.end()) Finish(receive->second, std::max(end, StartOf(receive->second)));
      return;
    }
    const auto sent = arrived_.find(message);
    if (sent == arrived_.end()) {
      posted_[message] = place;
    } else {
      Finish(place, std::max(sent->second, StartOf(place)));
    }
  }

  std::int64_t StartOf(const Place& place) const { return starts_[place.first][place.second]; }

  void Finish(const Place& place, std::int64_t end) {
    const auto [rank, i] = place;
    ends_[rank][i] = end;
    for (const std::size_t next : after_[rank][i]) {
      starts_[rank][next] = std::max(starts_[rank][next], end);
      if (--waits_[rank][next] == 0) ready_.push_back({rank, next});
    }
  }

  const std::vector<Trace>& ranks_;
  const Members& groups_;
  std::vector<std::vector<std::int64_t>> starts_, ends_;
  std::vector<std::vector<int>> waits_;
  std::vector<std::vector<std::vector<std::size_t>>> after_;
  std::deque<Place> ready_;
  std::map<std::pair<std::size_t, std::string>, int> done_;
  std::map<std::pair<std::string, int>, std::pair<std::vector<Place>, std::int64_t>> collectives_;
  std::map<Message, std::int64_t> arrived_;
  std::map<Message, Place> posted_;
};

/// Nothing of one kind runs at the same time on a rank.
inline void CheckStreams(const Replay& replay, const std::vector<Trace>& ranks) {
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    std::map<int, std::int64_t> busy_until;
    for (std::size_t i = 0; i < ranks[rank].nodes.size(); ++i) {
      const chakra::Node& node = ranks[rank].nodes[i];
      std::int64_t& until = busy_until[node.type()];
      ASSERT_GE(replay.StartOf(rank, i), until) << node.name();
      until = replay.EndOf(rank, i);
      ASSERT_EQ(replay.StartOf(rank, i), static_cast<std::int64_t>(node.start_time_micros())) << node.name();
      ASSERT_EQ(replay.EndOf(rank, i), static_cast<std::int64_t>(node.start_time_micros() + node.duration_micros()))
          << node.name() << ": also where receives take their own duration";
    }
  }
}

struct PhaseOf {
  Phase phase = Phase::kPrefill;
  std::int64_t microbatches = 1, rounds = 1;
};

inline std::vector<PhaseOf> Phases(const Problem& problem, const Strategy& s) {
  std::vector<PhaseOf> phases;
  if (problem.workload().HasPhase(Phase::kPrefill)) {
    phases.push_back({Phase::kPrefill, problem.workload().kind == WorkloadKind::kServe ? 1 : s.num_microbatches, 1});
  }
  if (problem.workload().HasPhase(Phase::kDecode)) {
    phases.push_back({Phase::kDecode, s.num_microbatches, s.pipeline_parallel_size > 1 ? 4 : 1});
  }
  return phases;
}

/// What the program says of all ranks and micro-batches: FLOP, bytes of collectives as Chakra counts them, of messages.
struct Totals {
  double flop = 0, collective_bytes = 0, message_bytes = 0;
};

inline Totals ProgramTotals(const Problem& problem, Strategy s, const PhaseOf& of, bool halved) {
  const std::int64_t stage_size = s.InstanceSize() / s.pipeline_parallel_size;
  const double passes = static_cast<double>(stage_size * of.microbatches * of.rounds);
  const Block transfer = LowerBlock(problem, s, of.phase, BlockKind::kTransfer);
  const double halves = halved ? 2 : 1;
  if (halved) {
    s.batch_size /= 2;
    s.overlap = Overlap::kNone;
  }
  std::map<BlockKind, Totals> blocks;
  for (const BlockKind kind : {BlockKind::kEmbedding, BlockKind::kAttention, BlockKind::kWindowAttention,
                               BlockKind::kLinearAttention, BlockKind::kDenseFfn, BlockKind::kMoe, BlockKind::kHead}) {
    for (const Task& task : LowerBlock(problem, s, of.phase, kind).tasks) {
      blocks[kind].flop += halves * task.work.flop;
      if (task.kind != TaskKind::kCollective) continue;
      const bool gathers = task.collective == Collective::kAllGather;
      blocks[kind].collective_bytes +=
          halves * task.payload_bytes / (gathers ? static_cast<double>(task.group.size) : 1);
    }
  }
  Totals totals;
  const auto add = [&](BlockKind kind) {
    totals.flop += passes * blocks[kind].flop;
    totals.collective_bytes += passes * blocks[kind].collective_bytes;
  };
  const ModelSpec& model = problem.model();
  add(BlockKind::kEmbedding);
  for (std::int64_t layer = 0; layer < model.num_layers; ++layer) {
    add(AttentionBlockOf(model, layer));
    const bool moe = model.layers[static_cast<std::size_t>(layer)] == LayerKind::kMoe;
    add(moe ? BlockKind::kMoe : BlockKind::kDenseFfn);
  }
  add(BlockKind::kHead);
  if (!transfer.tasks.empty()) {
    const auto sends = static_cast<double>(s.pipeline_parallel_size - 1);
    totals.message_bytes = passes * sends * transfer.tasks[0].payload_bytes;
    if (transfer.tasks.size() > 1) totals.message_bytes += passes * transfer.tasks[1].payload_bytes;
  }
  return totals;
}

inline void CheckTotals(const std::vector<Trace>& ranks, const Totals& expected) {
  Totals found;
  double nodes = 0;
  for (const Trace& trace : ranks) {
    nodes += static_cast<double>(trace.nodes.size());
    for (const chakra::Node& node : trace.nodes) {
      if (node.type() == chakra::COMP_NODE) {
        found.flop += static_cast<double>(Attribute(node, "num_ops").int64_val());
      } else if (node.type() == chakra::COMM_COLL_NODE) {
        found.collective_bytes += static_cast<double>(CommSize(node));
      } else if (node.type() == chakra::COMM_SEND_NODE) {
        found.message_bytes += static_cast<double>(CommSize(node));
      }
    }
  }
  // Each is rounded, and at least 1.
  const double relative = 1e-9;
  EXPECT_NEAR(found.flop, expected.flop, nodes + relative * expected.flop);
  EXPECT_NEAR(found.collective_bytes, expected.collective_bytes, nodes + relative * expected.collective_bytes);
  EXPECT_NEAR(found.message_bytes, expected.message_bytes, nodes + relative * expected.message_bytes);
}

inline void CheckExport(const Problem& problem, const Strategy& s, const ExportResult& result) {
  SCOPED_TRACE(problem.model().name + ": " + ToShortString(s));
  EXPECT_EQ(result.target, "chakra@0.0.4");
  EXPECT_EQ(result.lowered, s);
  EXPECT_TRUE(result.dropped.empty());
  const Members groups = ReadGroups(result);
  std::set<std::string> used;
  for (const PhaseOf& of : Phases(problem, s)) {
    SCOPED_TRACE(std::string(ToString(of.phase)));
    const std::vector<Trace> ranks = ReadPhase(result, std::string(ToString(of.phase)));
    ASSERT_EQ(static_cast<std::int64_t>(ranks.size()), s.InstanceSize());
    for (const Trace& trace : ranks) {
      EXPECT_EQ(trace.metadata.version(), "0.0.4");
      for (std::size_t i = 0; i < trace.nodes.size(); ++i) {
        CheckNode(trace.nodes[i], i);
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
    CheckMessages(ranks, s.InstanceSize() / s.pipeline_parallel_size);
    CheckGroups(ranks, groups, used);
    if (::testing::Test::HasFatalFailure()) return;
    const Replay replay(ranks, groups);
    ASSERT_TRUE(replay.End().has_value()) << "a deadlock";
    CheckStreams(replay, ranks);
    const env::PassMaker maker(problem, s, of.phase, {});
    const env::Pass pass = maker.Make(of.microbatches, of.rounds, false);
    EXPECT_NEAR(static_cast<double>(*replay.End()), env::ToSeconds(env::Simulate(pass.graph).makespan) * 1e6, 1);
    CheckTotals(ranks, ProgramTotals(problem, s, of, maker.Halved()));
  }
  EXPECT_EQ(used.size(), groups.size()) << "no group without a collective";
}

}  // namespace shardscout::exporters
