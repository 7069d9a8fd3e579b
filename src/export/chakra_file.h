#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "src/export/chakra_trace.h"

namespace shardscout::exporters {

inline constexpr std::string_view kChakraVersion = "0.0.4";

/// Whose trace it is, and where it is from.
struct ChakraHeader {
  std::string model{};
  std::string phase{};
  std::int64_t rank = 0;
  std::int64_t stage_size = 1;
};

/// The bytes of a rank's file: GlobalMetadata, then the nodes, each after its length as a varint32 (chakra_et.proto).
/// Attributes: is_cpu_op (bool) on each node; num_ops (int64) and tensor_size (uint64); comm_type, comm_size (int64)
/// and pg_name (string, the group's number); comm_src, comm_dst, comm_tag (int32) and comm_size (int64). These are the
/// types that ASTRA-sim's readers of all ages take.
std::string ChakraFileText(const ChakraHeader& header, std::span<const ChakraNode> nodes, CommGroups& groups);

}  // namespace shardscout::exporters
