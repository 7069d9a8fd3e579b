#pragma once

// The parts of a plan's page, each a <section> of its own; "" where there is nothing to say.

#include <string>

#include "shardscout/plan_report.h"

namespace shardscout::exporters {

/// The pools in words, and what each operator is split along.
std::string WordsSection(const PlanReport& report);
/// Where the time of a pass goes, by operator and collective.
std::string TimeSection(const PlanReport& report);
/// Memory by part, on the devices of each stage.
std::string MemorySection(const PlanReport& report);
/// Which rank lies where and holds what, which groups talk over which links.
std::string DevicesSection(const PlanReport& report);

}  // namespace shardscout::exporters
