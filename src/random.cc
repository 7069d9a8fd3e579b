#include "shardscout/random.h"

#include <cmath>
#include <limits>
#include <numbers>

#include "shardscout/error.h"

namespace shardscout {
namespace {

/// The finaliser of SplitMix64: every bit of the seed reaches every bit of the result.
std::uint64_t Mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

}  // namespace

Rng Rng::Stream(std::uint64_t seed, std::string_view name) {
  std::uint64_t hash = 0xCBF29CE484222325u;  // FNV-1a
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return Rng(Mix(Mix(seed) ^ hash));
}

double Rng::Uniform() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

double Rng::Normal() {
  const double radius = std::sqrt(-2 * std::log1p(-Uniform()));
  return radius * std::cos(2 * std::numbers::pi * Uniform());
}

std::size_t Rng::Below(std::size_t n) {
  SHARDSCOUT_CHECK_OP(n, >=, 1u);
  // Numbers from the incomplete last run of n are thrown away.
  constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();
  const std::uint64_t incomplete = (kMax % n + 1) % n;
  std::uint64_t x = Next();
  while (x > kMax - incomplete) x = Next();
  return static_cast<std::size_t>(x % n);
}

std::size_t Rng::Choice(std::span<const double> weights) {
  double sum = 0;
  std::size_t last = weights.size();  // Where rounding would carry us past the end.
  for (std::size_t i = 0; i < weights.size(); ++i) {
    SHARDSCOUT_CHECK_OP(weights[i], >=, 0.0);
    sum += weights[i];
    if (weights[i] > 0) last = i;
  }
  SHARDSCOUT_CHECK_OP(last, <, weights.size());
  double left = Uniform() * sum;
  for (std::size_t i = 0; i < last; ++i) {
    if (left < weights[i]) return i;
    left -= weights[i];
  }
  return last;
}

}  // namespace shardscout
