#pragma once

#include <cstdint>
#include <queue>
#include <vector>

/// Requests of a rank of which each takes a token in every decoding step, kept so that a step costs no more with many
/// of them: nothing is touched of a request between its first such step and its last.
namespace shardscout::env {

using RequestId = std::int32_t;

class DecodeBatch {
 public:
  explicit DecodeBatch(std::int64_t block_tokens)
      : block_tokens_(block_tokens), needs_(static_cast<std::size_t>(block_tokens)) {}

  std::int64_t size() const { return size_; }
  /// Sum over the requests: tokens in the cache.
  std::int64_t positions() const { return positions_; }
  /// Decoding steps that have ended.
  std::int64_t steps() const { return steps_; }
  /// Blocks of the cache that the next step takes.
  std::int64_t BlocksNeeded() const { return needs_[SlotIn(0)] - just_served_; }

  /// A request with `cached` tokens in `blocks` blocks takes its last token in the `tokens_left`-th step from now.
  /// What it has is either room for all of these, or none beyond the block of the next one.
  void Add(RequestId id, std::int64_t cached, std::int64_t blocks, std::int64_t tokens_left);
  void Clear();
  /// A step has ended. Appends who took the last token; these are in the batch no more.
  void EndStep(std::vector<RequestId>& last);

 private:
  struct End {
    std::int64_t step = 0;
    RequestId id = 0;
    std::int64_t slot = kNone;  // Of its blocks.
    std::int64_t cached = 0;
    bool operator>(const End& other) const { return step != other.step ? step > other.step : id > other.id; }
  };
  static constexpr std::int64_t kNone = -1;

  std::size_t SlotIn(std::int64_t steps) const { return static_cast<std::size_t>((steps_ + steps) % block_tokens_); }

  std::int64_t block_tokens_;
  std::int64_t size_ = 0, positions_ = 0, steps_ = 0;
  std::vector<std::int64_t> needs_;  // Requests that need a block in the steps of one remainder by block_tokens.
  std::int64_t just_served_ = 0;     // Those among the next step's that have that block already.
  std::priority_queue<End, std::vector<End>, std::greater<>> ends_;
};

}  // namespace shardscout::env
