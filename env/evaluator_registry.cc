#include <utility>

#include "shardscout/error.h"
#include "shardscout/evaluator.h"
#include "src/choices.h"

namespace shardscout {

void EvaluatorRegistry::Register(std::string name, std::string description, Factory factory) {
  SHARDSCOUT_CHECK(!name.empty());
  SHARDSCOUT_CHECK(factory != nullptr);
  const bool added = entries_.emplace(std::move(name), Entry{std::move(description), std::move(factory)}).second;
  SHARDSCOUT_CHECK(added);
}

std::unique_ptr<Evaluator> EvaluatorRegistry::Make(const std::string& name, const Problem& problem) const {
  const auto found = entries_.find(name);
  if (found != entries_.end()) return found->second.factory(problem);
  std::vector<std::string> names;
  for (const auto& [known, entry] : entries_) names.push_back(known);
  throw internal::UnknownName("evaluator", name, "an evaluator", names);
}

std::vector<std::pair<std::string, std::string>> EvaluatorRegistry::List() const {
  std::vector<std::pair<std::string, std::string>> list;
  list.reserve(entries_.size());
  for (const auto& [name, entry] : entries_) list.emplace_back(name, entry.description);
  return list;
}

}  // namespace shardscout
