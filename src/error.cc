#include "shardscout/error.h"

#include <algorithm>
#include <cstddef>
#include <numeric>

#include "src/printable.h"

namespace shardscout {
namespace {

/// Longer words than this are no misspelling of any key, and the distance is quadratic in the length.
constexpr std::size_t kMaxWord = 64;

/// Insertions, deletions, substitutions and swaps of neighbours that lead from `a` to `b` (optimal string alignment).
std::size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before_last(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(last.begin(), last.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before_last[j - 2] + 1);
      }
    }
    before_last.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

}  // namespace

SpecError::SpecError(std::string_view place, std::string_view message)
    : std::runtime_error(internal::Printable(place) + (place.empty() ? "" : ": ") + internal::Printable(message)),
      place_(internal::Printable(place)) {}

std::string NearestName(std::string_view word, const std::vector<std::string>& candidates) {
  if (word.empty() || word.size() > kMaxWord) return "";
  std::string nearest;
  std::size_t nearest_distance = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const std::size_t distance = EditDistance(word, candidate);
    if (distance < nearest_distance) {
      nearest = candidate;
      nearest_distance = distance;
    }
  }
  return nearest;
}

namespace internal {

void CheckFailed(const char* file, int line, const char* expression, const std::string& operands) {
  std::string message = std::string(file) + ":" + std::to_string(line) + ": check failed: " + expression;
  if (!operands.empty()) message += " (" + operands + ")";
  throw std::logic_error(message);
}

}  // namespace internal
}  // namespace shardscout
