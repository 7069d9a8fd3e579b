#pragma once

#include "shardscout/exporter.h"

namespace shardscout::exporters {

/// aiconfigurator@1.0.0: an estimate request (aic-estimate-request/1.0.0) for a second opinion by NVIDIA's model. Takes
/// what SGLang runs, whose degrees its topology has: tp, attention dp, pp, and both degrees of the experts.
class AiConfiguratorExporter final : public Exporter {
 public:
  std::string_view Name() const override { return "aiconfigurator@1.0.0"; }
  ExportResult Export(const Plan& plan, const Reevaluate& reevaluate) const override;
};

}  // namespace shardscout::exporters
