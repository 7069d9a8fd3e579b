#include "strategies/local_moves.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <set>
#include <span>

#include "strategies/sharding_templates.h"

namespace shardscout {
namespace {

constexpr int kNumDegrees = static_cast<int>(Variable::kExpertTensorParallelSize) + 1;
constexpr int kNumSizes = static_cast<int>(Variable::kNumMicrobatches) + 1;
constexpr int kPairGroups = kNumSizes - 1;
constexpr std::size_t kMaxValues = 12;

std::int64_t Nearest(std::span<const std::int64_t> rising, double aim) {
  return *std::min_element(rising.begin(), rising.end(), [&](std::int64_t a, std::int64_t b) {
    return std::abs(std::log(static_cast<double>(a) / aim)) < std::abs(std::log(static_cast<double>(b) / aim));
  });
}

/// Values that the variable may take after the others before it, without the present one.
std::vector<std::int64_t> OtherValues(const StrategySpace& space, const Strategy& from, int variable) {
  Choices prefix = space.Encode(from);
  prefix.resize(static_cast<std::size_t>(variable));
  std::vector<std::uint8_t> mask;
  space.AllowedChoices(prefix, mask);
  const std::int64_t present = GetVariable(from, variable);
  std::vector<std::int64_t> allowed;
  for (std::size_t i = 0; i < mask.size(); ++i) {
    const std::int64_t value = space.Values(variable)[i];
    if (mask[i] != 0 && value != present) allowed.push_back(value);
  }
  if (variable >= kNumSizes || allowed.size() <= kMaxValues) return allowed;
  std::set<std::int64_t> chosen;
  const auto above = std::upper_bound(allowed.begin(), allowed.end(), present);
  if (above != allowed.end()) chosen.insert(*above);
  if (above != allowed.begin()) chosen.insert(*std::prev(above));
  for (const double factor : {0.125, 0.25, 0.5, 2.0 / 3, 1.5, 2.0, 4.0, 8.0}) {
    chosen.insert(Nearest(allowed, static_cast<double>(present) * factor));
  }
  return {chosen.begin(), chosen.end()};
}

/// Two sizes moved by a factor of 2, against each other and alike.
std::vector<Strategy> PairMoves(const Strategy& from, int a, int b) {
  std::vector<Strategy> wanted;
  const std::int64_t x = GetVariable(from, a), y = GetVariable(from, b);
  const auto add = [&](std::int64_t to_x, std::int64_t to_y) {
    wanted.push_back(from);
    SetVariable(wanted.back(), a, to_x);
    SetVariable(wanted.back(), b, to_y);
  };
  if (y % 2 == 0) add(x * 2, y / 2);
  if (x % 2 == 0) add(x / 2, y * 2);
  if (x % 2 == 0 && y % 2 == 0) add(x / 2, y / 2);
  add(x * 2, y * 2);
  return wanted;
}

}  // namespace

int NumMoveGroups(const StrategySpace& space) { return space.NumVariables() + kPairGroups + 1; }

std::vector<Strategy> Moves(const StrategySpace& space, const Strategy& from, int group) {
  std::vector<Strategy> reached;
  const auto reach = [&](const Strategy& member) {
    if (member != from && std::find(reached.begin(), reached.end(), member) == reached.end()) reached.push_back(member);
  };
  const int variables = space.NumVariables();
  if (group < variables) {
    for (const std::int64_t value : OtherValues(space, from, group)) {
      Strategy wanted = from;
      SetVariable(wanted, group, value);
      reach(space.Repair(wanted));
    }
  } else if (group < variables + kPairGroups) {
    const int a = group - variables;
    for (int b = a + 1; b < kNumSizes; ++b) {
      if (space.Values(a).size() == 1 || space.Values(b).size() == 1) continue;
      for (const Strategy& wanted : PairMoves(from, a, b)) reach(space.Repair(wanted));
    }
  } else {
    for (const Strategy& layers : ShardingTemplates()) reach(WithLayers(space, from, layers));
  }
  return reached;
}

Strategy WithRoundedDegrees(const StrategySpace& space, Strategy s) {
  for (int v = 0; v < kNumDegrees; ++v) {
    SetVariable(s, v, std::int64_t{1} << std::lround(std::log2(static_cast<double>(GetVariable(s, v)))));
  }
  return space.Repair(s);
}

}  // namespace shardscout
