// A problem as plans hold it: the three specs with effective values, and what is fixed.

#include <memory>

#include "shardscout/plan.h"
#include "tests/fuzz/exercise.h"
#include "tests/fuzz/fuzz.h"

namespace shardscout::fuzz {
namespace {

void Run(std::string_view text) {
  std::unique_ptr<Problem> problem;
  if (!Accepted([&] { problem = std::make_unique<Problem>(ParseProblem(text, kPlace)); })) return;
  Exercise(*problem);
}

}  // namespace
}  // namespace shardscout::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  shardscout::fuzz::Run(shardscout::fuzz::Text(data, size));
  return 0;
}
