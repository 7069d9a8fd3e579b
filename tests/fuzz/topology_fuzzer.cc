// A machine's or a site's topology: read, and made a cluster.

#include "shardscout/cluster_topology.h"
#include "tests/fuzz/fuzz.h"
#include "tests/tiny_problems.h"

namespace shardscout::fuzz {
namespace {

void Run(std::string_view text) {
  Accepted([&] {
    const ClusterTopology topology = ReadClusterTopology(text, kPlace);
    const ClusterSpec cluster = ClusterOf(topology, testing::SmallCluster(4, 2));
    FUZZ_EXPECT(ParseCluster(ToJson(cluster), kPlace, std::nullopt) == cluster);
  });
}

}  // namespace
}  // namespace shardscout::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  shardscout::fuzz::Run(shardscout::fuzz::Text(data, size));
  return 0;
}
