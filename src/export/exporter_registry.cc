#include <utility>

#include "shardscout/error.h"
#include "shardscout/exporter.h"
#include "src/choices.h"
#include "src/export/aiconfigurator.h"
#include "src/export/chakra.h"
#include "src/export/deepspeed.h"
#include "src/export/dtensor.h"
#include "src/export/dynamo.h"
#include "src/export/kserve.h"
#include "src/export/leader_worker_set.h"
#include "src/export/maxtext.h"
#include "src/export/megatron.h"
#include "src/export/sglang.h"
#include "src/export/shardy.h"
#include "src/export/tensorrt_llm.h"
#include "src/export/torchtitan.h"
#include "src/export/transformers.h"
#include "src/export/vllm.h"

namespace shardscout {
namespace {

/// "vllm" of "vllm@0.24".
std::string NameOf(const std::string& target) { return target.substr(0, target.find('@')); }

}  // namespace

void ExporterRegistry::Register(std::unique_ptr<Exporter> exporter) {
  std::string name(exporter->Name());
  SHARDSCOUT_CHECK(!exporters_.contains(name));
  exporters_.emplace(std::move(name), std::move(exporter));
}

const Exporter& ExporterRegistry::Get(const std::string& target) const {
  const auto exact = exporters_.find(target);
  if (exact != exporters_.end()) return *exact->second;
  if (target.starts_with("trtllm")) return Get("tensorrt-llm" + target.substr(6));
  // A framework's name alone means its newest version, which sorts last.
  const Exporter* newest = nullptr;
  std::vector<std::string> names;
  for (const auto& [name, exporter] : exporters_) {
    if (NameOf(name) == target) newest = exporter.get();
    names.push_back(NameOf(name));
    names.push_back(name);
  }
  if (newest != nullptr) return *newest;
  throw internal::UnknownName("--to", target, "an exporter", names);
}

std::vector<std::string> ExporterRegistry::List() const {
  std::vector<std::string> names;
  for (const auto& [name, exporter] : exporters_) names.push_back(name);
  return names;
}

void RegisterBuiltinExporters(ExporterRegistry& registry) {
  registry.Register(std::make_unique<exporters::VllmExporter>());
  registry.Register(std::make_unique<exporters::SglangExporter>());
  registry.Register(std::make_unique<exporters::TensorRtLlmExporter>());
  registry.Register(std::make_unique<exporters::MegatronExporter>());
  registry.Register(std::make_unique<exporters::DeepSpeedExporter>());
  registry.Register(std::make_unique<exporters::TorchtitanExporter>());
  registry.Register(std::make_unique<exporters::MaxTextExporter>());
  registry.Register(std::make_unique<exporters::TransformersExporter>());
  registry.Register(std::make_unique<exporters::DtensorExporter>());
  registry.Register(std::make_unique<exporters::ShardyExporter>());
  registry.Register(std::make_unique<exporters::LeaderWorkerSetExporter>());
  for (const Framework engine : {Framework::kVllm, Framework::kSglang, Framework::kTensorRtLlm}) {
    registry.Register(std::make_unique<exporters::DynamoExporter>(engine));
  }
  registry.Register(std::make_unique<exporters::KserveExporter>());
  registry.Register(std::make_unique<exporters::AiConfiguratorExporter>());
  registry.Register(std::make_unique<exporters::ChakraExporter>());
}

}  // namespace shardscout
