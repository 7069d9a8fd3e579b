#include "tests/searcher_conformance.h"

namespace shardscout::test {

INSTANTIATE_TEST_SUITE_P(Agents, SearcherConformanceTest, testing::ValuesIn(AllSearchers(RegisterAgents)),
                         SearcherName);

}  // namespace shardscout::test
