#include "env/simulator/decode_batch.h"

#include <algorithm>

#include "shardscout/error.h"

namespace shardscout::env {

void DecodeBatch::Add(RequestId id, std::int64_t cached, std::int64_t blocks, std::int64_t tokens_left) {
  SHARDSCOUT_CHECK_OP(tokens_left, >=, 1);
  ++size_;
  positions_ += cached;
  End end{.step = steps_ + tokens_left, .id = id, .cached = cached + tokens_left};
  const std::int64_t room = blocks * block_tokens_ - cached;
  if (room < tokens_left) {
    SHARDSCOUT_CHECK_OP(room, <=, block_tokens_);
    end.slot = static_cast<std::int64_t>(SlotIn(room));
    ++needs_[SlotIn(room)];
    if (room == block_tokens_) ++just_served_;
  }
  ends_.push(end);
}

void DecodeBatch::Clear() {
  size_ = positions_ = just_served_ = 0;
  std::fill(needs_.begin(), needs_.end(), 0);
  ends_ = {};
}

void DecodeBatch::EndStep(std::vector<RequestId>& last) {
  ++steps_;
  just_served_ = 0;
  positions_ += size_;
  for (; !ends_.empty() && ends_.top().step == steps_; ends_.pop()) {
    const End& end = ends_.top();
    --size_;
    positions_ -= end.cached;
    if (end.slot != kNone) --needs_[static_cast<std::size_t>(end.slot)];
    last.push_back(end.id);
  }
}

}  // namespace shardscout::env
