// A cluster file: read, and planned for with a small mixture of experts.

#include <algorithm>

#include "tests/fuzz/exercise.h"
#include "tests/fuzz/fuzz.h"
#include "tests/tiny_problems.h"

namespace shardscout::fuzz {
namespace {

void Run(std::string_view text) {
  ClusterSpec cluster;
  if (!Accepted([&] { cluster = ParseCluster(text, kPlace, std::nullopt); })) return;
  // A slice of the cluster, small enough for its space to be made.
  const std::int64_t devices = std::min<std::int64_t>(cluster.num_devices, 12);
  FUZZ_EXPECT(Accepted([&] { cluster = ParseCluster(text, kPlace, devices); }));
  Exercise(Problem(testing::MoeModel(), cluster, testing::SmallWorkload(WorkloadKind::kServe)));
}

}  // namespace
}  // namespace shardscout::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  shardscout::fuzz::Run(shardscout::fuzz::Text(data, size));
  return 0;
}
