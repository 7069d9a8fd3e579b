// A file of searchers' settings: every searcher that it speaks of is made, and its settings are written and read back.

#include <nlohmann/json.hpp>

#include "shardscout/run_search.h"
#include "tests/env/test_documents.h"
#include "tests/fuzz/fuzz.h"

namespace shardscout::fuzz {
namespace {

void Run(std::string_view text) {
  static const SearcherRegistry searchers = testing::AllSearchers();
  if (!Accepted([&] { CheckSpec(SpecKind::kSearch, text, std::string(kPlace), searchers, nullptr); })) return;
  const std::vector<std::string> names = searchers.Names();
  const std::vector<SearcherSettings> settings = SettingsFor(names, searchers, text, std::string(kPlace), {});
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto searcher = searchers.Make(names[i], settings[i]);
    if (searcher == nullptr) continue;  // ppo: read, not made.
    const std::string config = searcher->ConfigJson();
    FUZZ_EXPECT(searchers.Make(names[i], {config, std::string(kPlace), {}})->ConfigJson() == config);
  }
}

}  // namespace
}  // namespace shardscout::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  shardscout::fuzz::Run(shardscout::fuzz::Text(data, size));
  return 0;
}
