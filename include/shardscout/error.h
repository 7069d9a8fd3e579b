#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace shardscout {

/// A mistake in what the user gave: a file, a flag, a JSON value. Names the place and the remedy; the command line
/// prints it as one line and exits with 2. Never used for a bug and never for an expected outcome (infeasible, out of
/// budget).
class SpecError : public std::runtime_error {
 public:
  /// place: "file#/json/pointer", a flag, or empty. message: what was found and what is allowed. Control characters
  /// and bytes that are no UTF-8 become `\x0a` and the like, so that the text is one line that JSON can hold.
  SpecError(std::string_view place, std::string_view message);

  const std::string& place() const { return place_; }

 private:
  std::string place_;
};

/// The entry of `candidates` nearest to `word` by edit distance, or "" when none is near (more than a third of its
/// letters off).
std::string NearestName(std::string_view word, const std::vector<std::string>& candidates);

namespace internal {

[[noreturn]] void CheckFailed(const char* file, int line, const char* expression, const std::string& operands);

template <class A, class B>
std::string PrintOperands(const A& a, const B& b) {
  std::ostringstream out;
  out << a << " vs " << b;
  return out.str();
}

}  // namespace internal
}  // namespace shardscout

/// Programmers' errors, always on; never for what a user gave.
#define SHARDSCOUT_CHECK(condition) \
  ((condition) ? void(0) : ::shardscout::internal::CheckFailed(__FILE__, __LINE__, #condition, ""))

/// The same for comparisons; prints both operands. `op` is ==, !=, <, <=, > or >=.
#define SHARDSCOUT_CHECK_OP(a, op, b)                                                      \
  (((a)op(b)) ? void(0)                                                                    \
              : ::shardscout::internal::CheckFailed(__FILE__, __LINE__, #a " " #op " " #b, \
                                                    ::shardscout::internal::PrintOperands((a), (b))))

#ifdef NDEBUG
#define SHARDSCOUT_DCHECK(condition) void(0)
#else
#define SHARDSCOUT_DCHECK(condition) SHARDSCOUT_CHECK(condition)
#endif
