#pragma once

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "src/frameworks/rule.h"

namespace shardscout::frameworks {

template <class Arguments>
struct BreakingCase {
  std::string id;
  std::string model;
  Arguments arguments;
};

template <class Arguments>
std::set<std::string> BrokenIds(std::span<const Rule<Arguments>> rules, const Arguments& arguments,
                                const ModelSpec& model) {
  std::set<std::string> ids;
  for (const BrokenRule& broken : CheckRules(rules, arguments, model)) {
    EXPECT_FALSE(broken.message.empty());
    ids.insert(broken.id);
  }
  return ids;
}

/// Each case breaks the rule that it names, and each rule has one.
template <class Arguments>
void ExpectEachIsBroken(std::span<const Rule<Arguments>> rules, const std::vector<BreakingCase<Arguments>>& cases) {
  std::set<std::string> tested;
  for (const BreakingCase<Arguments>& broken : cases) {
    EXPECT_TRUE(BrokenIds(rules, broken.arguments, LoadModel(broken.model)).contains(broken.id)) << broken.id;
    tested.insert(broken.id);
  }
  for (const Rule<Arguments>& rule : rules) {
    EXPECT_TRUE(tested.contains(rule.id)) << rule.id << " has no case that breaks it";
    EXPECT_NE(std::string(rule.source), "") << rule.id;
    EXPECT_NE(std::string(rule.condition), "") << rule.id;
  }
}

}  // namespace shardscout::frameworks
