#include "experiments/validation/published_copies.h"

#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "src/export/csv.h"

namespace shardscout::validation {
namespace {

constexpr std::size_t kLeastTwins = 3;
constexpr std::size_t kLeastDigits = 4;

/// Significant ones: of 330.75 five, of 32768 five, of 4500 two.
std::size_t DigitsOf(double value) {
  std::string digits = exporters::Shortest(value);
  if (digits.find('e') != std::string::npos) return 0;
  std::erase(digits, '.');
  const std::size_t first = digits.find_first_not_of('0'), last = digits.find_last_not_of('0');
  return first == std::string::npos ? 0 : last - first + 1;
}

auto SettingOf(const PublishedRecord& r) {
  return std::tuple(r.model, r.framework, r.dtype, r.n_gpus, r.tensor_parallel, r.pipeline_parallel, r.expert_parallel,
                    r.data_parallel, r.input_tokens, r.output_tokens, r.load, r.metric, r.value);
}

}  // namespace

Copies FindCopies(const std::vector<PublishedRecord>& records) {
  std::map<decltype(SettingOf(records.front())), std::vector<std::size_t>> alike;
  for (std::size_t i = 0; i < records.size(); ++i) {
    if (DigitsOf(records[i].value) >= kLeastDigits) alike[SettingOf(records[i])].push_back(i);
  }
  std::map<std::tuple<std::string, std::string, std::string>, std::set<std::size_t>> twins;
  for (const auto& [setting, same] : alike) {
    for (const std::size_t i : same) {
      for (const std::size_t j : same) {
        if (records[i].hardware >= records[j].hardware) continue;
        twins[{records[i].model, records[i].hardware, records[j].hardware}].insert({i, j});
      }
    }
  }
  Copies copies{.shown = std::vector<bool>(records.size()), .evidence = {}};
  for (const auto& [key, of] : twins) {
    if (of.size() < 2 * kLeastTwins) continue;
    const auto& [model, hardware, other] = key;
    copies.evidence.push_back({model, hardware, other, of.size()});
    for (const std::size_t i : of) copies.shown[i] = true;
  }
  return copies;
}

}  // namespace shardscout::validation
