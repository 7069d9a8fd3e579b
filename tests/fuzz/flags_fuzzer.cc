// The small grammars of the command line: the first letter of the input chooses one, the rest is the flag's value.

#include <array>
#include <cmath>
#include <functional>

#include "shardscout/exporter.h"
#include "shardscout/run_search.h"
#include "shardscout/strategy_space.h"
#include "src/cli/flag_values.h"
#include "tests/env/test_documents.h"
#include "tests/fuzz/fuzz.h"
#include "tests/tiny_problems.h"

namespace shardscout::fuzz {
namespace {

using Grammar = std::function<void(const std::string&)>;

void Fix(const std::string& text) {
  ProblemOptions options;
  auto [variable, value] = cli::ParseFix(text);
  options.fixed[variable] = std::move(value);
  const Problem problem = testing::SmallProblem(testing::MoeModel(), 2, WorkloadKind::kDecode, 4, std::move(options));
  const StrategySpace space(problem);
  Rng rng(1);
  const Strategy strategy = space.Sample(rng);
  for (int v = 0; v < kNumVariables; ++v) {
    if (VariableName(v) == problem.options().fixed.begin()->first) FUZZ_EXPECT(space.Values(v).size() == 1);
  }
  FUZZ_EXPECT(space.Contains(strategy));
}

void Set(const std::string& text) {
  static const SearcherRegistry searchers = testing::AllSearchers();
  const std::vector<std::string> names = searchers.Names();
  const auto settings = SettingsFor(names, searchers, "", "", {text});
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!settings[i].assignments.empty()) searchers.Make(names[i], settings[i]);
  }
}

void WeightType(const std::string& text) {
  FUZZ_EXPECT(ParseDType(ToString(ParseDType(text, "--weight-dtype")), "") == ParseDType(text, ""));
}

void Target(const std::string& text) {
  const auto seconds = cli::ParseTarget(text, "--ttft");
  FUZZ_EXPECT(!seconds || (*seconds > 0 && std::isfinite(*seconds)));
}

void ExportTo(const std::string& text) {
  static const ExporterRegistry exporters = [] {
    ExporterRegistry registry;
    RegisterBuiltinExporters(registry);
    return registry;
  }();
  exporters.Get(text);
}

void Run(std::string_view input) {
  static const std::array<Grammar, 8> grammars = {
      Fix,
      Set,
      WeightType,
      Target,
      ExportTo,
      [](const std::string& text) { cli::ParseObjective(text); },
      [](const std::string& text) { ParseStartFrom(text, "--start"); },
      [](const std::string& text) { ParseSpecKind(text, "--kind"); },
  };
  if (input.empty()) return;
  const std::size_t index = static_cast<std::uint8_t>(input.front() - '0');
  if (index >= grammars.size()) return;
  // As the kernel hands over arguments: they end at a zero byte.
  const std::string_view rest = input.substr(1);
  const std::string text(rest.substr(0, rest.find('\0')));
  Accepted([&] { grammars[index](text); });
}

}  // namespace
}  // namespace shardscout::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  shardscout::fuzz::Run(shardscout::fuzz::Text(data, size));
  return 0;
}
