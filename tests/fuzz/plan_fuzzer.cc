// A plan: written and read back equal, and exported to every framework that takes it.

#include "shardscout/exporter.h"
#include "shardscout/plan.h"
#include "src/export/chakra.h"
#include "tests/fuzz/fuzz.h"

namespace shardscout::fuzz {
namespace {

ExporterRegistry Exporters() {
  ExporterRegistry exporters;
  RegisterBuiltinExporters(exporters);
  return exporters;
}

void Run(std::string_view text) {
  static const ExporterRegistry registry = Exporters();
  Plan plan;
  if (!Accepted([&] { plan = ParsePlan(text, kPlace); })) return;
  const std::string written = ToJson(plan);
  const Plan again = ParsePlan(written, kPlace);
  FUZZ_EXPECT(ToJson(again) == written);
  FUZZ_EXPECT(again.pools == plan.pools && again.evaluation == plan.evaluation && again.search == plan.search);
  FUZZ_EXPECT(again.certificate == plan.certificate && again.problem_json == plan.problem_json);
  // Traces of as many ranks as a plan may have take time and memory.
  Accepted([&] { exporters::ChakraExporter({.max_bytes = 1 << 20}).Export(plan, nullptr); });
  for (const std::string& target : registry.List()) {
    if (target.starts_with("chakra")) continue;
    Accepted([&] { registry.Get(target).Export(plan, nullptr); });
  }
}

}  // namespace
}  // namespace shardscout::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  shardscout::fuzz::Run(shardscout::fuzz::Text(data, size));
  return 0;
}
