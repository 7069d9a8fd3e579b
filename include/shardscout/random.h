#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace shardscout {

/// Random numbers that are the same with every compiler and library: std::mt19937_64 with our own uniform, normal,
/// choice and shuffle (the standard distributions differ between libraries). Not thread safe.
class Rng {
 public:
  explicit Rng(std::uint64_t seed) : engine_(seed) {}

  /// An independent stream of `seed` for a named purpose: Rng::Stream(seed, "annealing").
  static Rng Stream(std::uint64_t seed, std::string_view name);

  std::uint64_t Next() { return engine_(); }
  /// Uniform in [0, 1), 53 bits.
  double Uniform();
  /// Of mean 0 and variance 1 (Box and Muller's method, one of the pair).
  double Normal();
  /// Uniform in [0, n), without bias. n >= 1.
  std::size_t Below(std::size_t n);
  /// An index with probability weights[i] / sum. Weights are >= 0 and not all 0.
  std::size_t Choice(std::span<const double> weights);

  template <class T>
  void Shuffle(std::vector<T>& items) {
    for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[Below(i)]);
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace shardscout
