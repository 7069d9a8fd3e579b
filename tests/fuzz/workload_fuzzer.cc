// A workload file: read, and planned for on a small cluster.

#include "tests/fuzz/exercise.h"
#include "tests/fuzz/fuzz.h"
#include "tests/tiny_problems.h"

namespace shardscout::fuzz {
namespace {

void Run(std::string_view text) {
  WorkloadSpec workload;
  if (!Accepted([&] { workload = ParseWorkload(text, kPlace); })) return;
  Exercise(Problem(testing::MultiLatentModel(), testing::SmallCluster(4, 2), workload));
}

}  // namespace
}  // namespace shardscout::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  shardscout::fuzz::Run(shardscout::fuzz::Text(data, size));
  return 0;
}
