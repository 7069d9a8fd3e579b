#include "tests/searcher_conformance.h"

namespace shardscout::test {

INSTANTIATE_TEST_SUITE_P(Builtin, SearcherConformanceTest, testing::ValuesIn(AllSearchers(RegisterBuiltinSearchers)),
                         SearcherName);

}  // namespace shardscout::test
