#pragma once

#include "shardscout/exporter.h"
#include "shardscout/problem.h"
#include "src/frameworks/torchtitan.h"

namespace shardscout::exporters {

/// What torchtitan is started with to train by `strategy`, a member of its space.
///
/// ZeRO 3 is fsdp_reshard_after_forward `always`, ZeRO 2 `never` (gathered weights are kept until the backward pass),
/// ZeRO 0 DDP. Micro-batches are the pipeline's, or without one the steps of gradient accumulation.
frameworks::TorchtitanArguments TorchtitanArgumentsOf(const Problem& problem, const Strategy& strategy);

/// torchtitan@b5bcd76: a file of flags, one a line, for `torchrun ... -m torchtitan.train --module M --config C $(cat
/// torchtitan.args)`. Training plans alone.
class TorchtitanExporter final : public Exporter {
 public:
  std::string_view Name() const override { return "torchtitan@b5bcd76"; }
  ExportResult Export(const Plan& plan, const Reevaluate& reevaluate) const override;
};

}  // namespace shardscout::exporters
