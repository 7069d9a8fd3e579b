#include "tests/evaluator_conformance.h"

namespace shardscout::test {

INSTANTIATE_TEST_SUITE_P(Builtin, EvaluatorConformanceTest,
                         ::testing::ValuesIn(AllEvaluators(RegisterBuiltinEvaluators)), EvaluatorName);

}  // namespace shardscout::test
