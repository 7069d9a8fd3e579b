#pragma once

#include "shardscout/exporter.h"

namespace shardscout::exporters {

/// deepspeed@0.19.6: a DeepSpeed configuration whose tensor_parallel.partition_config (AutoTP) says of each weight
/// matrix whether it is cut by columns, by rows or not at all. The one target here that takes a sharding an operator:
/// ffn_down may be cut by rows (`ffn`), by columns (`hidden`) or whole, lm_head by columns (`vocab`) or whole. Weights
/// are named as in Hugging Face's Llama and what follows its names (Mistral, Qwen, DeepSeek, Mixtral's experts).
/// Of a training plan also ZeRO's stage, micro-batches as accumulation steps and experts by AutoEP; and
/// deepspeed_setup.py, since the stages of a pipeline and recomputation are arguments of the model that DeepSpeed is
/// given, not of its configuration.
/// Format: deepspeed/module_inject/autotp_config.py and runtime/tensor_parallel/config.py at commit edaa7221.
class DeepSpeedExporter final : public Exporter {
 public:
  std::string_view Name() const override { return "deepspeed@0.19.6"; }
  ExportResult Export(const Plan& plan, const Reevaluate& reevaluate) const override;
};

}  // namespace shardscout::exporters
