#include "src/export/chakra_file.h"

#include <chakra_et.pb.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <utility>
#include <vector>

#include "shardscout/error.h"
#include "shardscout/plan.h"

namespace shardscout::exporters {
namespace {

chakra::AttributeProto& AddAttribute(chakra::Node& node, const char* name) {
  chakra::AttributeProto& attribute = *node.add_attr();
  attribute.set_name(name);
  return attribute;
}

void AddText(chakra::GlobalMetadata& metadata, const char* name, const std::string& value) {
  chakra::AttributeProto& attribute = *metadata.add_attr();
  attribute.set_name(name);
  attribute.set_string_val(value);
}

chakra::CollectiveCommType CommTypeOf(Collective collective) {
  switch (collective) {
    case Collective::kAllReduce:
      return chakra::ALL_REDUCE;
    case Collective::kAllGather:
      return chakra::ALL_GATHER;
    case Collective::kReduceScatter:
      return chakra::REDUCE_SCATTER;
    default:
      SHARDSCOUT_CHECK(collective == Collective::kAllToAll);
      return chakra::ALL_TO_ALL;
  }
}

chakra::NodeType TypeOf(ChakraKind kind) {
  switch (kind) {
    case ChakraKind::kCompute:
      return chakra::COMP_NODE;
    case ChakraKind::kCollective:
      return chakra::COMM_COLL_NODE;
    case ChakraKind::kSend:
      return chakra::COMM_SEND_NODE;
    default:
      return chakra::COMM_RECV_NODE;
  }
}

/// Numbers of the groups that one rank is in; it is in few.
class RankGroups {
 public:
  RankGroups(const ChakraHeader& header, CommGroups& groups) : header_(header), groups_(groups) {}
  const std::string& NameOf(const Group& group) {
    for (const auto& [known, name] : names_) {
      if (known == group) return name;
    }
    const std::int64_t number = groups_.NumberOf(GroupMembers(group, header_.rank, header_.stage_size));
    return names_.emplace_back(group, std::to_string(number)).second;
  }

 private:
  const ChakraHeader& header_;
  CommGroups& groups_;
  std::vector<std::pair<Group, std::string>> names_;
};

void FillNode(const ChakraHeader& header, const ChakraNode& from, RankGroups& groups, chakra::Node& node) {
  node.Clear();
  node.set_id(from.id);
  node.set_name(from.name);
  node.set_type(TypeOf(from.kind));
  node.mutable_data_deps()->Add(from.data_deps.begin(), from.data_deps.end());
  node.mutable_ctrl_deps()->Add(from.ctrl_deps.begin(), from.ctrl_deps.end());
  node.set_start_time_micros(static_cast<std::uint64_t>(from.start_us));
  node.set_duration_micros(static_cast<std::uint64_t>(from.duration_us));
  AddAttribute(node, "is_cpu_op").set_bool_val(false);
  if (from.kind == ChakraKind::kCompute) {
    AddAttribute(node, "num_ops").set_int64_val(from.num_ops);
    AddAttribute(node, "tensor_size").set_uint64_val(static_cast<std::uint64_t>(from.tensor_bytes));
    return;
  }
  if (from.kind == ChakraKind::kCollective) {
    AddAttribute(node, "comm_type").set_int64_val(CommTypeOf(from.collective));
    AddAttribute(node, "comm_size").set_int64_val(from.comm_bytes);
    AddAttribute(node, "pg_name").set_string_val(groups.NameOf(from.group));
    return;
  }
  const std::int64_t peer = header.rank % header.stage_size + from.peer_stage * header.stage_size;
  const bool sends = from.kind == ChakraKind::kSend;
  AddAttribute(node, "comm_src").set_int32_val(static_cast<std::int32_t>(sends ? header.rank : peer));
  AddAttribute(node, "comm_dst").set_int32_val(static_cast<std::int32_t>(sends ? peer : header.rank));
  AddAttribute(node, "comm_tag").set_int32_val(from.tag);
  AddAttribute(node, "comm_size").set_int64_val(from.comm_bytes);
}

void Write(const google::protobuf::MessageLite& message, google::protobuf::io::CodedOutputStream& out) {
  out.WriteVarint32(static_cast<std::uint32_t>(message.ByteSizeLong()));
  message.SerializeWithCachedSizes(&out);
}

}  // namespace

std::string ChakraFileText(const ChakraHeader& header, std::span<const ChakraNode> nodes, CommGroups& groups) {
  std::string text;
  {
    google::protobuf::io::StringOutputStream stream(&text);
    google::protobuf::io::CodedOutputStream out(&stream);
    chakra::GlobalMetadata metadata;
    metadata.set_version(std::string(kChakraVersion));
    AddText(metadata, "created_by", "shardscout " + std::string(Version()));
    AddText(metadata, "model", header.model);
    AddText(metadata, "phase", header.phase);
    Write(metadata, out);
    RankGroups names(header, groups);
    chakra::Node node;
    for (const ChakraNode& from : nodes) {
      FillNode(header, from, names, node);
      Write(node, out);
    }
  }
  return text;
}

}  // namespace shardscout::exporters
