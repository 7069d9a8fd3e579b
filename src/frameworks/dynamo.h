#pragma once

// What a DynamoGraphDeployment takes and refuses. Transcribed from NVIDIA Dynamo 1.3, deploy/operator: the types of
// api/v1alpha1, and what internal/dynamo/backend_{vllm,sglang,trtllm}.go make of a component that spans nodes; each
// rule has an id and a test that breaks it.
//
// The operator starts the same command on every node of an instance and adds by itself what nodes need: vLLM's
// --nnodes, --node-rank and --master-addr where one rank is larger than a node, else --data-parallel-hybrid-lb with as
// many data parallel ranks a node as fit; SGLang's --dist-init-addr, --nnodes and --node-rank; mpirun for TensorRT-LLM.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "src/frameworks/rule.h"

namespace shardscout::frameworks {

inline constexpr const char* kDynamoVersion = "1.3";

/// One kind of worker: equal instances of the model.
struct DynamoWorker {
  std::string role = {};  ///< subComponentType: "prefill", "decode", or "" where one worker does both.
  std::int64_t replicas = 1;
  std::int64_t node_count = 1;  ///< multinode.nodeCount, not written where 1.
  std::int64_t gpus = 1;        ///< resources.limits.gpu, of each node.
  std::int64_t ranks = 1;       ///< vLLM's data parallel ranks; 1 for the other engines.
  std::int64_t rank_devices = 1;
  bool operator==(const DynamoWorker&) const = default;
};

struct DynamoArguments {
  std::string name = "plan";
  std::string backend = "vllm";
  std::vector<DynamoWorker> workers = {DynamoWorker{}};
  bool operator==(const DynamoArguments&) const = default;
};

using DynamoRule = Rule<DynamoArguments>;
std::span<const DynamoRule> DynamoRules();

}  // namespace shardscout::frameworks
