#include "src/export/chakra.h"

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
#include "shardscout/strategy_space.h"
#include "src/export/chakra_file.h"
#include "src/export/chakra_trace.h"
#include "tests/baselines/random_problems.h"

namespace shardscout::exporters {
namespace {

using shardscout::testing::DenseModel;
using shardscout::testing::MoeModel;
using shardscout::testing::MultiLatentModel;
using shardscout::testing::SmallProblem;

Plan PlanOf(const Problem& problem, const Strategy& strategy) {
  Plan plan;
  plan.model_name = problem.model().name;
  plan.cluster_name = problem.cluster().name;
  plan.workload_name = problem.workload().name;
  plan.problem_digest = problem.digest();
  plan.problem_json = ToJson(problem);
  plan.pools.push_back(MakePool(problem, strategy));
  return plan;
}

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

Trace ParseTrace(const std::string& text) {
  google::protobuf::io::ArrayInputStream stream(text.data(), static_cast<int>(text.size()));
  google::protobuf::io::CodedInputStream in(&stream);
  Trace trace;
  EXPECT_TRUE(Read(in, trace.metadata));
  for (chakra::Node node; Read(in, node);) trace.nodes.push_back(node);
  EXPECT_EQ(in.CurrentPosition(), static_cast<int>(text.size()));
  return trace;
}

const chakra::AttributeProto* Find(const chakra::Node& node, std::string_view name) {
  for (const chakra::AttributeProto& attribute : node.attr()) {
    if (attribute.name() == name) return &attribute;
  }
  return nullptr;
}

const chakra::AttributeProto& Attribute(const chakra::Node& node, std::string_view name) {
  const chakra::AttributeProto* attribute = Find(node, name);
  if (attribute == nullptr) {
    ADD_FAILURE() << node.name() << " has no " << name;
    return chakra::AttributeProto::default_instance();
  }
  return *attribute;
}

std::int64_t CommSize(const chakra::Node& node) { return Attribute(node, "comm_size").int64_val(); }
std::string GroupOf(const chakra::Node& node) { return Attribute(node, "pg_name").string_val(); }

const ExportFile* FindFile(const ExportResult& result, const std::string& name) {
  for (const ExportFile& file : result.files) {
    if (file.name == name) return &file;
  }
  return nullptr;
}

std::vector<Trace> ReadPhase(const ExportResult& result, const std::string& phase) {
  std::vector<Trace> ranks;
  while (const ExportFile* file = FindFile(result, phase + "." + std::to_string(ranks.size()) + ".et")) {
    ranks.push_back(ParseTrace(file->text));
  }
  return ranks;
}

using Members = std::map<std::string, std::vector<std::int64_t>>;

Members ReadGroups(const ExportResult& result) {
  return nlohmann::json::parse(FindFile(result, "comm_groups.json")->text).get<Members>();
}

// ---- the rules ----

void CheckNode(const chakra::Node& node, std::size_t place) {
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

Message MessageOf(const chakra::Node& node) {
  return {Attribute(node, "comm_src").int32_val(), Attribute(node, "comm_dst").int32_val(),
          Attribute(node, "comm_tag").int32_val(), CommSize(node)};
}

void CheckMessages(const std::vector<Trace>& ranks, std::int64_t stage_size) {
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
void CheckGroups(const std::vector<Trace>& ranks, const Members& groups, std::set<std::string>& used) {
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
void CheckStreams(const Replay& replay, const std::vector<Trace>& ranks) {
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

std::vector<PhaseOf> Phases(const Problem& problem, const Strategy& s) {
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

Totals ProgramTotals(const Problem& problem, Strategy s, const PhaseOf& of, bool halved) {
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
                               BlockKind::kDenseFfn, BlockKind::kMoe, BlockKind::kHead}) {
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
    const bool window = model.HasMixedWindows() && model.WindowOf(layer) > 0;
    add(window ? BlockKind::kWindowAttention : BlockKind::kAttention);
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

void CheckTotals(const std::vector<Trace>& ranks, const Totals& expected) {
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

void CheckExport(const Problem& problem, const Strategy& s, const ExportResult& result) {
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

// ---- a worked example ----

Strategy TwoByTwo() {
  Strategy s;
  s.tensor_parallel_size = 2;
  s.pipeline_parallel_size = 2;
  s.batch_size = 2;
  for (const auto& [op, sharding] : {std::pair{Operator::kEmbedding, Sharding::kVocab},
                                     {Operator::kQkv, Sharding::kHeads},
                                     {Operator::kAttention, Sharding::kHeads},
                                     {Operator::kAttnOut, Sharding::kHeads},
                                     {Operator::kFfnUp, Sharding::kFfn},
                                     {Operator::kFfnDown, Sharding::kFfn},
                                     {Operator::kLmHead, Sharding::kVocab}}) {
    s.SetSharding(op, sharding);
  }
  return s;
}

std::string Line(const chakra::Node& node) {
  std::string line = std::to_string(node.id()) + " " + node.name() + " |";
  for (const std::uint64_t id : node.data_deps()) line += " " + std::to_string(id);
  line += " |";
  for (const std::uint64_t id : node.ctrl_deps()) line += " " + std::to_string(id);
  line += " |";
  for (const chakra::AttributeProto& attribute : node.attr()) {
    if (attribute.name() == "is_cpu_op") continue;
    line += " " + attribute.name() + "=";
    if (attribute.has_string_val()) line += attribute.string_val();
    if (attribute.has_int64_val()) line += std::to_string(attribute.int64_val());
    if (attribute.has_int32_val()) line += std::to_string(attribute.int32_val());
    if (attribute.has_uint64_val()) line += std::to_string(attribute.uint64_val());
  }
  return line;
}

std::string Lines(const Trace& trace) {
  std::string text;
  for (const chakra::Node& node : trace.nodes) text += Line(node) + "\n";
  return text;
}

/// 192 tokens (2 requests of 96) of 96 columns of bf16 are 36,864 bytes. A rank's qkv is [96, 4 * 12 + 2 * 2 * 12]: 2 *
/// 192 * 96 * 96 FLOP; its attention 2 requests * 4 heads * 4,656 pairs * 2 * (12 + 12); the logits of 2 requests, 48
/// columns each, are 192 bytes.
TEST(ChakraExport, WorkedExample) {
  const Problem problem = SmallProblem(DenseModel(2), 4, WorkloadKind::kPrefill);
  ASSERT_EQ(StrategySpace(problem).WhyNot(TwoByTwo()), "");
  const ExportResult result = ChakraExporter().Export(PlanOf(problem, TwoByTwo()), {});
  const std::vector<Trace> ranks = ReadPhase(result, "prefill");
  ASSERT_EQ(ranks.size(), 4u);
  EXPECT_EQ(Lines(ranks[0]),
            "1 embedding embed, stage 0, micro-batch 0 | | | num_ops=1 tensor_size=73728\n"
            "2 embedding all_reduce, stage 0, micro-batch 0 | 1 | | comm_type=0 comm_size=36864 pg_name=1\n"
            "3 layer 0 qkv norm, stage 0, micro-batch 0 | 2 | 1 | num_ops=1 tensor_size=73728\n"
            "4 layer 0 qkv matmul, stage 0, micro-batch 0 | 3 | | num_ops=3538944 tensor_size=92160\n"
            "5 layer 0 attention, stage 0, micro-batch 0 | 4 | | num_ops=1787904 tensor_size=73728\n"
            "6 layer 0 attn_out matmul, stage 0, micro-batch 0 | 5 | | num_ops=1769472 tensor_size=64512\n"
            "7 layer 0 residual all_reduce, stage 0, micro-batch 0 | 6 | 2 | comm_type=0 comm_size=36864 pg_name=1\n"
            "8 layer 0 residual add, stage 0, micro-batch 0 | 7 | 6 | num_ops=1 tensor_size=110592\n"
            "9 layer 0 ffn_up norm, stage 0, micro-batch 0 | 8 | | num_ops=1 tensor_size=73728\n"
            "10 layer 0 ffn_up matmul, stage 0, micro-batch 0 | 9 | | num_ops=7077888 tensor_size=147456\n"
            "11 layer 0 ffn_up activation, stage 0, micro-batch 0 | 10 | | num_ops=1 tensor_size=110592\n"
            "12 layer 0 ffn_down matmul, stage 0, micro-batch 0 | 11 | | num_ops=3538944 tensor_size=92160\n"
            "13 layer 0 residual all_reduce, stage 0, micro-batch 0 | 12 | 7 | comm_type=0 comm_size=36864 pg_name=1\n"
            "14 layer 0 residual add, stage 0, micro-batch 0 | 13 | 12 | num_ops=1 tensor_size=110592\n"
            "15 send to stage 1, stage 0, micro-batch 0 | 14 | | comm_src=0 comm_dst=2 comm_tag=0 comm_size=36864\n");
  EXPECT_EQ(Lines(ranks[3]),
            "1 receive from stage 0, stage 1, micro-batch 0 | | | comm_src=1 comm_dst=3 comm_tag=0 comm_size=36864\n"
            "2 layer 1 qkv norm, stage 1, micro-batch 0 | 1 | | num_ops=1 tensor_size=73728\n"
            "3 layer 1 qkv matmul, stage 1, micro-batch 0 | 2 | | num_ops=3538944 tensor_size=92160\n"
            "4 layer 1 attention, stage 1, micro-batch 0 | 3 | | num_ops=1787904 tensor_size=73728\n"
            "5 layer 1 attn_out matmul, stage 1, micro-batch 0 | 4 | | num_ops=1769472 tensor_size=64512\n"
            "6 layer 1 residual all_reduce, stage 1, micro-batch 0 | 5 | | comm_type=0 comm_size=36864 pg_name=2\n"
            "7 layer 1 residual add, stage 1, micro-batch 0 | 6 | 5 | num_ops=1 tensor_size=110592\n"
            "8 layer 1 ffn_up norm, stage 1, micro-batch 0 | 7 | | num_ops=1 tensor_size=73728\n"
            "9 layer 1 ffn_up matmul, stage 1, micro-batch 0 | 8 | | num_ops=7077888 tensor_size=147456\n"
            "10 layer 1 ffn_up activation, stage 1, micro-batch 0 | 9 | | num_ops=1 tensor_size=110592\n"
            "11 layer 1 ffn_down matmul, stage 1, micro-batch 0 | 10 | | num_ops=3538944 tensor_size=92160\n"
            "12 layer 1 residual all_reduce, stage 1, micro-batch 0 | 11 | 6 | comm_type=0 comm_size=36864 pg_name=2\n"
            "13 layer 1 residual add, stage 1, micro-batch 0 | 12 | 11 | num_ops=1 tensor_size=110592\n"
            "14 lm_head select_last, stage 1, micro-batch 0 | 13 | | num_ops=1 tensor_size=768\n"
            "15 lm_head norm, stage 1, micro-batch 0 | 14 | | num_ops=1 tensor_size=768\n"
            "16 lm_head matmul, stage 1, micro-batch 0 | 15 | | num_ops=18432 tensor_size=9792\n"
            "17 lm_head all_gather, stage 1, micro-batch 0 | 16 | 12 | comm_type=2 comm_size=192 pg_name=2\n");
  EXPECT_EQ(FindFile(result, "comm_groups.json")->text, "{\n  \"1\": [0, 1],\n  \"2\": [2, 3]\n}\n");
}

TEST(ChakraExport, DecodeThroughAPipelineReturnsTokens) {
  const Problem problem = SmallProblem(DenseModel(2), 4, WorkloadKind::kDecode);
  Strategy s = TwoByTwo();
  s.num_microbatches = 2;
  const ExportResult result = ChakraExporter().Export(PlanOf(problem, s), {});
  CheckExport(problem, s, result);
  const std::vector<Trace> ranks = ReadPhase(result, "decode");
  std::vector<std::int32_t> sent, returned;
  for (const chakra::Node& node : ranks[1].nodes) {
    if (node.type() == chakra::COMM_SEND_NODE) sent.push_back(Attribute(node, "comm_tag").int32_val());
    if (node.type() != chakra::COMM_RECV_NODE) continue;
    returned.push_back(Attribute(node, "comm_tag").int32_val());
    EXPECT_EQ(CommSize(node), 4) << "one id a request of the micro-batch";
    EXPECT_EQ(Attribute(node, "comm_src").int32_val(), 3);
  }
  // Four tokens of two micro-batches.
  const std::vector<std::int32_t> all = {0, 1, 2, 3, 4, 5, 6, 7};
  EXPECT_EQ(sent, all);
  EXPECT_EQ(returned, all);
}

/// Of what kinds the exported plans were.
struct Kinds {
  int plans = 0, pipelines = 0, halves = 0, chunks = 0, contexts = 0, sparse = 0, latent = 0;
  void Add(const Problem& problem, const Strategy& s, const ExportResult& result) {
    const std::string& trace = result.files.front().text;
    ++plans;
    pipelines += s.pipeline_parallel_size > 1;
    contexts += s.context_parallel_size > 1;
    sparse += s.expert_parallel_size > 1;
    latent += problem.model().attention.kind == AttentionKind::kMultiLatent;
    halves += trace.find(", half 1") != std::string::npos;
    chunks += trace.find(", chunk 3") != std::string::npos;
  }
};

TEST(ChakraExport, RandomPlans) {
  Kinds kinds;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    Rng rng(seed);
    ProblemOptions options;
    options.admitted_overlaps = {Overlap::kNone, Overlap::kTwoBatch, Overlap::kChunked};
    const WorkloadSpec workload = testing::RandomWorkload(rng);
    const ClusterSpec cluster = testing::RandomCluster(rng);
    const Problem problem(testing::RandomModel(rng), cluster, workload, options);
    const StrategySpace space(problem);
    for (int i = 0; i < 3; ++i) {
      const Strategy s = space.Sample(rng);
      const ExportResult result = ChakraExporter().Export(PlanOf(problem, s), {});
      CheckExport(problem, s, result);
      if (HasFatalFailure()) return;
      kinds.Add(problem, s, result);
    }
  }
  EXPECT_GE(std::min({kinds.pipelines, kinds.contexts, kinds.halves, kinds.sparse, kinds.latent}), 5);
}

TEST(ChakraExport, Presets) {
  constexpr double kMaxBytes = 12e6;
  Kinds kinds;
  Rng rng(7);
  for (const char* model :
       {"llama-3.1-8b", "qwen3-30b-a3b", "mixtral-8x7b", "deepseek-v3", "deepseek-v3.2", "gpt-oss-20b"}) {
    for (const char* workload : {"decode-chat", "prefill-chat", "serve-chat"}) {
      ProblemOptions options;
      options.admitted_overlaps = {Overlap::kNone, Overlap::kTwoBatch, Overlap::kChunked};
      const Problem problem(LoadModel(model), LoadCluster("h100-sxm", 8), LoadWorkload(workload), options);
      const StrategySpace space(problem);
      for (int found = 0, tries = 0; found < 3 && tries < 100; ++tries) {
        const Strategy s = space.Sample(rng);
        std::optional<ExportResult> result;
        try {
          result = ChakraExporter({.max_bytes = kMaxBytes}).Export(PlanOf(problem, s), {});
        } catch (const SpecError&) {
          continue;  // Too large for a test.
        }
        ++found;
        kinds.Add(problem, s, *result);
        CheckExport(problem, s, *result);
        if (HasFatalFailure()) return;
      }
    }
  }
  EXPECT_GE(kinds.plans, 40);
  EXPECT_GE(std::min({kinds.pipelines, kinds.contexts, kinds.halves, kinds.sparse, kinds.latent}), 3);
}

/// A quarter of the rows, and all of the weights.
TEST(ChakraExport, ChunksCarryTheirPart) {
  ProblemOptions options;
  options.admitted_overlaps = {Overlap::kNone, Overlap::kChunked};
  const Problem problem(LoadModel("llama-3.1-8b"), LoadCluster("h100-sxm", 8), LoadWorkload("prefill-chat"), options);
  Strategy s = TwoByTwo();
  s.tensor_parallel_size = 8;
  s.pipeline_parallel_size = 1;
  s.overlap = Overlap::kChunked;
  const ExportResult result = ChakraExporter().Export(PlanOf(problem, s), {});
  CheckExport(problem, s, result);
  const Block block = LowerBlock(problem, s, Phase::kPrefill, BlockKind::kDenseFfn);
  const auto whole = std::find_if(block.tasks.begin(), block.tasks.end(), [](const Task& task) {
    return task.kind == TaskKind::kMatmul && task.op == Operator::kFfnDown;
  });
  ASSERT_NE(whole, block.tasks.end());
  const Trace trace = ReadPhase(result, "prefill").at(0);
  std::vector<std::uint64_t> products;
  for (const chakra::Node& node : trace.nodes) {
    if (node.name().starts_with("layer 5 ffn_down matmul")) {
      EXPECT_NE(node.name().find(", chunk " + std::to_string(products.size())), std::string::npos) << node.name();
      EXPECT_EQ(Attribute(node, "num_ops").int64_val(), std::llround(whole->work.flop / 4));
      EXPECT_EQ(static_cast<double>(Attribute(node, "tensor_size").uint64_val()),
                std::round((whole->work.read_bytes + whole->work.write_bytes) / 4 + whole->work.weight_bytes));
      products.push_back(node.id());
    } else if (node.name().starts_with("layer 5 residual all_reduce") && !products.empty()) {
      ASSERT_EQ(node.data_deps_size(), 1);
      EXPECT_EQ(node.data_deps(0), products.back()) << "each waits for its own product only";
    }
  }
  EXPECT_EQ(products.size(), 4u);
}

/// Each MoE layer has the work of its own busiest rank.
TEST(ChakraExport, DrawnRouting) {
  ModelSpec model = MoeModel(6, 0, 0);
  WorkloadSpec workload = testing::SmallWorkload(WorkloadKind::kPrefill);
  workload.expert_skew = 1.0;
  const Problem problem(model, testing::SmallCluster(4), workload);
  Strategy s;
  s.data_parallel_size = s.expert_parallel_size = 4;
  s.batch_size = 4;
  const ExportResult result = ChakraExporter().Export(PlanOf(problem, s), {});
  double expected = 0;
  for (const Task& task : LowerBlock(problem, s, Phase::kPrefill, BlockKind::kMoe).tasks) {
    if (task.kind == TaskKind::kExpertMatmul && task.weight == WeightKind::kExpertUp) expected = task.work.flop;
  }
  std::set<std::int64_t> found;
  const std::vector<Trace> ranks = ReadPhase(result, "prefill");
  for (const chakra::Node& node : ranks.at(0).nodes) {
    if (node.name().find("expert_up expert_matmul") != std::string::npos) {
      found.insert(Attribute(node, "num_ops").int64_val());
    }
  }
  EXPECT_GE(found.size(), 4u) << "of six layers";
  EXPECT_GT(static_cast<double>(*found.begin()), expected) << "the busiest of four has more than the mean";
}

// ---- the bytes of a file ----

TEST(ChakraFile, Bytes) {
  ChakraNode node;
  node.id = 1;
  node.name = "a";
  node.data_deps = {300};
  node.ctrl_deps = {2};
  node.duration_us = 5;
  node.num_ops = 10;
  node.tensor_bytes = 200;
  CommGroups groups;
  const std::string text = ChakraFileText({.model = "m", .phase = "p"}, std::vector{node}, groups);
  // Made by hand from the field numbers: 1 id, 2 name, 3 type COMP, 4 and 5 packed, 7 duration, 10 attributes with
  // their name in 1 and a bool in 27, an int64 in 9, a uint64 in 13.
  const std::string expected(
      "\x3f"
      "\x08\x01"
      "\x12\x01"
      "a"
      "\x18\x04"
      "\x22\x01\x02"
      "\x2a\x02\xac\x02"
      "\x38\x05"
      "\x52\x0e\x0a\x09is_cpu_op\xd8\x01\x00"
      "\x52\x0b\x0a\x07num_ops\x48\x0a"
      "\x52\x10\x0a\x0btensor_size\x68\xc8\x01",
      64);
  ASSERT_GT(text.size(), expected.size());
  EXPECT_EQ(text.substr(text.size() - expected.size()), expected);
  // The metadata before: its length, then the version in field 1.
  EXPECT_EQ(static_cast<std::size_t>(text[0]) + 1 + expected.size(), text.size());
  EXPECT_EQ(text.substr(1, 7),
            "\x0a\x05"
            "0.0.4");
}

TEST(ChakraFile, CommunicationAttributes) {
  ChakraNode collective;
  collective.kind = ChakraKind::kCollective;
  collective.id = 1;
  collective.group = {.size = 2, .stride = 2};
  collective.comm_bytes = 64;
  ChakraNode send;
  send.kind = ChakraKind::kSend;
  send.id = 2;
  send.peer_stage = 0;
  send.tag = 9;
  send.comm_bytes = 5'000'000'000;
  for (const auto& [kind, type] : {std::pair(Collective::kAllReduce, 0),
                                   {Collective::kAllGather, 2},
                                   {Collective::kAllToAll, 6},
                                   {Collective::kReduceScatter, 7}}) {
    collective.collective = kind;
    CommGroups groups;
    const std::string text = ChakraFileText({.rank = 13, .stage_size = 8}, std::vector{collective, send}, groups);
    const Trace trace = ParseTrace(text);
    ASSERT_EQ(trace.nodes.size(), 2u);
    EXPECT_EQ(Attribute(trace.nodes[0], "comm_type").int64_val(), type);
    EXPECT_EQ(GroupOf(trace.nodes[0]), "1");
    EXPECT_EQ(groups.Json(), "{\n  \"1\": [13, 15]\n}\n");
    EXPECT_EQ(MessageOf(trace.nodes[1]), Message(13, 5, 9, 5'000'000'000));
  }
}

TEST(ChakraTrace, GroupMembers) {
  using Ranks = std::vector<std::int64_t>;
  EXPECT_EQ(GroupMembers({.size = 2, .stride = 2}, 13, 8), (Ranks{13, 15}));
  // The groups of program.h's example: tp 2, cp 2, dp 2.
  EXPECT_EQ(GroupMembers({.size = 2, .stride = 1}, 5, 8), (Ranks{4, 5}));
  EXPECT_EQ(GroupMembers({.size = 2, .stride = 2}, 6, 8), (Ranks{4, 6}));
  EXPECT_EQ(GroupMembers({.size = 4, .stride = 2}, 3, 8), (Ranks{1, 3, 5, 7}));
}

// ---- what is refused ----

TEST(ChakraExport, RefusesWhatIsTooLarge) {
  const Problem problem = SmallProblem(DenseModel(2), 4, WorkloadKind::kPrefill);
  const ExportResult small = ChakraExporter().Export(PlanOf(problem, TwoByTwo()), {});
  double bytes = 0;
  for (const ExportFile& file : small.files) {
    if (file.name.ends_with(".et")) bytes += static_cast<double>(file.text.size());
  }
  EXPECT_NO_THROW(ChakraExporter({.max_bytes = bytes}).Export(PlanOf(problem, TwoByTwo()), {}));
  try {
    ChakraExporter({.max_bytes = bytes - 1}).Export(PlanOf(problem, TwoByTwo()), {});
    FAIL();
  } catch (const SpecError& error) {
    EXPECT_EQ(error.place(), "--to chakra");
    EXPECT_NE(std::string(error.what()).find("fewer micro-batches"), std::string::npos) << error.what();
  }
  // Of several micro-batches it is known without making them, to a tenth.
  Strategy many = TwoByTwo();
  many.batch_size = many.num_microbatches = 16;
  const ExportResult large = ChakraExporter().Export(PlanOf(problem, many), {});
  bytes = 0;
  for (const ExportFile& file : large.files) {
    if (file.name.ends_with(".et")) bytes += static_cast<double>(file.text.size());
  }
  EXPECT_THROW(ChakraExporter({.max_bytes = 0.9 * bytes}).Export(PlanOf(problem, many), {}), SpecError);
  EXPECT_NO_THROW(ChakraExporter({.max_bytes = 1.1 * bytes}).Export(PlanOf(problem, many), {}));
}

TEST(ChakraExport, RefusesTwoPoolsAndBrokenStrategies) {
  const Problem problem = SmallProblem(DenseModel(2), 4, WorkloadKind::kPrefill);
  Plan plan = PlanOf(problem, TwoByTwo());
  plan.pools.push_back(plan.pools.front());
  EXPECT_THROW(ChakraExporter().Export(plan, {}), SpecError);
  plan.pools.pop_back();
  plan.pools.front().strategy.tensor_parallel_size = 3;
  EXPECT_THROW(ChakraExporter().Export(plan, {}), SpecError);
}

TEST(ChakraExport, FilesNotesAndCommand) {
  const Problem problem(LoadModel("llama-3.1-8b"), LoadCluster("h100-sxm", 16), LoadWorkload("serve-chat"));
  Strategy s = TwoByTwo();
  s.pipeline_parallel_size = 1;
  const ExportResult result = ChakraExporter().Export(PlanOf(problem, s), {});
  std::vector<std::string> names;
  for (const ExportFile& file : result.files) names.push_back(file.name);
  EXPECT_EQ(names, (std::vector<std::string>{"prefill.0.et", "prefill.1.et", "decode.0.et", "decode.1.et",
                                             "comm_groups.json", "network.yml", "system.json", "remote_memory.json"}));
  EXPECT_EQ(result.command,
            "AstraSim_Analytical_Congestion_Unaware --workload-configuration=prefill "
            "--comm-group-configuration=comm_groups.json --system-configuration=system.json "
            "--remote-memory-configuration=remote_memory.json --network-configuration=network.yml");
  std::string notes;
  for (const std::string& note : result.notes) notes += note + "\n";
  EXPECT_NE(notes.find("one of 8 equal instances of 2 devices"), std::string::npos) << notes;
  EXPECT_NE(notes.find("--workload-configuration=decode"), std::string::npos) << notes;

  s.tensor_parallel_size = 1;
  for (const Operator op : {Operator::kEmbedding, Operator::kQkv, Operator::kAttention, Operator::kAttnOut,
                            Operator::kFfnUp, Operator::kFfnDown, Operator::kLmHead}) {
    s.SetSharding(op, Sharding::kNone);
  }
  const ExportResult alone = ChakraExporter().Export(PlanOf(problem, s), {});
  EXPECT_EQ(alone.command, "");
  EXPECT_EQ(FindFile(alone, "network.yml"), nullptr);
  EXPECT_NE(FindFile(alone, "decode.0.et"), nullptr);
}

}  // namespace
}  // namespace shardscout::exporters
