// A Hugging Face config.json: read, counted, and planned for.

#include <vector>

#include "shardscout/model_spec.h"
#include "tests/fuzz/exercise.h"
#include "tests/fuzz/fuzz.h"
#include "tests/tiny_problems.h"

namespace shardscout::fuzz {
namespace {

/// White space at the end, which the reader does not see, decides the overrides.
ModelOverrides OverridesFor(std::string_view text) {
  ModelOverrides overrides;
  if (text.ends_with(' ')) overrides.weight_dtype = "bf16";
  if (text.ends_with('\t')) {
    overrides.weight_dtype = "int4";
    overrides.weight_quant_block = 128;
  }
  return overrides;
}

void Run(std::string_view text) {
  std::vector<std::string> warnings;
  ModelSpec model;
  if (!Accepted([&] { model = ParseModelConfig(text, kPlace, OverridesFor(text), &warnings); })) return;
  Exercise(testing::SmallProblem(model, 4, WorkloadKind::kServe));
}

}  // namespace
}  // namespace shardscout::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  shardscout::fuzz::Run(shardscout::fuzz::Text(data, size));
  return 0;
}
