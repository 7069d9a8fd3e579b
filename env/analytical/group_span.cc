// Where the groups of a mesh lie on a cluster's tiers.
//
// Solves: all spans of a group { b + i * stride : i < size } over every stage and replica. A stage of stage_size ranks
// is cut into blocks of W = stride * size consecutive ranks; block j holds the groups with bases b = j * W + o,
// o < stride. Stages lie one after another, so the bases of the whole cluster are { j * W + o : j < J, o < stride }
// with J = num_stages * stage_size / W.
//
// A span depends on b only through b mod c for the size c of each tier, and not even on that where
//   W divides c:                  the block lies in one domain:       domains 1, members size;
//   stride >= c:                  every member has its own domain:    domains size, members 1;
//   c divides W and stride | c:   every touched domain is filled alike: domains W / c, members c / stride.
// Tier sizes divide one another, so the residues modulo L, the largest size that is none of these, decide. They are the
// sumset { j * W mod L } + [0, stride), marked in a bit set: at most L of them, whatever the number of devices.
//
// A group that does not tile the stage is a chain (a pipeline's transfer): inside an instance it begins at every rank
// from which it fits; with stride a multiple of stage_size, at every rank of the cluster from which it fits.
//
// Worked example: nodes of 8, groups of 4 with stride 3 (W = 12), two blocks. L = 8; bases 0, 1, 2 and 12, 13, 14 (4,
// 5, 6 mod 8). Base 0: members 0, 3, 6 | 9; base 2: 2, 5 | 8, 11; base 4: 4, 7 | 10, 13. So the spans are domains 2
// with members 1..3 and 2..2.

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <numeric>
#include <span>
#include <tuple>
#include <vector>

#include "shardscout/collective_time.h"
#include "shardscout/error.h"

namespace shardscout {
namespace {

struct TierCount {
  std::int64_t domains = 1;
  std::int64_t min_members = 1;
  std::int64_t max_members = 1;
  bool operator==(const TierCount&) const = default;
};

constexpr std::size_t kMaxTiers = 8;
using Counts = std::array<TierCount, kMaxTiers>;

// Members of { offset + i * stride : i < size } in windows of `width`, 0 <= offset < width.
TierCount CountMembers(std::int64_t offset, std::int64_t stride, std::int64_t size, std::int64_t width) {
  if (stride >= width) return {size, 1, 1};
  const std::int64_t last = offset + (size - 1) * stride;
  const std::int64_t domains = last / width + 1;
  if (domains == 1) return {1, size, size};
  // Members below the end of window w: ceil(((w + 1) * width - offset) / stride).
  auto below = [&](std::int64_t window) { return ((window + 1) * width - offset + stride - 1) / stride; };
  const std::int64_t first_members = below(0);
  const std::int64_t last_members = size - below(domains - 2);
  TierCount count{domains, std::min(first_members, last_members), std::max(first_members, last_members)};
  // The windows between hold floor or ceil of width / stride, with a period of stride / gcd windows.
  const std::int64_t period = stride / std::gcd(stride, width);
  const std::int64_t windows = std::min(domains - 2, period);
  for (std::int64_t w = 1; w <= windows; ++w) {
    const std::int64_t members = below(w) - below(w - 1);
    count.min_members = std::min(count.min_members, members);
    count.max_members = std::max(count.max_members, members);
  }
  return count;
}

// A set of residues modulo `modulus`.
class ResidueSet {
 public:
  explicit ResidueSet(std::int64_t modulus)
      : modulus_(modulus), words_(static_cast<std::size_t>((modulus + 63) / 64), 0) {}

  // Adds [begin, begin + length) modulo the modulus; begin < modulus.
  void AddInterval(std::int64_t begin, std::int64_t length) {
    if (length >= modulus_) {
      AddPlain(0, modulus_);
      return;
    }
    const std::int64_t end = begin + length;
    AddPlain(begin, std::min(end, modulus_));
    if (end > modulus_) AddPlain(0, end - modulus_);
  }

  template <class Visit>
  void ForEach(Visit visit) const {
    for (std::size_t w = 0; w < words_.size(); ++w) {
      for (std::uint64_t bits = words_[w]; bits != 0; bits &= bits - 1) {
        visit(static_cast<std::int64_t>(w) * 64 + std::countr_zero(bits));
      }
    }
  }

 private:
  void AddPlain(std::int64_t begin, std::int64_t end) {
    while (begin < end) {
      const std::int64_t bit = begin % 64;
      const std::int64_t length = std::min<std::int64_t>(64 - bit, end - begin);
      const std::uint64_t mask = length == 64 ? ~std::uint64_t{0} : ((std::uint64_t{1} << length) - 1) << bit;
      words_[static_cast<std::size_t>(begin / 64)] |= mask;
      begin += length;
    }
  }

  std::int64_t modulus_;
  std::vector<std::uint64_t> words_;
};

GroupSpan MakeSpan(std::int64_t size, std::span<const TierCount> counts) {
  GroupSpan span;
  span.size = size;
  span.outermost_tier = static_cast<int>(counts.size()) - 1;
  for (std::size_t t = 0; t < counts.size(); ++t) {
    span.domains.push_back(counts[t].domains);
    span.min_members.push_back(counts[t].min_members);
    span.max_members.push_back(counts[t].max_members);
  }
  for (std::size_t t = counts.size(); t-- > 0;) {
    if (counts[t].domains == 1) span.outermost_tier = static_cast<int>(t);
  }
  return span;
}

}  // namespace

std::vector<GroupSpan> SpansOf(const ClusterSpec& cluster, const Group& group, std::int64_t stage_size,
                               std::int64_t num_stages) {
  SHARDSCOUT_CHECK_OP(group.size, >=, 1);
  SHARDSCOUT_CHECK_OP(group.stride, >=, 1);
  SHARDSCOUT_CHECK_OP(stage_size, >=, 1);
  SHARDSCOUT_CHECK_OP(num_stages, >=, 1);
  SHARDSCOUT_CHECK_OP(cluster.tiers.size(), >=, 1U);
  SHARDSCOUT_CHECK_OP(cluster.tiers.size(), <=, kMaxTiers);
  const std::size_t num_tiers = cluster.tiers.size();
  const std::int64_t total = stage_size * num_stages;
  const std::int64_t reach = (group.size - 1) * group.stride;
  // Bases: [j * period, j * period + length) for j < num_periods.
  std::int64_t period = group.stride * group.size;
  std::int64_t length = group.stride;
  const bool mesh = stage_size % period == 0;
  if (!mesh && reach < stage_size) {
    period = stage_size;
    length = stage_size - reach;
  } else if (!mesh) {
    SHARDSCOUT_CHECK_OP(group.stride % stage_size, ==, 0);
    SHARDSCOUT_CHECK_OP(reach, <, total);
    period = total;
    length = total - reach;
  }
  const std::int64_t num_periods = total / period;

  Counts counts{};
  std::array<bool, kMaxTiers> depends{};
  std::array<std::int64_t, kMaxTiers> width{};
  std::int64_t modulus = 1;
  for (std::size_t t = 0; t < num_tiers; ++t) {
    const std::int64_t size = cluster.tiers[t].size;
    const bool bounded = size > 0 && size < total && t + 1 < num_tiers;
    width[t] = size;
    if (!bounded || (mesh && size % period == 0)) {
      counts[t] = {1, group.size, group.size};
    } else if (group.stride >= size || (mesh && period % size == 0 && size % group.stride == 0)) {
      counts[t] = CountMembers(0, group.stride, group.size, size);
    } else {
      depends[t] = true;
      modulus = size;
    }
  }

  std::vector<GroupSpan> spans;
  if (modulus == 1) {
    spans.push_back(MakeSpan(group.size, std::span(counts).first(num_tiers)));
    return spans;
  }
  ResidueSet residues(modulus);
  const std::int64_t distinct = std::min(num_periods, modulus / std::gcd(period, modulus));
  for (std::int64_t j = 0; j < distinct; ++j) residues.AddInterval(j * period % modulus, length);

  std::vector<Counts> found;
  residues.ForEach([&](std::int64_t residue) {
    for (std::size_t t = 0; t < num_tiers; ++t) {
      if (depends[t]) counts[t] = CountMembers(residue % width[t], group.stride, group.size, width[t]);
    }
    if (std::find(found.rbegin(), found.rend(), counts) == found.rend()) found.push_back(counts);
  });
  spans.reserve(found.size());
  for (const Counts& c : found) spans.push_back(MakeSpan(group.size, std::span(c).first(num_tiers)));
  std::sort(spans.begin(), spans.end(), [](const GroupSpan& a, const GroupSpan& b) {
    return std::tie(a.domains, a.min_members, a.max_members) < std::tie(b.domains, b.min_members, b.max_members);
  });
  return spans;
}

}  // namespace shardscout
