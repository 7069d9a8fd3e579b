#pragma once

#include <cstdint>
#include <optional>

namespace shardscout::internal {

/// An int64 whose sums and products remember that they overflowed.
class CheckedInt {
 public:
  constexpr CheckedInt(std::int64_t value)
      : value_(value) {}  // NOLINT(google-explicit-constructor): a number among numbers

  constexpr CheckedInt operator+(CheckedInt other) const {
    CheckedInt sum(0);
    sum.overflowed_ = __builtin_add_overflow(value_, other.value_, &sum.value_) || overflowed_ || other.overflowed_;
    return sum;
  }
  constexpr CheckedInt operator*(CheckedInt other) const {
    CheckedInt product(0);
    product.overflowed_ =
        __builtin_mul_overflow(value_, other.value_, &product.value_) || overflowed_ || other.overflowed_;
    return product;
  }

  /// Nothing after an overflow.
  constexpr std::optional<std::int64_t> Value() const {
    return overflowed_ ? std::nullopt : std::optional<std::int64_t>(value_);
  }

 private:
  std::int64_t value_;
  bool overflowed_ = false;
};

}  // namespace shardscout::internal
