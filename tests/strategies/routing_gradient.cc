#include "tests/strategies/routing_gradient.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace shardscout::interpret {
namespace {

/// -1: not there.
Eigen::Index Find(const Tags& rows, Tag row) {
  const auto found = std::lower_bound(rows.begin(), rows.end(), row);
  return found == rows.end() || *found != row ? -1 : found - rows.begin();
}

}  // namespace

RoutingGradient RoutingGradient::Zero(TagsPtr rows, Eigen::Index choices) {
  const auto size = static_cast<Eigen::Index>(rows->size());
  return {std::move(rows), Matrix::Zero(size, choices), Ranks::Zero(size, choices)};
}

RoutingGradient Join(const std::vector<const RoutingGradient*>& parts, const TagsPtr& rows) {
  RoutingGradient joined = RoutingGradient::Zero(rows, parts.front()->data.cols());
  for (const RoutingGradient* part : parts) {
    for (std::size_t i = 0; i < rows->size(); ++i) {
      const Eigen::Index from = Find(*part->rows, (*rows)[i]), to = static_cast<Eigen::Index>(i);
      if (from < 0) continue;
      for (Eigen::Index j = 0; j < joined.data.cols(); ++j) {
        const std::uint64_t known = joined.ranks(to, j), added = part->ranks(from, j);
        if (known == added) {
          if (std::abs(joined.data(to, j) - part->data(from, j)) > 1e-6 * (1 + std::abs(joined.data(to, j)))) {
            throw InterpretError("two ranks know another gradient of one expert's weight");
          }
          continue;
        }
        if ((known & added) != 0) throw InterpretError("a summand of the gradient of an expert's weight counts twice");
        joined.data(to, j) += part->data(from, j);
        joined.ranks(to, j) |= added;
      }
    }
  }
  return joined;
}

RoutingGradient ToChoices(const RoutingGradient& pairs, const Local& routed) {
  const Eigen::Index choices = routed.meta.cols() / 2;
  RoutingGradient found = RoutingGradient::Zero(routed.rows, choices);
  for (std::size_t i = 0; i < pairs.rows->size(); ++i) {
    const Tag pair = (*pairs.rows)[i];
    const Eigen::Index from = static_cast<Eigen::Index>(i), to = Find(*routed.rows, TokenOf(pair));
    if (to < 0) throw InterpretError("a pair of a token that the rank was not sent");
    for (Eigen::Index j = 0; j < choices; ++j) {
      if (std::llround(routed.meta(to, j)) != ExpertOf(pair)) continue;
      found.data(to, j) = pairs.data(from, 0);
      found.ranks(to, j) = pairs.ranks(from, 0);
    }
  }
  return found;
}

}  // namespace shardscout::interpret
